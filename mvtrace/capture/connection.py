"""One kept-alive HTTP connection to the collector.

In: a path, a body, headers. Out: the Answer, or an OSError when there is none. A kept connection
that the collector closed meanwhile is opened again once, which is safe: the batch id tells a
repetition. Redirects are not followed and proxy variables are not read.

What was measured: ``http.client`` and ``ssl`` make 8 ms of an import that the application waits
for. The shipper's thread imports them with the first delivery instead.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mvtrace.capture.answers import Answer
from mvtrace.capture.late import late_import
from mvtrace.config import TracingConfig

if TYPE_CHECKING:
    import http.client
    import ssl

MAX_ANSWER_BYTES: Final = 1 << 20
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class CollectorConnection:
    """The way to the collector of *config*; used by one thread."""

    def __init__(self, config: TracingConfig) -> None:
        self._url = urlsplit(config.url)
        self._timeout_s = config.timeout_s
        self._certificate = config.certificate
        self._connection: http.client.HTTPConnection | None = None
        self._headers = dict(config.headers)
        if config.api_key is not None:
            self._headers["authorization"] = f"Bearer {config.api_key}"
        self._is_reused = False

    @property
    def is_local(self) -> bool:
        """Whether the collector is on this machine, by the name its URL gives it."""
        return self._url.hostname in _LOOPBACK

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer to *body*.

        Raises:
            OSError: there is no answer: unreachable, cut off, or not HTTP.
        """
        return self._answered("POST", path, body, headers)

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Return what is at *path*.

        Raises:
            OSError: there is no answer: unreachable, cut off, or not HTTP.
        """
        return self._answered("GET", path, None, headers)

    def _answered(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        was_reused, self._is_reused = self._is_reused, False
        try:
            return self._ask(method, path, body, headers)
        except (OSError, _http().HTTPException, ValueError) as error:
            self.close()
            if was_reused and isinstance(error, ConnectionError):
                return self._answered(method, path, body, headers)
            if isinstance(error, OSError):
                raise
            raise ConnectionError(f"not an HTTP answer: {error!r}") from error

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        connection = self._connection = self._connection or self._connect()
        full = self._url.path.rstrip("/") + path
        connection.request(method, full, body=body, headers={**self._headers, **headers})
        response = connection.getresponse()
        data = response.read(MAX_ANSWER_BYTES)
        answer = Answer(
            response.status,
            response.getheader("content-type", "").lower(),
            response.getheader("retry-after"),
            data,
        )
        if response.will_close or not response.isclosed():
            self.close()
        else:
            self._is_reused = True
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        url, client = self._url, _http()
        if url.scheme != "https":
            connection: http.client.HTTPConnection = client.HTTPConnection(
                url.hostname or "", url.port, timeout=self._timeout_s
            )
            return connection
        secure: http.client.HTTPConnection = client.HTTPSConnection(
            url.hostname or "",
            url.port,
            timeout=self._timeout_s,
            context=_trusting(self._certificate),
        )
        return secure

    def close(self) -> None:
        """Close the connection; the next delivery opens another."""
        if self._connection is not None:
            self._connection.close()


def _trusting(certificate: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities of *certificate*, else the system's."""
    context: ssl.SSLContext = late_import("ssl").create_default_context(cafile=certificate)
    return context


@functools.cache
def _http() -> ModuleType:
    return late_import("http.client")
