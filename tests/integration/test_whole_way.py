"""The whole story: a request in, its explanation out, through real processes and real HTTP."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import httpx2
import pytest
from explained import explained as explanation_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from processes import Running, collector, running
from strategies import records

import mvtrace
from mvtrace.ids import new_request_id
from mvtrace.records import RequestRecord

APP = Path(__file__).parent / "whole_way_app.py"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector for the tests of this file."""
    with collector(tmp_path_factory.mktemp("collector")) as one:
        yield one


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mvtrace", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def explained(request_id: str, url: str) -> dict[str, object]:
    found = cli("explain", request_id, "--url", url, "--json")
    assert found.returncode == 0, found.stderr
    return dict(json.loads(found.stdout))


@pytest.fixture(scope="module")
def answered(serving: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One answer of a real application server, with all the ids its request has."""
    folder = tmp_path_factory.mktemp("app")
    environ = {"MVTRACE_URL": serving.url, "MVTRACE_SPOOL_DIR": str(folder / "spool")}
    command = [sys.executable, str(APP)]
    with running(command, folder / "app.log", environ) as app:
        reply = httpx2.post(
            f"{app.url}/ask", json={"question": "why?"}, headers={"x-request-id": "client-7"}
        )
    assert reply.status_code == 200
    return {"request_id": reply.headers["x-mvtrace-request-id"], **reply.json()}


def test_explained_by_each_of_its_ids(serving: Running, answered: dict[str, str]) -> None:
    """
    Request id, trace id, the client's x-request-id and the provider's response id all lead to the
    same explanation.
    """
    trace_id = str(explained(answered["request_id"], serving.url)["trace_id"])
    ids = (answered["request_id"], trace_id, "client-7", answered["response_id"])

    found = {str(explained(one, serving.url)["request_id"]) for one in ids}

    assert found == {answered["request_id"]}


def test_every_part_is_named_with_digest_and_basis(
    serving: Running, answered: dict[str, str]
) -> None:
    """
    The explanation names every declared part with its digest and on what its statement rests.
    """
    explanation = explained(answered["request_id"], serving.url)

    composite = explanation["composite"]
    assert isinstance(composite, dict)
    parts = {f"{part['kind']}/{part['name']}": part for part in composite["components"]}
    assert set(parts) >= {"model/answerer", "prompt/answer", "router/route", "index/notes"}
    assert all(part["digest"].startswith("sha256:") for part in parts.values())
    assert {part["basis"] for part in parts.values()} <= {"declared", "observed", "verified"}
    [decision] = explanation["router_decisions"]  # type: ignore[misc]
    assert [one["name"] for one in decision["candidates"]] == ["small", "answerer"]
    calls = {call["kind"]: call for call in explanation["calls"]}  # type: ignore[attr-defined]
    assert calls["generation"]["seed"] == 7
    assert calls["generation"]["response_id"] == answered["response_id"]
    assert explanation["index_snapshots"]
    assert explanation["spans"]


def test_no_prompt_or_answer_is_stored(serving: Running, answered: dict[str, str]) -> None:
    """
    Without asking for it, neither the question nor the answer is in what the store gives out.
    """
    rows = cli("sql", "SELECT record FROM requests", "--url", serving.url)
    spans = cli(
        "sql", "SELECT attributes_string, attributes_json, events FROM spans", "--url", serving.url
    )

    assert answered["answer"] not in rows.stdout + spans.stdout
    assert "why?" not in rows.stdout + spans.stdout


@pytest.mark.parametrize(
    ("wrong", "code", "text"),
    [
        ("01890000-0000-7000-8000-000000000000", 1, "request-not-found"),
        ("no-such-thing", 1, "request-not-found"),
        ("trace:zz", 2, "malformed-id"),
        ("", 2, "malformed-id"),
    ],
)
def test_wrong_ids_are_told_apart(serving: Running, wrong: str, code: int, text: str) -> None:
    """
    An unknown id is not found, a malformed one is a wrong use, each with its exit code.
    """
    found = cli("explain", wrong, "--url", serving.url, "--wait", "0")

    assert found.returncode == code
    assert f"error: {text}" in found.stderr


def test_collector_that_is_not_there() -> None:
    """
    Without a collector the command says where it looked, and exits with 3.
    """
    found = cli("explain", "01890000-0000-7000-8000-000000000000", "--url", "http://127.0.0.1:9")

    assert found.returncode == 3
    assert "http://127.0.0.1:9" in found.stderr


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],  # shrinking against a real collector takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batch=st.lists(records, min_size=1, max_size=8, unique_by=lambda record: record.request_id))
def test_what_was_captured_is_what_is_read(
    serving: Running, tmp_path: Path, batch: list[RequestRecord]
) -> None:
    """
    The bytes read back equal the bytes captured, through spool, HTTP, collector and engine; what
    was absent is absent, and 0, 0.0 and "" are themselves.
    """
    tracing = mvtrace.configure(
        service="law", environment="test", url=serving.url, spool_dir=str(tmp_path / "spool")
    )
    # Generated ids repeat while an example shrinks, and the first record of an id is the evidence.
    batch = [dataclasses.replace(record, request_id=new_request_id()) for record in batch]
    for record in batch:
        tracing.emit_record(record)
    assert mvtrace.flush(30)

    host, port = serving.url.removeprefix("http://").split(":")
    client = clickhouse_connect.get_client(host=host, port=int(port), proxy_path="/sql")
    try:
        for record in batch:
            explanation_of(serving.url, record.request_id)
            stored = client.query(
                "SELECT record FROM requests WHERE request_id_text = {id:String}",
                parameters={"id": record.request_id},
            ).result_rows
            assert [row[0].encode() for row in stored] == [record.to_bytes()]
            assert RequestRecord.from_bytes(stored[0][0]) == record
    finally:
        client.close()
        mvtrace.shutdown()
