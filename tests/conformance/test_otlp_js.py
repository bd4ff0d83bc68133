"""OpenTelemetry's JavaScript exporter (OTLP/JSON), unchanged: what it sends comes back by SQL."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Running, collector
from stored_spans import stored_rows, typed

from mvtrace.content import STATUS_DESCRIPTION, is_content

PACKAGE = Path(__file__).parent / "otlp_js"
CONTENT = {"input.value"}

pytestmark = pytest.mark.npm


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sender with its packages, installed into a directory of its own."""
    missing = [name for name in ("npm", "node") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found; the JavaScript exporter needs Node.js")
    folder = tmp_path_factory.mktemp("otlp_js")
    for path in PACKAGE.iterdir():
        shutil.copy(path, folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    installed = subprocess.run(
        install, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector for the tests of this file."""
    with collector(tmp_path_factory.mktemp("collector")) as one:
        yield one


def expected_row(span: dict[str, Any]) -> dict[str, Any]:
    """Return what the store must say of a span, from what the sender printed."""
    kept = {key: value for key, value in span["attributes"].items() if key not in CONTENT}

    def of_type(kind: type) -> dict[str, Any]:
        return {key: value for key, value in kept.items() if type(value) is kind}

    return {
        "trace_id_hex": span["traceId"],
        "span_id_hex": span["spanId"],
        "parent_span_id_hex": span["parentSpanId"],
        "name": span["name"],
        "kind": span["kind"] + 1,
        "start_ns": int(span["start"]),
        "duration_ns": int(span["end"]) - int(span["start"]),
        "status_code": span["status"]["code"],
        "status_message": "",
        "trace_state": "",
        "scope_name": span["scope"][0],
        "scope_version": span["scope"][1],
        "attributes_string": of_type(str),
        "attributes_int": of_type(int),
        "attributes_double": of_type(float),
        "attributes_bool": of_type(bool),
        "attributes_json": of_type(list),
        "resource_attributes": span["resource"],
        "event_list": [
            (int(time), name, {key: fact for key, fact in facts.items() if not is_content(key)})
            for time, name, facts in span["events"]
        ],
        "link_list": [tuple(link) for link in span["links"]],
        "content_removed": sorted(_content_keys(span)),
    }


def _content_keys(span: dict[str, Any]) -> set[str]:
    keys = CONTENT & span["attributes"].keys()
    keys |= {key for _, _, facts in span["events"] for key in facts if is_content(key)}
    return keys | ({STATUS_DESCRIPTION} if span["status"].get("message") else set())


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_span_and_attribute_comes_back(
    sender: Path, serving: Running, compression: str
) -> None:
    """
    Every span the JavaScript SDK made is a row, with every attribute outside the content list in
    its type; a number beyond 64 bits, which that exporter calls an integer, is a double.
    """
    service = f"js-{compression}"

    sent = subprocess.run(
        ["node", "send.mjs", serving.url, service, compression],
        cwd=sender,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert sent.returncode == 0, sent.stderr
    spans = [json.loads(line) for line in sent.stdout.splitlines()]
    expected = {span["spanId"]: expected_row(span) for span in spans}
    rows = stored_rows(serving.url, service, len(expected))
    assert len(expected) == 7
    assert rows.keys() == expected.keys()
    for span_id, row in expected.items():
        assert typed(rows[span_id]) == typed(row)
