"""The OpenAPI description: whole, up to date, and what the collector really answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attacked import attacked
from starlette.routing import Route

from mvtrace_collector import openapi
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig

EXAMPLES = os.environ.get("MVTRACE_FUZZ_EXAMPLES", "15")
"""How many requests schemathesis makes for each operation and phase."""


def routes() -> set[tuple[str, str]]:
    """Every method and path of the application; HEAD comes with GET."""
    app = build_app(CollectorConfig(store="chdb:///unused", port=0))
    return {
        (method.lower(), route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or {"POST"}) - {"HEAD"}
    }


def described() -> dict[str, dict[str, dict[str, object]]]:
    return dict(openapi.document()["paths"])


def test_every_route_is_described_and_nothing_else() -> None:
    """
    The description has the application's methods and paths, no more and no fewer.
    """
    assert {(method, path) for path, one in described().items() for method in one} == routes()


def test_the_file_is_what_the_command_writes() -> None:
    """
    schemas/openapi.json is up to date; else run ``python -m mvtrace_collector.openapi``.
    """
    assert openapi.path().read_text("utf-8") == openapi.written()


@pytest.mark.parametrize("path", sorted({path for _, path in routes()}))
def test_security_is_that_of_the_guard(path: str) -> None:
    """
    What needs no key says so, and every other operation says which scope it needs.
    """
    for operation in described()[path].values():
        is_open = path in ("/healthz", "/readyz", "/sql/ping")
        assert (operation["security"] == []) == is_open
        assert ("Needs the scope" in str(operation["description"])) != is_open
        responses = operation["responses"]
        assert isinstance(responses, dict)
        assert {"401", "403", "431"} <= responses.keys()


@pytest.mark.fuzz
def test_the_collector_keeps_to_its_description(tmp_path: Path) -> None:
    """
    Schemathesis finds no error of the server, and no status or content type that is not described.
    """
    with attacked(tmp_path) as target:
        document = openapi.document()
        # A verification reads everything and is one at a time; keys would close the collector.
        for path in ("/api/v1/verification", "/api/v1/keys"):
            document["paths"][path].pop("post", None)
        schema = tmp_path / "openapi.json"
        schema.write_text(json.dumps(document))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(schema)),
            *("--url", target.running.url, "--max-examples", EXAMPLES, "--no-color"),
            *("--phases", "examples,coverage,fuzzing", "--mode", "all", "--seed", "1"),
            *("--request-timeout", "30", "--suppress-health-check", "all", "--continue-on-failure"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=1800
        )
        target.check_alive()

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
