"""The collector's description in OpenAPI 3.1: ``python -m mvtrace_collector.openapi`` writes it.

Comes in: the table of routes, and the scopes that open each. Goes out: ``schemas/openapi.json``,
which a test compares with this module and with the routes of the application.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from mvtrace.resources import schema_root
from mvtrace_collector.access import scopes_of
from mvtrace_collector.openapi_routes import JSON, OPERATIONS, PROTOBUF, TEXT, Operation

API_VERSION: Final = "1"
"""Of the interface, not of the package: it changes where a client of the former would break."""
SHARED_ERRORS: Final = (401, 403, 414, 421, 431)
"""What the guards before the routes may answer; 421 is for a name that is not this host's."""
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SCHEMAS: Final[dict[str, Any]] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "hint": {"type": ["string", "null"]},
                    "exit_code": {"type": "integer"},
                },
            }
        },
    },
    "Status": {
        "description": "google.rpc.Status, in the encoding of the request",
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    },
    "Exception": {
        "description": "Code: N. DB::Exception: … (NAME)",
        "type": "string",
    },
}


def document() -> dict[str, Any]:
    """Return the whole description."""
    paths: dict[str, Any] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mvtrace collector",
            "version": API_VERSION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:4318"}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "mvt_<id>_<secret>"}
            },
        },
    }


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    scopes = scopes_of(path)
    needed = f" Needs the scope {' or '.join(scopes)}." if scopes else " Needs no key."
    found: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method}{path}").strip("_"),
        "summary": operation.summary,
        "description": operation.summary + needed,
        "security": [{"key": []}, {}] if scopes else [],
        "parameters": _parameters(path, operation),
        "responses": _responses(operation),
    }
    if operation.body:
        content = {kind: {"schema": schema} for kind, schema in operation.body}
        found["requestBody"] = {"content": content}
    return found


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(path)
    ]
    in_query = [
        {"name": name, "in": "query", "schema": schema} for name, schema in operation.parameters
    ]
    return [*in_path, *in_query]


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, kind, schema in operation.answers:
        found.setdefault(str(status), _response(status))["content"][kind] = {"schema": schema}
    for status in sorted({*operation.errors, *SHARED_ERRORS}):
        for kind, name in _error_forms(operation, status):
            schema = {"$ref": f"#/components/schemas/{name}"}
            kept = found.setdefault(str(status), _response(status))["content"]
            kept.setdefault(kind, {"schema": schema})
    return dict(sorted(found.items()))


def _error_forms(operation: Operation, status: int) -> list[tuple[str, str]]:
    """Return content types and schemas of one error; the guards speak for themselves."""
    if status in (414, 421, 431):
        return [(JSON, "Error")]
    if operation.error == "Status":
        return [(JSON, "Status"), (PROTOBUF, "Status")]
    if operation.error == "Exception":
        return [(TEXT, "Exception"), *([(JSON, "Error")] if status in (401, 403) else [])]
    return [(JSON, "Error")]


def _response(status: int) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": {}}


def written() -> str:
    """Return the text of the file."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def path() -> Path:
    """Return where the file lies."""
    return schema_root() / "openapi.json"


if __name__ == "__main__":
    path().write_text(written(), "utf-8")
