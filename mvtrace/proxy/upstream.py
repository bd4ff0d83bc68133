"""The server behind the proxy: its address, and the request line and headers it is sent.

In: a URL once, then the ASGI scope of each request. Out: target and headers, as the client sent
them. Changed is what belongs to one connection (RFC 9110, section 7.6.1), and ``host``, which names
the upstream. Names of headers come in lower case from the server: they mean the same in any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mvtrace.capture.asgi import Scope
from mvtrace.errors import ConfigurationError

Headers = list[tuple[bytes, bytes]]

PER_CONNECTION: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection, of requests and of answers."""
_OURS: Final = frozenset({b"host", b"expect"})
"""Of a request: the server has answered ``expect`` itself, once the body is asked for."""
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where requests go."""

    scheme: str
    host: str
    port: int
    prefix: bytes = b""
    """What comes before the path of a request, without a slash at its end."""

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Return the upstream at *url*.

        Raises:
            ConfigurationError: it is none that requests can be sent to.

        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError("--upstream", url, "it is no URL") from None
        if parts.scheme not in _PORTS or not parts.hostname or not url.isascii():
            raise ConfigurationError(
                "--upstream", url, "it is http://HOST[:PORT][/PATH] or https://…"
            )
        _check_rest(parts)
        prefix = parts.path.rstrip("/").encode()
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], prefix)

    @property
    def authority(self) -> str:
        """Host and port, as a ``host`` header names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"{self.scheme}://{self.authority}{self.prefix.decode()}"

    def target(self, scope: Scope) -> bytes:
        """Return path and query as the client wrote them, behind our prefix."""
        target: bytes = self.prefix + scope["raw_path"]
        return target + b"?" + scope["query_string"] if scope["query_string"] else target

    def headers(self, scope: Scope) -> Headers:
        """Return the headers of a request; how its body is framed stays as it was."""
        found = [(b"host", self.authority.encode())]
        is_chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        for name, value in end_to_end(scope["headers"]):
            if name in _OURS or (is_chunked and name == b"content-length"):
                continue
            found.append((name, value))
        if is_chunked:
            found.append((b"transfer-encoding", b"chunked"))
        return found


def _check_rest(parts: SplitResult) -> None:
    if parts.username is not None or parts.password is not None:
        shown = f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}"
        raise ConfigurationError(
            "--upstream",
            shown,
            "it holds no user or password",
            hint="Clients send their own authorization header, which is passed on.",
        )
    if parts.query or parts.fragment:
        raise ConfigurationError("--upstream", parts.geturl(), "it ends with its path")


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return *headers* without those of one connection, and those that it names."""
    held = list(headers)
    dropped = set(PER_CONNECTION)
    for name, value in held:
        if name.lower() == b"connection":
            dropped |= {option.strip().lower() for option in value.split(b",")}
    return [(name, value) for name, value in held if name.lower() not in dropped]
