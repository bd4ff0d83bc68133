"""Evidence that cannot be lost or forged: a real collector, a real application, and a forger."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx2
import pytest
from explained import explained
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from processes import Running, collector

import mvtrace
from mvtrace import semconv
from mvtrace.records import RequestRecord

LONG = "Zeile für Zeile 🙂 {question}\n" * 30_000
FORGER = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector for the tests of this file."""
    with collector(tmp_path_factory.mktemp("collector")) as one:
        yield one


@pytest.fixture(scope="module")
def system() -> mvtrace.CompositeVersion:
    """A system whose prompt is larger than any one event may be."""
    return mvtrace.composite(
        "evidence", mvtrace.prompt("long", LONG), mvtrace.model("m", model_id="m-1")
    )


def stored_record(url: str, request_id: str) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with closing(
        clickhouse_connect.get_client(host=host, port=int(port), proxy_path="/sql")
    ) as client:
        [[record]] = client.query(
            "SELECT record FROM requests WHERE request_id_text = {id:String} "
            "ORDER BY revision DESC LIMIT 1",
            parameters={"id": request_id},
        ).result_rows
    return bytes(record.encode())


def post_event(url: str, name: str, body: str, attributes: dict[str, str]) -> None:
    message = ExportLogsServiceRequest()
    event = message.resource_logs.add().scope_logs.add().log_records.add(event_name=name)
    event.body.string_value = body
    for key, value in attributes.items():
        event.attributes.add(key=key).value.string_value = value
    httpx2.post(
        f"{url}/v1/logs",
        content=message.SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
    ).raise_for_status()


def captured_request(url: str, folder: Path, system: Any, **options: Any) -> str:
    """Return the id of one request, delivered to *url* by a process of its own configuration."""
    mvtrace.configure(service="evidence", url=url, spool_dir=folder, **options)
    try:
        with mvtrace.request(route="job", composite=system) as work, mvtrace.tool("look"):
            pass
        assert mvtrace.flush(30)
    finally:
        mvtrace.shutdown()
    assert work.request_id is not None
    return work.request_id


def contents_of(explanation: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """State and basis of what is declared, by name; the stack, which is not, is observed."""
    return {
        part["name"]: (part["content"], part["basis"])
        for part in explanation["composite"]["components"]
        if part["kind"] != "stack"
    }


def test_without_content_only_digests_leave(
    tmp_path: Path, system: mvtrace.CompositeVersion
) -> None:
    """
    With register_content=False the prompt is on no disk, and the explanation says what is missing.
    """
    with collector(tmp_path) as serving:
        request_id = captured_request(
            serving.url, tmp_path / "spool", system, register_content=False
        )
        explanation = explained(serving.url, request_id)

    assert contents_of(explanation) == {
        "long": ("digest_only", "declared"),
        "m": ("verified", "verified"),
    }
    assert "content_missing" in {finding["code"] for finding in explanation["findings"]}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if "Zeile für".encode() in path.read_bytes()]


def test_prompt_larger_than_an_event(
    serving: Running, tmp_path: Path, system: mvtrace.CompositeVersion
) -> None:
    """
    A prompt of 900 KiB goes in pieces, is stored, and is hashed again when it is explained.
    """
    request_id = captured_request(serving.url, tmp_path, system)

    assert contents_of(explained(serving.url, request_id)) == {
        "long": ("verified", "verified"),
        "m": ("verified", "verified"),
    }


def test_forged_evidence(
    serving: Running, tmp_path: Path, system: mvtrace.CompositeVersion
) -> None:
    """
    A record of another producer, and content under another's digest, are shown as refused; what was
    stored first is unchanged.
    """
    request_id = captured_request(serving.url, tmp_path, system)
    explained(serving.url, request_id)
    evidence = stored_record(serving.url, request_id)
    forged = replace(
        RequestRecord.from_bytes(evidence), producer_id=FORGER, revision=99, outcome="error"
    )
    model = system.component("model", "m")
    assert model is not None

    post_event(
        serving.url,
        semconv.EVENT_REQUEST,
        forged.to_bytes().decode(),
        {semconv.REQUEST_ID: request_id},
    )
    post_event(
        serving.url,
        semconv.EVENT_COMPONENT,
        model.body.decode().replace("m-1", "m-2"),
        {semconv.COMPONENT_DIGEST: model.digest},
    )
    after = captured_request(serving.url, tmp_path, system)

    explained(serving.url, after)  # loaded after what was forged
    explanation = explained(serving.url, request_id)
    codes = {finding["code"] for finding in explanation["findings"]}
    assert {"record_conflict", "registration_refused"} <= codes
    assert stored_record(serving.url, request_id) == evidence
    assert explanation["outcome"] == "ok"
    assert "m-2" not in json.dumps(explanation["composite"])


def test_collector_that_starts_after_the_application_has_ended(
    tmp_path: Path, system: mvtrace.CompositeVersion
) -> None:
    """
    What was captured while no collector ran is delivered by a later process, the registry too.
    """
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    mvtrace.configure(service="evidence", url=url, spool_dir=tmp_path / "spool", exit_grace_s=0)
    with mvtrace.request(route="job", composite=system) as work:
        pass
    mvtrace.shutdown()

    with collector(tmp_path) as late:
        captured_request(late.url, tmp_path / "spool", None)
        explanation = explained(late.url, str(work.request_id))

    assert explanation["composite"]["basis"] == "verified"
    assert contents_of(explanation)["long"] == ("verified", "verified")
