"""A collector, asked over plain HTTP: ``http.client`` only, so that a command starts fast.

In: a URL and a question. Out: parsed JSON, or bytes of a query's result. Errors that the collector
reports come out as they are; one that does not answer is a CollectorUnreachableError.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from mvtrace.cli.errors import ReportedError
from mvtrace.errors import CollectorUnreachableError, ConfigurationError

DEFAULT_URL: Final = "http://127.0.0.1:4318"
TIMEOUT_S: Final = 35.0
"""Longer than any wait the collector does for us."""
LONG_TIMEOUT_S: Final = 900.0
"""Between two lines of a verification: one line may stand for a pass over a whole table."""

_STORE_ERROR: Final = re.compile(r"^Code: \d+\. DB::Exception: ")
_REFUSED: Final = "(ACCESS_DENIED)"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
"""A parameter is read as a field of TSV, which these would end."""
_OK: Final = 200
_CREATED: Final = 201
_SERVER_ERROR: Final = 500
_NOT_FOUND: Final = 404


class Collector:
    """A collector at *url*, asked about one *project*."""

    def __init__(self, url: str, *, api_key: str | None = None, project: str | None = None) -> None:
        parts = urlsplit(url)
        try:
            self._port = parts.port
        except ValueError:
            self._port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or self._port == 0:
            raise ConfigurationError("--url", url, "it must be http://HOST:PORT")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._path = parts.path.rstrip("/")
        self._url = url
        self._key = api_key
        self._project = {"project": project} if project else {}

    @contextmanager
    def opened(self) -> Iterator[Collector]:
        """Give the collector for several questions."""
        yield self

    def explanation(self, text: str, *, wait_s: float) -> dict[str, Any]:
        """Return the explanation of the request that *text* names."""
        query = {"id": text, "wait": f"{wait_s:g}", **self._project}
        return self._json("/api/v1/explanation", query)

    def requests(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the requests that a filter lets through."""
        return self._json("/api/v1/requests", {**texts, **self._project})

    def status(self) -> dict[str, Any]:
        """Return what the collector says of itself."""
        return self._json("/api/v1/status", {})

    def verification(self, *, since: str, repair: bool) -> Iterator[dict[str, Any]]:
        """Yield the lines of a verification of the collector's store."""
        asked = json.dumps({"since": since, "repair": repair}).encode()
        path = "/api/v1/verification"
        headers = {"Content-Type": "application/json"}
        with self._answered("POST", path, asked, headers, timeout_s=LONG_TIMEOUT_S) as reply:
            if reply.status != _OK:
                raise _reported(reply.status, reply.read(), self._url + path)
            for line in reply:
                yield dict(json.loads(line))

    def gaps(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the gaps that a filter lets through."""
        return self._json("/api/v1/gaps", {**texts, **self._project})

    def drift(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the episodes of drift that a filter lets through."""
        return self._json("/api/v1/drift", {**texts, **self._project})

    def affected(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return how many requests something affected."""
        return self._json("/api/v1/affected", {**texts, **self._project})

    def deployments(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return what served, and the decisions that a filter lets through."""
        return self._json("/api/v1/deployments", {**texts, **self._project})

    def export(self, body: bytes, batch_id: str) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Send OTLP log records as JSON; return the status, the headers and the answer."""
        headers = {"Content-Type": "application/json", "x-mvtrace-batch": batch_id}
        with self._answered("POST", "/v1/logs", body, headers) as reply:
            answered = {name.lower(): value for name, value in reply.getheaders()}
            try:
                return reply.status, answered, dict(json.loads(reply.read()))
            except ValueError as error:
                raise CollectorUnreachableError(self._url, "its answer is no JSON") from error

    def sql(
        self, statement: str, output: str, parameters: Mapping[str, Any] | None = None
    ) -> tuple[bytes, str]:
        """Return the result of *statement* and its format: *output*, unless it names one."""
        query = {"default_format": output, **self._project}
        body, said = statement.encode(), {}
        if parameters:
            bound = {f"param_{name}": parameter(value) for name, value in parameters.items()}
            body, kind = _form({"query": statement, **bound})
            said = {"Content-Type": kind}
        status, headers, body = self._ask("POST", "/sql", query, body, said)
        if status != _OK:
            raise _reported(status, body, f"{self._url}/sql")
        return body, headers.get("X-ClickHouse-Format", output)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON at *path*."""
        return self._json(path, query or {})

    def post(
        self, path: str, document: Mapping[str, Any], query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send *document* as JSON; return the answer."""
        return self._json(path, query or {}, json.dumps(document).encode())

    def _json(
        self, path: str, query: Mapping[str, str], document: bytes | None = None
    ) -> dict[str, Any]:
        status, _, body = self._ask("GET" if document is None else "POST", path, query, document)
        if status not in (_OK, _CREATED):
            raise _reported(status, body, self._url + path)
        try:
            return dict(json.loads(body))
        except ValueError as error:
            raise CollectorUnreachableError(self._url, "its answer is no JSON") from error

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        with self._answered(method, f"{path}?{urlencode(query)}", body, headers or {}) as reply:
            return reply.status, reply.headers, reply.read()

    @contextmanager
    def _answered(
        self,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[http.client.HTTPResponse]:
        """Give the answer to a request while it is read."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s)
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            connection.request(method, f"{self._path}{target}", body, {**key, **headers})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise CollectorUnreachableError(self._url, reason) from error
        finally:
            connection.close()


def _form(fields: Mapping[str, str]) -> tuple[bytes, str]:
    """Return *fields* as a form's body, and its content type: a URL has no room for many values."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    body = f"{''.join(parts)}--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def parameter(value: Any) -> str:
    """Return *value* as a parameter of ClickHouse's HTTP interface is written."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_quoted(one) for one in value)}]"
    return _escaped(str(value))


def _quoted(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    return "'" + _escaped(value).replace("'", "\\'") + "'"


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _reported(status: int, body: bytes, where: str) -> ReportedError:
    """Return what a collector reported: JSON from its API, text from its SQL endpoint."""
    text = body.decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
        code, message, hint = str(error["code"]), str(error["message"]), error.get("hint")
        exit_code = error.get("exit_code")
    except (ValueError, TypeError, KeyError):
        code = "statement-failed" if _STORE_ERROR.match(text) else "collector"
        code = "query-refused" if code == "statement-failed" and _REFUSED in text else code
        message = _STORE_ERROR.sub("", text) or f"{where} answered with status {status}."
        hint, exit_code = None, None
        if status == _NOT_FOUND and code == "collector":
            hint = "Is this the URL of a mvtrace collector?"
        elif code != "collector" and status < _SERVER_ERROR:
            exit_code = 2
    return ReportedError(code, message, hint=hint, exit_code=exit_code, status=status)
