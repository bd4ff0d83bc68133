"""Send events to a collector and return once they are accepted: how a look is kept from afar.

In: the collector's address and a key; events. Out: nothing, or an error. What is sent a second time
changes nothing. The collector answers when the events are durable; they are rows shortly after.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlsplit

from mvtrace.comparing.errors import NotAcceptedError
from mvtrace.errors import CollectorUnreachableError, ConfigurationError
from mvtrace.otlp import LogEvent
from mvtrace.semconv import EVENT_VERDICT, PROJECT

Keep = Callable[[Iterable[LogEvent]], None]
TIMEOUT_S: Final = 35.0
TRIES: Final = 6
MOST_WAIT_S: Final = 30.0
_OK: Final = 200
_LATER: Final = frozenset({429, 502, 503, 504})
_SHOWN: Final = 300


def sender_to(url: str | object, *, project: str | None = None, api_key: str | None = None) -> Keep:
    """Return what sends events to the collector at *url*.

    Raises:
        ConfigurationError: *url* is no address.
    """
    address = str(url)
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("url", address, "it must be http://HOST:PORT")
    chosen = project or os.environ.get("MVTRACE_PROJECT") or None
    key = api_key or os.environ.get("MVTRACE_API_KEY") or None

    def keep(events: Iterable[LogEvent]) -> None:
        # What a look is kept with goes first: where that is refused, no look is kept either.
        held = sorted(events, key=lambda one: one.name == EVENT_VERDICT)
        for _, batch in groupby(held, key=lambda one: one.name):
            _check(*_sent(address, _body(list(batch), chosen), key))

    return keep


def _body(events: Sequence[LogEvent], project: str | None) -> bytes:
    named = [{"key": PROJECT, "value": {"stringValue": project}}] if project else []
    records = [
        {
            "timeUnixNano": str(event.time_unix_nano),
            "eventName": event.name,
            "body": {"stringValue": event.body},
            "attributes": [
                {"key": key, "value": {"stringValue": str(value)}}
                for key, value in event.attributes.items()
            ],
        }
        for event in events
    ]
    logs = {"resource": {"attributes": named}, "scopeLogs": [{"logRecords": records}]}
    return json.dumps({"resourceLogs": [logs]}).encode()


def _sent(url: str, body: bytes, key: str | None) -> tuple[int, Mapping[str, Any]]:
    """Return the status and the answer; a collector that is busy is asked again.

    Raises:
        CollectorUnreachableError: it does not answer, or answers what is no JSON.
    """
    headers = {
        "Content-Type": "application/json",
        "x-mvtrace-batch": hashlib.sha256(body).hexdigest()[:32],
        **({"Authorization": f"Bearer {key}"} if key else {}),
    }
    status, wait_s, answer = _posted(url, body, headers)
    for _ in range(TRIES):
        if status not in _LATER:
            break
        time.sleep(min(wait_s, MOST_WAIT_S))
        status, wait_s, answer = _posted(url, body, headers)
    return status, answer


def _posted(
    url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, float, Mapping[str, Any]]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/v1/logs", body, dict(headers))
        reply = connection.getresponse()
        said = json.loads(reply.read() or b"{}")
        return reply.status, float(reply.headers.get("retry-after", 1)), dict(said)
    except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CollectorUnreachableError(url, reason) from error
    finally:
        connection.close()


def _check(status: int, answer: Mapping[str, Any]) -> None:
    """Refuse an answer that does not say that all is kept.

    Raises:
        NotAcceptedError: it does not.
    """
    if status != _OK:
        error = answer.get("error")
        message = error.get("message") if isinstance(error, dict) else answer.get("message")
        why = str(message or f"the collector answered with status {status}")[:_SHOWN]
        raise NotAcceptedError(why)
    refused = answer.get("partialSuccess") or {}
    if int(refused.get("rejectedLogRecords", 0)):
        raise NotAcceptedError(str(refused.get("errorMessage", "it was refused"))[:_SHOWN])
