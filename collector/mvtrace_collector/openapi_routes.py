"""What each route takes and answers, in words of OpenAPI: the table that ``openapi`` writes out.

One entry a method and path. Left out: what all routes share (security, errors of the key guard).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
TEXT: Final = "text/plain"

Schema = dict[str, Any]
_TEXT: Final[Schema] = {"type": "string"}
_OBJECT: Final[Schema] = {"type": "object"}


class Operation(NamedTuple):
    """One method of one path."""

    summary: str
    parameters: tuple[tuple[str, Schema], ...] = ()
    """Names and schemas of what stands in the query."""
    body: tuple[tuple[str, Schema], ...] = ()
    """Content types and schemas of what is posted."""
    answers: tuple[tuple[int, str, Schema], ...] = ()
    """Statuses, content types and schemas where all went well."""
    errors: tuple[int, ...] = ()
    error: str = "Error"
    """The schema of its errors: Error, Status (google.rpc) or a text of ClickHouse's dialect."""


def _answer(*required: str, status: int = 200) -> tuple[tuple[int, str, Schema], ...]:
    return (
        (status, JSON, {"type": "object", "required": list(required)} if required else _OBJECT),
    )


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


_EXPORT_ERRORS: Final = (400, 403, 405, 408, 413, 415, 429, 503)
_READ_ERRORS: Final = (400, 403, 404, 409, 413, 503)
_COMPARE_ERRORS: Final = (*_READ_ERRORS, 429, 501)
_PROJECT: Final = (("project", _TEXT),)
_LIMIT: Final = (("limit", {"type": "integer", "minimum": 1}),)
_TIMES: Final = (("since", _TEXT), ("until", _TEXT))
_COMPARED: Final = (
    *(("baseline", _TEXT), ("canary", _TEXT), ("arms", _TEXT), ("service", _TEXT)),
    *(("environment", _TEXT), ("rollout", _TEXT), ("plan", _TEXT), ("full", _TEXT)),
)
_KEY: Final[Schema] = {
    "type": "object",
    "required": ["scopes", "projects", "label"],
    "properties": {
        "scopes": {"type": "array", "items": _TEXT},
        "projects": {"type": "array", "items": _TEXT},
        "label": _TEXT,
        "expires_ms": {"type": ["integer", "null"]},
    },
}
_SQL_TYPES: Final[tuple[tuple[int, str, Schema], ...]] = ((200, "*/*", {}),)


def _export(signal: str) -> Operation:
    return Operation(
        f"Take an OTLP export of {signal}; 200 once it is on the disk.",
        body=((PROTOBUF, {"type": "string", "format": "binary"}), (JSON, _OBJECT)),
        answers=((200, JSON, _OBJECT), (200, PROTOBUF, {"type": "string", "format": "binary"})),
        errors=_EXPORT_ERRORS,
        error="Status",
    )


def _read(summary: str, *parameters: tuple[str, Schema], told: tuple[str, ...]) -> Operation:
    asked = (*parameters, *_PROJECT)
    return Operation(summary, asked, answers=_answer(*told), errors=_READ_ERRORS)


def _sql(method: str) -> Operation:
    query = (("query", _TEXT), ("database", _TEXT), ("default_format", _TEXT), *_PROJECT)
    body = ((TEXT, _TEXT),) if method == "post" else ()
    errors = (400, 403, 404, 408, 413, 500, 503)
    summary = "Run one SELECT over the tables of mvtrace, in ClickHouse's HTTP dialect."
    return Operation(summary, query, body, _SQL_TYPES, errors, error="Exception")


