"""What an operator sets for the capture side: environment and arguments in, a TracingConfig out.

Arguments win over ``MVTRACE_*`` variables, these over OpenTelemetry's own, these over defaults; all
values are checked at once, so a wrong one is told at start and not at the first request. Nothing is
opened, created or contacted here.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit

from mvtrace import semconv
from mvtrace.errors import ConfigurationError

DEFAULT_URL: Final = "http://127.0.0.1:4318"
UNKNOWN_SERVICE: Final = "unknown_service"
MAX_TIMEOUT_S: Final = 60.0
MIN_DIGEST_KEY_CHARACTERS: Final = 16

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(:[0-9]{1,5})?|\[[0-9a-f:.]+\]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_KEY: Final = re.compile(r"[!-~]{1,4096}")
_TARGET: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingConfig:
    """How this process captures and where it sends; immutable, its secrets never in ``repr``."""

    url: str = DEFAULT_URL
    """Base URL of the collector; ``/v1/traces`` and ``/v1/logs`` are below it."""
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """More headers of each delivery, from ``OTEL_EXPORTER_OTLP_HEADERS``."""
    timeout_s: float = 10.0
    certificate: Path | None = None
    """Authorities (PEM file) that may have signed the collector's certificate, instead of the
    system's; ``MVTRACE_CERTIFICATE`` or ``OTEL_EXPORTER_OTLP_CERTIFICATE``."""
    compression: Literal["auto", "gzip", "none"] = "auto"
    """``auto``: gzip, but not to a collector on this machine, where it only costs."""
    service: str = UNKNOWN_SERVICE
    service_version: str | None = None
    environment: str | None = None
    project: str | None = None
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    """Further resource attributes, from ``OTEL_RESOURCE_ATTRIBUTES``."""
    spool_dir: Path = field(default_factory=lambda: default_spool_dir(os.environ))
    spool_max_bytes: int = 1 << 30
    """All producers below *spool_dir* together; above it new data is dropped and counted."""
    spool_min_free_bytes: int = 128 << 20
    """Free space of the file system that the spool leaves to others."""
    content: Literal["digest", "redacted", "full"] = "digest"
    """How prompts, answers and documents are treated: only their keyed digests leave; or also their
    text after rules, or encrypted."""
    redaction_rules: Path | None = None
    """TOML file with further rules of the modes ``redacted`` and ``full``."""
    payload_key: str | None = field(default=None, repr=False)
    """The master key of the mode ``full``: 32 random bytes as hex or base64."""
    payload_key_file: Path | None = None
    """Where it is instead, for secrets that are mounted as files."""
    digest_key: str | None = field(default=None, repr=False)
    propagate_to: tuple[str, ...] = ()
    """Hosts (``api.internal``, ``*.svc``, ``host:port``) that may see our baggage."""
    trust_incoming: bool | None = None
    """What of a caller is continued: None its ``traceparent`` only, True its ``baggage`` too, False
    neither."""
    arm: str | None = None
    composite: str | None = None
    """``module:attribute`` of the composite version, for servers configured without code."""
    span_ratio: float = 1.0
    """Share of requests whose inner spans are kept; errors, drift and slow ones always are."""
    slow_ms: float = 2000.0
    """From this duration on a request is slow and keeps its spans."""
    set_global: bool = False
    register_content: bool = True
    protocol: str | None = None
    """``openai``: requests in that protocol are read as they pass."""
    observe: bool = True
    """Whether a version is made of what requests meet, where no composite is declared."""
    disabled: bool = False
    retry_max_s: float = 720.0
    """The longest wait between two tries of a delivery, whatever the collector asks for."""
    exit_grace_s: float = 2.0
    """How long the exit of the interpreter may wait for the last delivery."""
    queue_max_bytes: int = 64 << 20
    """Memory, about, that may wait for the disk; above it new data is dropped and counted."""
    breaker_errors: int = 20
    """Capture pauses once so many more requests failed to be recorded than were recorded, …"""
    breaker_window_s: float = 60.0
    """… none of them later than this after the one before."""
    breaker_pause_s: float = 10.0
    """How long the first pause is; after an error in the trial the next one is twice as long, and
    so on up to 32 times."""

    def __post_init__(self) -> None:
        """Check every field, whoever set it."""
        if not _is_base_url(self.url):
            shown = re.sub(r"//[^/]*@", "//***@", self.url)
            raise ConfigurationError("url", shown, "it is http://HOST[:PORT] or https://…")
        self._check_content()
        if self.protocol not in (None, "openai"):
            raise ConfigurationError("protocol", self.protocol, "it is openai")
        if self.certificate is not None and not self.certificate.is_file():
            raise ConfigurationError("certificate", str(self.certificate), "it names a PEM file")
        _check_range("span_ratio", self.span_ratio, 0.0, 1.0)
        _check_range("slow_ms", self.slow_ms, 0.0, float("inf"))
        _check_range("retry_max_s", self.retry_max_s, 0.001, float("inf"))
        _check_range("exit_grace_s", self.exit_grace_s, 0.0, MAX_TIMEOUT_S)
        _check_range("timeout_s", self.timeout_s, 0.001, MAX_TIMEOUT_S)
        _check_range("queue_max_bytes", self.queue_max_bytes, 1 << 20, float("inf"))
        _check_range("breaker_errors", self.breaker_errors, 1, float("inf"))
        _check_range("breaker_window_s", self.breaker_window_s, 0.0, float("inf"))
        _check_range("breaker_pause_s", self.breaker_pause_s, 0.0, float("inf"))
        _check_range("spool_max_bytes", self.spool_max_bytes, 1 << 20, float("inf"))
        _check_range("spool_min_free_bytes", self.spool_min_free_bytes, 0, float("inf"))
        if self.digest_key is not None and len(self.digest_key) < MIN_DIGEST_KEY_CHARACTERS:
            raise ConfigurationError(
                "digest_key",
                "*" * len(self.digest_key),
                f"it needs at least {MIN_DIGEST_KEY_CHARACTERS} characters",
                hint="Make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        self._check_names()

    def _check_content(self) -> None:
        if self.content not in ("digest", "redacted", "full"):
            raise ConfigurationError("content", self.content, "it is digest, redacted or full")
        if self.content != "full":
            return
        if self.payload_key is None and self.payload_key_file is None:
            raise ConfigurationError(
                "content",
                self.content,
                "without MVTRACE_PAYLOAD_KEY nothing can be encrypted",
                hint="Make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        if find_spec("cryptography") is None:
            raise ConfigurationError(
                "content",
                self.content,
                "the package cryptography is not installed",
                hint="pip install 'mvtrace[payloads]'",
            )

    def _check_names(self) -> None:
        if self.api_key is not None and not _KEY.fullmatch(self.api_key):
            raise ConfigurationError(
                "api_key", "***", "it has visible ASCII characters only, and no space"
            )
        for host in self.propagate_to:
            if not _HOST.fullmatch(host):
                raise ConfigurationError(
                    "propagate_to", host, "an entry is a host, host:port or *.domain"
                )
        if self.arm is not None and not _NAME.fullmatch(self.arm):
            raise ConfigurationError(
                "arm", self.arm, "it has letters, digits, '_', '.', '-', 128 at most"
            )
        if self.project is not None and not _PROJECT.fullmatch(self.project):
            raise ConfigurationError(
                "project", self.project, "it has lower-case letters, digits, '_', '-', 63 at most"
            )
        if self.composite is not None and not _TARGET.fullmatch(self.composite):
            raise ConfigurationError("composite", self.composite, "it is 'package.module:name'")
        if not self.service:
            raise ConfigurationError("service", self.service, "it names the service")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **overrides: Any) -> Self:
        """Return the configuration of *environ*; *overrides* that are not None win.

        Raises:
            ConfigurationError: a value that cannot be, with the variable or argument that set it.
        """
        _check_known(overrides, sorted(item.name for item in fields(cls)))
        values = _otel_values(environ)
        sources = {name: _OTEL_SOURCES.get(name, name) for name in values}
        for name, (variable, parse) in _VARIABLES.items():
            if text := environ.get(variable, "").strip():
                values[name] = parse(variable, text)
                sources[name] = variable
        if overrides.get("url") is not None:
            values.pop("headers", None)  # they belong to OpenTelemetry's endpoint
        given = {name: value for name, value in overrides.items() if value is not None}
        values.update({name: _coerced(name, value) for name, value in given.items()})
        sources.update(dict(zip(given, given, strict=True)))
        values.setdefault("spool_dir", default_spool_dir(environ))
        try:
            return cls(**values)
        except ConfigurationError as error:
            source = sources.get(error.key, error.key)
            expected = error.message.partition("; ")[2].removesuffix(".")
            raise ConfigurationError(source, error.value, expected, hint=error.hint) from None

    def resource(self, instance_id: str) -> dict[str, str]:
        """Return the resource attributes of the process *instance_id*."""
        attributes = dict(self.resource_attributes)
        attributes[semconv.SERVICE_NAME] = self.service
        attributes[semconv.SERVICE_INSTANCE_ID] = instance_id
        optional = {
            semconv.SERVICE_VERSION: self.service_version,
            semconv.DEPLOYMENT_ENVIRONMENT: self.environment,
            semconv.PROJECT: self.project,
        }
        attributes.update({key: value for key, value in optional.items() if value is not None})
        return attributes


def default_spool_dir(environ: Mapping[str, str]) -> Path:
    """Return the spool's place by the XDG rules; below the temporary files without a home.

    A service account often has a home that does not exist; its spool then survives the process, but
    not a cleaning of the temporary files.
    """
    state = environ.get("XDG_STATE_HOME", "")
    home = environ.get("HOME", "")
    base = Path(state) if state.startswith("/") else Path(home or "/", ".local", "state")
    existing = next(path for path in (base, *base.parents) if path.exists())
    if (state or home) and os.access(existing, os.W_OK | os.X_OK):
        return base / "mvtrace" / "spool"
    return Path(tempfile.gettempdir(), f"mvtrace-{os.geteuid()}", "spool")


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    return is_plain and has_port and parts.scheme in {"http", "https"} and bool(parts.hostname)


def _check_known(overrides: Mapping[str, Any], known: Sequence[str]) -> None:
    for name, value in overrides.items():
        if name not in known:
            raise ConfigurationError(name, value, f"known options are {', '.join(known)}")


def _check_range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        limit = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise ConfigurationError(key, value, f"it is {limit}")


def _text(_: str, value: str) -> str:
    return value


def _url(_: str, value: str) -> str:
    return value.rstrip("/")


def _boolean(key: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ConfigurationError(key, value, "it is true or false")


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigurationError(key, value, "it is a number") from None


def _bytes(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError(key, value, "it is a whole number of bytes") from None


def _whole(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError(key, value, "it is a whole number") from None


def _hosts(_: str, value: str) -> tuple[str, ...]:
    return tuple(host.strip().lower() for host in value.split(",") if host.strip())


def _path(_: str, value: str) -> Path:
    return Path(value).expanduser().absolute()


def _compression(key: str, value: str) -> str:
    if value not in {"gzip", "none"}:
        raise ConfigurationError(key, value, "it is gzip or none")
    return value


_VARIABLES: Final[Mapping[str, tuple[str, Callable[[str, str], Any]]]] = {
    "url": ("MVTRACE_URL", _url),
    "api_key": ("MVTRACE_API_KEY", _text),
    "service": ("MVTRACE_SERVICE", _text),
    "environment": ("MVTRACE_ENVIRONMENT", _text),
    "project": ("MVTRACE_PROJECT", _text),
    "certificate": ("MVTRACE_CERTIFICATE", _path),
    "spool_dir": ("MVTRACE_SPOOL_DIR", _path),
    "spool_max_bytes": ("MVTRACE_SPOOL_MAX_BYTES", _bytes),
    "spool_min_free_bytes": ("MVTRACE_SPOOL_MIN_FREE_BYTES", _bytes),
    "content": ("MVTRACE_CONTENT", _text),
    "digest_key": ("MVTRACE_DIGEST_KEY", _text),
    "redaction_rules": ("MVTRACE_REDACTION_RULES", _path),
    "payload_key": ("MVTRACE_PAYLOAD_KEY", _text),
    "payload_key_file": ("MVTRACE_PAYLOAD_KEY_FILE", _path),
    "propagate_to": ("MVTRACE_PROPAGATE_TO", _hosts),
    "trust_incoming": ("MVTRACE_TRUST_INCOMING", _boolean),
    "arm": ("MVTRACE_ARM", _text),
    "composite": ("MVTRACE_COMPOSITE", _text),
    "span_ratio": ("MVTRACE_SPAN_RATIO", _number),
    "slow_ms": ("MVTRACE_SLOW_MS", _number),
    "set_global": ("MVTRACE_SET_GLOBAL", _boolean),
    "register_content": ("MVTRACE_REGISTER_CONTENT", _boolean),
    "observe": ("MVTRACE_OBSERVE", _boolean),
    "protocol": ("MVTRACE_PROTOCOL", _text),
    "disabled": ("MVTRACE_DISABLED", _boolean),
    "retry_max_s": ("MVTRACE_RETRY_MAX_S", _number),
    "exit_grace_s": ("MVTRACE_EXIT_GRACE_S", _number),
    "queue_max_bytes": ("MVTRACE_QUEUE_MAX_BYTES", _bytes),
    "breaker_errors": ("MVTRACE_BREAKER_ERRORS", _whole),
    "breaker_window_s": ("MVTRACE_BREAKER_WINDOW_S", _number),
    "breaker_pause_s": ("MVTRACE_BREAKER_PAUSE_S", _number),
}

_OTEL_SOURCES: Final = {
    "url": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "timeout_s": "OTEL_EXPORTER_OTLP_TIMEOUT",
    "certificate": "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "service": "OTEL_SERVICE_NAME",
    "project": "OTEL_RESOURCE_ATTRIBUTES",
}


def _otel_values(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what OpenTelemetry's own variables say."""
    values: dict[str, Any] = {}
    pairs = _pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    for name, key in (
        ("service", semconv.SERVICE_NAME),
        ("service_version", semconv.SERVICE_VERSION),
        ("environment", semconv.DEPLOYMENT_ENVIRONMENT),
        ("project", semconv.PROJECT),
    ):
        if pairs.get(key):
            values[name] = pairs.pop(key)
    values["resource_attributes"] = pairs
    if environ.get("OTEL_SERVICE_NAME", "").strip():
        values["service"] = environ["OTEL_SERVICE_NAME"].strip()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        values["disabled"] = True
    if not environ.get("MVTRACE_URL", "").strip():
        values.update(_otel_exporter_values(environ))
    return values


def _otel_exporter_values(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    over_grpc = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() == "grpc"
    if (endpoint := environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()) and not over_grpc:
        values["url"] = endpoint.rstrip("/")
        values["headers"] = {
            key.lower(): value
            for key, value in _pairs(environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")).items()
        }
    if timeout := environ.get("OTEL_EXPORTER_OTLP_TIMEOUT", "").strip():
        # Seconds to OpenTelemetry's Python exporter, milliseconds to its specification.
        values["timeout_s"] = min(_number("OTEL_EXPORTER_OTLP_TIMEOUT", timeout), MAX_TIMEOUT_S)
    if compression := environ.get("OTEL_EXPORTER_OTLP_COMPRESSION", "").strip():
        values["compression"] = _compression("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    if certificate := environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE", "").strip():
        values["certificate"] = Path(certificate)
    return values


def _pairs(text: str) -> dict[str, str]:
    """Return the pairs of a W3C-baggage-like list; entries without ``=`` are left out."""
    entries = (entry.partition("=") for entry in text.split(","))
    return {
        key.strip(): unquote(value.strip()) for key, sign, value in entries if sign and key.strip()
    }


def _coerced(name: str, value: Any) -> Any:
    """Return an argument in its field's type."""
    if name == "url":
        return str(value).rstrip("/")
    if name in ("spool_dir", "certificate", "redaction_rules", "payload_key_file"):
        return Path(value).expanduser().absolute()
    if name == "propagate_to":
        hosts: Sequence[str] = (value,) if isinstance(value, str) else value
        return tuple(host.lower() for host in hosts)
    return value
