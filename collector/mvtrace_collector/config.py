"""What an operator sets for the collector: environment and arguments in, a CollectorConfig out.

Arguments win over ``MVTRACE_*`` variables. Everything is checked at once. A collector without TLS
and keys listens on loopback only, unless that is asked for in so many words. Nothing is opened.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self, TypeVar

from mvtrace.errors import ConfigurationError
from mvtrace.store.dsn import parse_dsn
from mvtrace_collector.access_log_guard import CLIENT_ADDRESSES, ClientAddress
from mvtrace_collector.comparisons import SHARE
from mvtrace_collector.drift_watch import INTERVAL_S
from mvtrace_collector.inbox import InboxSettings
from mvtrace_collector.limits import MIB, Limits
from mvtrace_collector.logs import FORMS, LEVELS, Form
from mvtrace_collector.quality_watch import INTERVAL_S as QUALITY_INTERVAL_S
from mvtrace_collector.rollout_watch import INTERVAL_S as ROLLOUT_INTERVAL_S
from mvtrace_collector.score_rates import ADDRESS_A_MINUTE, KEY_A_MINUTE

DEFAULT_LISTEN: Final = "127.0.0.1:4318"
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_KEY: Final = re.compile(r"[!-~]{16,4096}")
_ORIGIN: Final = re.compile(
    r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?"
)
_MAX_PORT: Final = 65_535
_MAX_DAYS: Final = 3650
_MIN_DIGEST_KEY: Final = 16
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorConfig:
    """How one collector runs; immutable, its secrets never in ``repr``."""

    store: str = field(repr=False)
    """DSN of the store it owns: ``chdb:///DIR`` or ``clickhouse://…``."""
    host: str = "127.0.0.1"
    port: int = 4318
    """0 asks the system for a free one."""
    data_dir: Path | None = None
    """The inbox; None is ``DIR.inbox`` beside an embedded store."""
    api_key: str | None = field(default=None, repr=False)
    """Where set, every request but the health checks must carry it as a bearer token."""
    allow_remote: bool = False
    """Listen on more than loopback without TLS or keys of its own: behind a proxy that has them."""
    is_open: bool = False
    """Be open to this host also where there were keys once."""
    tls_certificate: Path | None = None
    """PEM file with the certificate and those that signed it."""
    tls_key: Path | None = None
    """PEM file with its private key, where it is not in the same file."""
    digest_key: str | None = field(default=None, repr=False)
    """Key of the keyed digests of foreign senders' content; without it there are none."""
    payload_days: int = 30
    """How long content is kept, from the request on."""
    limits: Limits = field(default_factory=Limits)
    inbox: InboxSettings = field(default_factory=InboxSettings)
    workers: int = 1
    shutdown_seconds: float = 30.0
    """How long a stop waits for open requests and for the loader."""
    loader_memory_bytes: int = 0
    """What the engine may use for one statement of the loader; a segment that needs more is halved.
    0 leaves it to the engine."""
    max_lag_seconds: float = 300.0
    """How long a batch may wait for the store before /readyz says so."""
    score_origins: frozenset[str] = frozenset()
    """Origins whose pages may send scores: ``https://HOST``."""
    score_per_minute: float = ADDRESS_A_MINUTE
    """Scores a minute from one address."""
    score_key_per_minute: float = KEY_A_MINUTE
    """Scores a minute under one key that may only score."""
    drift_interval_s: float = INTERVAL_S
    """How often is swept for drift; 0: only when somebody asks."""
    rollout_interval_s: float = ROLLOUT_INTERVAL_S
    """How often the canaries that run are looked at for /metrics; 0: never."""
    quality_interval_s: float = QUALITY_INTERVAL_S
    """How often the roll-up is brought up to date; 0: only when a gate asks."""
    compare_share: float = SHARE
    """Of one processor, that the comparisons of one project's gates may use in the long run."""
    access_client: ClientAddress = "peer"
    """Which address of who asks the access log has."""
    log: Form | None = None
    """Form of the log; None is text on a terminal, else JSON lines."""
    log_level: str = "warning"

    def __post_init__(self) -> None:
        """Check every field, whoever set it."""
        if parse_dsn(self.store).kind == "collector":
            raise ConfigurationError(
                "--store",
                str(parse_dsn(self.store)),
                "a collector owns its store, so it must be chdb:///DIR or clickhouse://HOST:PORT",
            )
        if not 0 <= self.port <= _MAX_PORT:
            raise ConfigurationError("--listen", self.port, "a port is a number from 0 to 65535")
        if self.workers != 1:
            raise ConfigurationError(
                "--workers",
                self.workers,
                "one process owns the store and the inbox, so it must be 1",
            )
        if self.api_key is not None and not _KEY.fullmatch(self.api_key):
            raise ConfigurationError(
                "MVTRACE_API_KEY", "***", "a key is 16 to 4096 printable ASCII characters"
            )
        if self.digest_key is not None and len(self.digest_key) < _MIN_DIGEST_KEY:
            raise ConfigurationError(
                "MVTRACE_DIGEST_KEY", "***", f"it needs at least {_MIN_DIGEST_KEY} characters"
            )
        self._check_tls()
        self.inbox_dir  # noqa: B018 - refuses a server store without a directory

    def _check_tls(self) -> None:
        for option, path in (("--tls-cert", self.tls_certificate), ("--tls-key", self.tls_key)):
            if path is not None and not path.is_file():
                raise ConfigurationError(option, str(path), "it names a PEM file")
        if self.tls_key is not None and self.tls_certificate is None:
            raise ConfigurationError("--tls-key", str(self.tls_key), "it needs --tls-cert beside")
        if not (self.is_loopback or self.allow_remote or self.tls_certificate):
            raise ConfigurationError(
                "--listen",
                f"{self.host}:{self.port}",
                "without TLS a collector listens on loopback only",
                hint="Pass --tls-cert and --tls-key, or --allow-remote behind a proxy with TLS.",
            )

    def check_keys(self, *, has_keys: bool) -> None:
        """Refuse to be open to a network; called once it is known whether the store *has_keys*.

        Raises:
            ConfigurationError: the address is public and nothing asks for a key.
        """
        if not (self.is_loopback or self.allow_remote or self.api_key or has_keys):
            raise ConfigurationError(
                "--listen",
                f"{self.host}:{self.port}",
                "without keys a collector listens on loopback only",
                hint="Make an admin's key first: mvtrace keys create --scope admin --project '*' "
                "--label admin --store DSN",
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can connect."""
        if self.host in _LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """Where clients on this host reach the collector."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        scheme = "http" if self.tls_certificate is None else "https"
        return (
            f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"
        )

    @property
    def shown_store(self) -> str:
        """The store's DSN without its password."""
        return str(parse_dsn(self.store))

    @property
    def inbox_dir(self) -> Path:
        """Where the inbox lies."""
        if self.data_dir is not None:
            return self.data_dir
        directory = parse_dsn(self.store).directory
        if directory is None:
            raise ConfigurationError(
                "--data", None, "a collector with a server store needs a directory for its inbox"
            )
        return directory.with_name(f"{directory.name}.inbox")

    @property
    def keys_dir(self) -> Path:
        """Where the keys of encrypted content lie: beside the inbox, in no backup of the data."""
        return self.inbox_dir.with_name(f"{self.inbox_dir.name.removesuffix('.inbox')}.keys")

    @property
    def access_dir(self) -> Path:
        """Where the journal of the access log lies: beside the inbox, on the same disk."""
        return self.inbox_dir.with_name(f"{self.inbox_dir.name.removesuffix('.inbox')}.access")

    def with_port(self, port: int) -> Self:
        """Return the same configuration with the port that was really given."""
        return replace(self, port=port)

    @classmethod
    def from_environ(
        cls,
        *,
        store: str | None = None,
        listen: str | None = None,
        data: Path | str | None = None,
        allow_remote: bool | None = None,
        workers: int = 1,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the configuration; what is not given comes from *environ*.

        Read are MVTRACE_STORE, MVTRACE_LISTEN, MVTRACE_DATA, MVTRACE_API_KEY, MVTRACE_ALLOW_REMOTE,
        MVTRACE_OPEN, MVTRACE_TLS_CERT, MVTRACE_TLS_KEY, MVTRACE_DIGEST_KEY, MVTRACE_PAYLOAD_DAYS,
        MVTRACE_MAX_BODY_MIB, MVTRACE_MAX_INFLATED_MIB, MVTRACE_MAX_CONTENT_MIB,
        MVTRACE_INBOX_RETENTION_HOURS, MVTRACE_INBOX_RETENTION_MIB, MVTRACE_INBOX_MAX_AGE_HOURS,
        MVTRACE_INBOX_UNSTORED_MIB, MVTRACE_INBOX_FLOOR_MIB, MVTRACE_DRIFT_INTERVAL_S,
        MVTRACE_QUALITY_INTERVAL_S, MVTRACE_ROLLOUT_INTERVAL_S, MVTRACE_COMPARE_SHARE,
        MVTRACE_LOADER_MEMORY_MIB, MVTRACE_MAX_LAG_SECONDS, MVTRACE_ACCESS_CLIENT,
        MVTRACE_SCORE_ORIGINS,
        MVTRACE_SCORE_PER_MINUTE, MVTRACE_SCORE_KEY_PER_MINUTE, MVTRACE_LOG and MVTRACE_LOG_LEVEL.
        """
        env = os.environ if environ is None else environ
        dsn = store or env.get("MVTRACE_STORE")
        if not dsn:
            raise ConfigurationError(
                "--store",
                None,
                "a collector needs a store",
                hint="Pass --store chdb:///DIR, or set MVTRACE_STORE.",
            )
        host, port = parse_listen(listen or env.get("MVTRACE_LISTEN") or DEFAULT_LISTEN)
        directory = data or env.get("MVTRACE_DATA") or None
        if allow_remote is None:
            allow_remote = env.get("MVTRACE_ALLOW_REMOTE", "").lower() in _TRUE
        return cls(
            store=dsn,
            host=host,
            port=port,
            data_dir=None if directory is None else Path(directory).absolute(),
            api_key=env.get("MVTRACE_API_KEY") or None,
            allow_remote=allow_remote,
            is_open=env.get("MVTRACE_OPEN", "").lower() in _TRUE,
            tls_certificate=_path(env, "MVTRACE_TLS_CERT"),
            tls_key=_path(env, "MVTRACE_TLS_KEY"),
            digest_key=env.get("MVTRACE_DIGEST_KEY") or None,
            payload_days=_days(env, "MVTRACE_PAYLOAD_DAYS", 30),
            limits=_limits(env),
            inbox=_inbox(env),
            workers=workers,
            loader_memory_bytes=int(_number(env, "MVTRACE_LOADER_MEMORY_MIB", 0) * MIB),
            max_lag_seconds=_number(env, "MVTRACE_MAX_LAG_SECONDS", 300),
            score_origins=_origins(env, "MVTRACE_SCORE_ORIGINS"),
            score_per_minute=_number(env, "MVTRACE_SCORE_PER_MINUTE", ADDRESS_A_MINUTE),
            score_key_per_minute=_number(env, "MVTRACE_SCORE_KEY_PER_MINUTE", KEY_A_MINUTE),
            drift_interval_s=_interval(env, "MVTRACE_DRIFT_INTERVAL_S", INTERVAL_S),
            quality_interval_s=_interval(env, "MVTRACE_QUALITY_INTERVAL_S", QUALITY_INTERVAL_S),
            rollout_interval_s=_interval(env, "MVTRACE_ROLLOUT_INTERVAL_S", ROLLOUT_INTERVAL_S),
            compare_share=_number(env, "MVTRACE_COMPARE_SHARE", SHARE),
            access_client=_one_of(env, "MVTRACE_ACCESS_CLIENT", CLIENT_ADDRESSES) or "peer",
            log=_one_of(env, "MVTRACE_LOG", FORMS),
            log_level=_one_of(env, "MVTRACE_LOG_LEVEL", LEVELS) or "warning",
        )


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``[V6]:PORT`` or ``:PORT`` (loopback)."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not (port.isascii() and port.isdecimal()) or (":" in host and "[" not in text):
        raise ConfigurationError("--listen", text, "it must be HOST:PORT, for example 127.0.0.1:0")
    return host or "127.0.0.1", int(port)


def _origins(environ: Mapping[str, str], key: str) -> frozenset[str]:
    """Return the origins of a list with commas; a browser names them without a path."""
    found = frozenset(filter(None, (one.strip() for one in environ.get(key, "").split(","))))
    bad = next((one for one in sorted(found) if not _ORIGIN.fullmatch(one)), None)
    if bad is not None:
        raise ConfigurationError(
            key, bad, "an origin is http://HOST or https://HOST, perhaps with :PORT, in lower case"
        )
    return found


def _path(environ: Mapping[str, str], key: str) -> Path | None:
    text = environ.get(key, "").strip()
    return Path(text).absolute() if text else None


def _limits(environ: Mapping[str, str]) -> Limits:
    return replace(
        Limits(),
        compressed_bytes=int(_number(environ, "MVTRACE_MAX_BODY_MIB", 16) * MIB),
        inflated_bytes=int(_number(environ, "MVTRACE_MAX_INFLATED_MIB", 64) * MIB),
        content_bytes=int(_number(environ, "MVTRACE_MAX_CONTENT_MIB", 64) * MIB),
    )


def _inbox(environ: Mapping[str, str]) -> InboxSettings:
    return replace(
        InboxSettings(),
        retention_seconds=_number(environ, "MVTRACE_INBOX_RETENTION_HOURS", 48) * 3600,
        max_age_seconds=_number(environ, "MVTRACE_INBOX_MAX_AGE_HOURS", 48) * 3600,
        retention_bytes=int(_number(environ, "MVTRACE_INBOX_RETENTION_MIB", 4096) * MIB),
        unstored_bytes=int(_number(environ, "MVTRACE_INBOX_UNSTORED_MIB", 16384) * MIB),
        disk_floor_bytes=int(_number(environ, "MVTRACE_INBOX_FLOOR_MIB", 256) * MIB),
    )


def _days(environ: Mapping[str, str], key: str, default: int) -> int:
    days = _number(environ, key, default)
    if days != int(days) or days > _MAX_DAYS:
        raise ConfigurationError(key, environ.get(key), f"it is 1 to {_MAX_DAYS} whole days")
    return int(days)


def _interval(environ: Mapping[str, str], key: str, default: float) -> float:
    """Return seconds; 0 stands for never."""
    return 0.0 if environ.get(key, "").strip() == "0" else _number(environ, key, default)


def _number(environ: Mapping[str, str], key: str, default: float) -> float:
    text = environ.get(key)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(key, text, "it must be a positive number")
    return number


_Word = TypeVar("_Word", bound=str)


def _one_of(environ: Mapping[str, str], key: str, words: tuple[_Word, ...]) -> _Word | None:
    text = environ.get(key, "").strip().lower()
    if not text:
        return None
    for word in words:
        if text == word:
            return word
    raise ConfigurationError(key, text[:80], f"it is one of {', '.join(words)}")