def _written(summary: str, body: Schema, *told: str, status: int = 200) -> Operation:
    answers, errors = _answer(*told, status=status), (400, 403, 404, 409, 413, 415, 429, 503)
    return Operation(summary, _PROJECT, ((JSON, body),), answers, errors)


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("post", "/v1/traces"): _export("spans"),
    ("post", "/v1/logs"): _export("records, registry events, decisions and scores"),
    ("get", "/healthz"): Operation("Whether the process lives.", answers=_answer("status")),
    ("get", "/readyz"): Operation(
        "Whether exports are taken and stored; 503 names the check that fails.",
        answers=(*_answer("status", "checks"), *_answer("status", "checks", status=503)),
    ),
    ("get", "/metrics"): Operation(
        "The collector's own numbers, as Prometheus reads them.",
        answers=((200, TEXT, _TEXT),),
        errors=(503,),
    ),
    ("get", "/api/v1/status"): Operation(
        "Everything a person asks first.", answers=_answer("healthy", "version"), errors=(503,)
    ),
    ("post", "/api/v1/verification"): Operation(
        "Verify the store; one JSON object a line, the result last.",
        body=(
            (
                JSON,
                {"type": "object", "properties": {"since": _TEXT, "repair": {"type": "boolean"}}},
            ),
        ),
        answers=((200, "application/x-ndjson", _TEXT),),
        errors=(400, 409, 413, 415, 503),
    ),
    ("get", "/api/v1/explanation"): _read(
        "Explain one request.",
        *(("id", _TEXT), ("wait", {"type": "number", "minimum": 0, "maximum": 5})),
        told=("request_id", "findings"),
    ),
    ("get", "/api/v1/requests"): _read(
        "List requests, newest first.",
        *(*_TIMES, ("route", _TEXT), ("service", _TEXT), ("environment", _TEXT)),
        *(("version", _TEXT), ("error", _TEXT), ("conversation", _TEXT), ("arm", _TEXT), *_LIMIT),
        told=("requests", "limit"),
    ),
    ("get", "/api/v1/gaps"): _read(
        "List numbers of producers that never came.",
        *(*_TIMES, ("service", _TEXT), ("all", _TEXT), *_LIMIT),
        told=("gaps", "limit"),
    ),
    ("get", "/api/v1/drift"): _read(
        "List episodes of drift, the one met last first, after a sweep of what is stored.",
        *(*_TIMES, ("service", _TEXT), ("environment", _TEXT), ("kind", _TEXT), ("open", _TEXT)),
        *(("wait", {"type": "number", "minimum": 0, "maximum": 5}), *_LIMIT),
        told=("drift", "limit"),
    ),
    ("get", "/api/v1/affected"): _read(
        "Count, and list, the requests that a component, a drift or a request's state affected.",
        *(("id", _TEXT), *_TIMES, ("list", _TEXT), *_LIMIT),
        told=("what", "requests", "users", "versions", "sql"),
    ),
    ("get", "/api/v1/content"): _read(
        "Give out the content of one request as it is stored.",
        ("id", _TEXT),
        told=("contents", "keys"),
    ),
    ("post", "/api/v1/erasures"): _written(
        "Erase what was captured about a subject.",
        {
            "type": "object",
            "required": ["subject"],
            "properties": {"subject": _TEXT, "reason": _TEXT},
        },
        "project",
        "erased_by",
    ),
    ("post", "/api/v1/deploy"): _written("Note a deployment event.", _OBJECT, status=201),
    ("post", "/api/v1/retention"): _written(
        "Begin, end or take back the collection of an artifact from a place.",
        _OBJECT,
        "event_id",
        "action",
        status=201,
    ),
    ("get", "/api/v1/deployments"): _read(
        "List deployment events.",
        *(*_TIMES, ("service", _TEXT), ("environment", _TEXT), *_LIMIT),
        told=(),
    ),
    ("get", "/api/v1/rollout"): _read(
        "What is in force for one service: its stable version, and the rollout that runs.",
        *(("service", _TEXT), ("environment", _TEXT), ("version", _TEXT)),
        told=("service", "environment", "stable", "rollout", "named"),
    ),
    ("get", "/api/v1/compare"): _read(
        "Compare a canary with what it would replace: promote, hold or revert; keeps nothing.",
        *_COMPARED,
        told=("decision", "reason", "sentence"),
    )._replace(errors=_COMPARE_ERRORS),
    ("post", "/api/v1/compare"): _read(
        "The same, and the look is kept where it is the first of its hour or another outcome.",
        *_COMPARED,
        told=("decision", "reason", "sentence", "kept"),
    )._replace(errors=_COMPARE_ERRORS),
    ("post", "/api/v1/compare/flagger"): _read(
        "The same as a webhook of Flagger: 200 where the hook passes, 412 where it does not.",
        *(("hook", _TEXT), *_COMPARED),
        told=(),
    )._replace(
        body=((JSON, _OBJECT),),
        answers=((200, TEXT, _TEXT), (412, TEXT, _TEXT)),
        errors=_COMPARE_ERRORS,
    ),
    ("post", "/api/v1/scores"): _written(
        "Take one score, also from a browser with a key that may do nothing else.",
        _OBJECT,
        "accepted",
        status=202,
    ),
    ("get", "/api/v1/access"): _read(
        "Read the log of who explained, queried, exported, erased and governed.",
        *(*_TIMES, ("who", _TEXT), ("what", _TEXT), *_LIMIT),
        told=("entries", "limit"),
    ),
    ("get", "/api/v1/keys"): Operation(
        "List keys, without their secrets.", answers=_answer("keys"), errors=(503,)
    ),
    ("post", "/api/v1/keys"): _written(
        "Make a key; its text is told once.", _KEY, "key", status=201
    ),
    ("post", "/api/v1/keys/{key_id}/rotate"): _written(
        "Make a key that replaces another, which ends after an overlap.",
        _object(overlap_s={"type": "number", "minimum": 0}),
        "key",
        status=201,
    ),
    ("post", "/api/v1/keys/{key_id}/revoke"): _written("End a key now.", _OBJECT, "id"),
    ("get", "/sql"): _sql("get"),
    ("post", "/sql"): _sql("post"),
    ("get", "/sql/"): _sql("get"),
    ("post", "/sql/"): _sql("post"),
    ("get", "/sql/ping"): Operation(
        "Whether the endpoint is there.", answers=((200, TEXT, _TEXT),)
    ),
}
