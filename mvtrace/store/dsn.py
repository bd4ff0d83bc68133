"""The address of a store: text in, parsed parts out; a password never comes out as text again.

``chdb:///dir`` is an embedded store, ``http(s)://host:port`` a running collector, and
``clickhouse(s)://user:password@host:port/database`` a ClickHouse server's HTTP interface.
Nothing is opened here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from mvtrace.errors import ConfigurationError

StoreKind = Literal["embedded", "collector", "server"]

DATABASE: Final = "mvtrace"
"""The database where the DSN names no other; an embedded store always has this one."""

_EXPECTED: Final = (
    "it must be chdb:///DIR (embedded), http://HOST:PORT (a running collector) "
    "or clickhouse://USER:PASSWORD@HOST:PORT/DATABASE (a server)"
)


@dataclass(frozen=True)
class StoreDsn:
    """A parsed address. ``str()`` of it is safe to show."""

    kind: StoreKind
    shown: str
    directory: Path | None = None
    interface: Literal["http", "https"] = "http"
    host: str = ""
    port: int = 0
    username: str | None = None
    password: str = field(default="", repr=False)
    database: str = DATABASE

    def __str__(self) -> str:
        return self.shown


def parse_dsn(text: str) -> StoreDsn:
    """Return the parts of *text*.

    Raises:
        ConfigurationError: *text* is no address of a store.

    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigurationError("The store DSN", _redacted_text(text), _EXPECTED) from None
    if parts.scheme == "chdb":
        return _embedded(text, parts)
    if parts.scheme in ("http", "https") and parts.hostname:
        return _remote("collector", parts, port or (443 if parts.scheme == "https" else 80))
    if parts.scheme in ("clickhouse", "clickhouses") and parts.hostname:
        return _remote("server", parts, port or (8443 if parts.scheme[-1] == "s" else 8123))
    raise ConfigurationError("The store DSN", _redacted_text(text), _EXPECTED)


def _embedded(text: str, parts: SplitResult) -> StoreDsn:
    if parts.netloc or parts.path in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(
            "The store DSN",
            _redacted_text(text),
            "an embedded store is chdb:// and the absolute path of a directory, "
            "for example chdb:///var/lib/mvtrace",
        )
    directory = Path(unquote(parts.path))
    return StoreDsn("embedded", f"chdb://{directory}", directory=directory)


def _remote(kind: StoreKind, parts: SplitResult, port: int) -> StoreDsn:
    host = parts.hostname or ""
    shown_host = f"[{host}]" if ":" in host else host
    user = f"{parts.username}@" if parts.username else ""
    database = unquote(parts.path.strip("/")) if kind == "server" else ""
    path = f"/{database}" if database else ""
    return StoreDsn(
        kind,
        f"{parts.scheme}://{user}{shown_host}:{port}{path}",
        interface="https" if parts.scheme in ("https", "clickhouses") else "http",
        host=host,
        port=port,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password or ""),
        database=database or DATABASE,
    )


def _redacted_text(text: str) -> str:
    """Return *text* without what stands between the scheme and the last ``@``."""
    scheme, separator, rest = text.partition("://")
    _, at, after = rest.rpartition("@")
    return f"{scheme}{separator}***@{after}" if at else text
