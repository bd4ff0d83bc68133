"""Answers to exports, in the encoding of the request: OTLP's own, and google.rpc.Status for errors.

Three tiny messages, written by hand after their .proto files; a test reads them with the official
classes. Comes in: counts or an error. Goes out: a Starlette Response.
"""

from __future__ import annotations

from typing import Final, Literal

import orjson
from starlette.responses import Response

from mvtrace.otlp import field, varint
from mvtrace_collector.errors import IngestError

Encoding = Literal["protobuf", "json"]
MEDIA_TYPES: Final[dict[Encoding, str]] = {
    "protobuf": "application/x-protobuf",
    "json": "application/json",
}
MAX_MESSAGE: Final = 4096
"""Characters of a message; an answer stays far below the 4 MiB that clients read."""


def encoding_of(content_type: str) -> Encoding:
    """Return the request's encoding; what is neither is answered in JSON, which anyone can read."""
    media = content_type.partition(";")[0].strip().lower()
    return "protobuf" if media == MEDIA_TYPES["protobuf"] else "json"


def accepted(encoding: Encoding, *, rejected: int, noun: str, message: str) -> Response:
    """Answer 200; *noun* is the JSON name of the rejected count."""
    message = message[:MAX_MESSAGE]
    if encoding == "json":
        partial = {noun: str(rejected), "errorMessage": message} if rejected else None
        return _response(orjson.dumps({"partialSuccess": partial} if partial else {}), encoding)
    if not rejected:
        return _response(b"", encoding)
    partial_success = b"\x08" + varint(rejected) + field(2, message.encode())
    return _response(field(1, partial_success), encoding)


def refused(encoding: Encoding, error: IngestError) -> Response:
    """Answer with the status of *error* and a google.rpc.Status."""
    message = error.message[:MAX_MESSAGE]
    if encoding == "json":
        body = orjson.dumps({"code": error.rpc_code, "message": message})
    else:
        body = b"\x08" + varint(error.rpc_code) + field(2, message.encode("utf-8", "replace"))
    return _response(body, encoding, error)


def _response(body: bytes, encoding: Encoding, error: IngestError | None = None) -> Response:
    return Response(
        body,
        status_code=200 if error is None else error.status,
        headers=None if error is None else error.headers,
        media_type=MEDIA_TYPES[encoding],
    )
