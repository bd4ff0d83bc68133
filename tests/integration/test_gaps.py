"""What is lost is reported: real processes killed, budgets spent, late deliveries, with counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processes import Running, collector, start

from mvtrace.capture.numbers import Facts, Numbers
from mvtrace.ids import new_request_id
from mvtrace.otlp import Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.wire import event_of

APP = Path(__file__).parent / "gaps_app.py"
PROTOBUF = {"content-type": "application/x-protobuf"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with collector(tmp_path_factory.mktemp("gaps")) as one:
        yield one


def environ(url: str, spool: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MVTRACE_")}
    return kept | {
        "MVTRACE_URL": url,
        "MVTRACE_SPOOL_DIR": str(spool),
        "MVTRACE_SPOOL_MIN_FREE_BYTES": "0",
        "MVTRACE_SERVICE": spool.name,
        **more,
    }


def app(mode: str, number: int, given: dict[str, str]) -> dict[str, Any]:
    """Run the application to its end and return what it told."""
    done = subprocess.run(
        [sys.executable, str(APP), mode, str(number)],
        env=given,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return dict(json.loads(done.stdout))


def killed_app(number: int, given: dict[str, str]) -> dict[str, Any]:
    """Run the application until its requests are in flight, then kill it."""
    command = [sys.executable, str(APP), "in_flight", str(number)]
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    return dict(told)


def listed(url: str, service: str, **query: str) -> list[dict[str, Any]]:
    answer = httpx2.get(f"{url}/api/v1/gaps", params={"service": service, **query}, timeout=30)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["gaps"])


def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)
    return found


def sql(url: str, query: str) -> list[list[str]]:
    answer = httpx2.get(f"{url}/sql", params={"query": f"{query} FORMAT TSV"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return [line.split("\t") for line in answer.text.splitlines()]


def settled(url: str, producer: str) -> bool:
    query = f"SELECT max(is_settled) FROM producer_checks WHERE producer_id_text = '{producer}'"
    return sql(url, query) == [["true"]]


def explained(url: str, text: str) -> tuple[int, dict[str, Any]]:
    answer = httpx2.get(f"{url}/api/v1/explanation", params={"id": text, "wait": 0}, timeout=30)
    return answer.status_code, answer.json()


def findings(url: str, text: str) -> dict[str, dict[str, Any]]:
    status, body = explained(url, text)
    assert status == 200, body
    return {one["code"]: one for one in body["findings"]}


def test_killed_with_requests_in_flight(running: Running, tmp_path: Path) -> None:
    """
    Of a killed process exactly the requests in flight are missing, a slow one is known by its
    start, and everybody who asks near them is told.
    """
    spool = tmp_path / "killed"
    told = killed_app(4, environ(running.url, spool))
    app("finish", 1, environ(running.url, spool, MVTRACE_SERVICE="heir"))

    (gap,) = wait_for(lambda: listed(running.url, "killed"))

    assert gap["producer_id"] == told["producer"]
    assert (gap["first"], gap["last"], gap["missing"]) == (6, 8, 3)
    assert (gap["reason"], gap["state"]) == ("in_flight_at_kill", "open")
    for lost in told["lost"]:
        status, body = explained(running.url, lost)
        assert status == 404
        assert "3 records of service killed were lost between" in body["error"]["message"]
    near = findings(running.url, told["finished"][-1])["records_lost"]
    assert (near["basis"], near["evidence"]["missing"]) == ("missing", 3)
    slow = findings(running.url, told["slow"])
    assert "was killed or crashed at about" in slow["request_cut_off"]["text"]
    assert "request_unfinished" not in slow
    metrics = httpx2.get(f"{running.url}/metrics").text
    assert 'mvtrace_missing_records{reason="in_flight_at_kill"} 3.0' in metrics
    assert 'mvtrace_open_gaps{reason="in_flight_at_kill"} 1.0' in metrics


def test_nothing_lost_is_no_gap(running: Running, tmp_path: Path) -> None:
    """
    A process that ends in good order has no gap, and its requests' explanations tell of none.
    """
    told = app("finish", 30, environ(running.url, tmp_path / "clean"))

    wait_for(lambda: settled(running.url, told["producer"]))

    assert listed(running.url, "clean", all="1") == []
    assert "records_lost" not in findings(running.url, told["finished"][0])


def test_spent_budget_is_the_reason(running: Running, tmp_path: Path) -> None:
    """
    Records for which the spool had no room are a gap of that reason, with the exact count.
    """
    spool = tmp_path / "spilled"
    small = {"MVTRACE_SPOOL_MAX_BYTES": str(1 << 20), "MVTRACE_EXIT_GRACE_S": "0.2"}
    told = app("spill", 600, environ(NOWHERE, spool, **small))
    app("finish", 1, environ(running.url, spool, MVTRACE_SERVICE="heir"))

    wait_for(lambda: settled(running.url, told["producer"]))

    stored = sql(running.url, "SELECT uniqExact(sequence) FROM requests WHERE service = 'spilled'")
    gaps = listed(running.url, "spilled")
    assert {gap["reason"] for gap in gaps} == {"spool_full"}
    assert sum(gap["missing"] for gap in gaps) == 600 - int(stored[0][0])
    assert 0 < int(stored[0][0]) < 600


def export(records: list[RequestRecord]) -> bytes:
    resource = encode_resource({"service.name": "shop"})
    return encode_request(resource, [encode_scope_logs(Scope("mvtrace"), map(event_of, records))])


def post(url: str, body: bytes) -> None:
    answer = httpx2.post(f"{url}/v1/logs", content=body, headers=PROTOBUF, timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")


def test_late_delivery_closes_through_kills_and_replays(tmp_path: Path) -> None:
    """
    A gap is found once, shrinks as records come late, and stays what it is when everything is sent
    again or the collector is killed in between; its rows tell who may write SQL.
    """
    numbers = Numbers(Facts(new_request_id(), "shop", "test"), lambda: encode_resource({}))
    records = []
    for _ in range(6):
        now = UnixNano(time.time_ns())
        records.append(
            RequestRecord(
                request_id=new_request_id(),
                revision=2,
                state="finished",
                producer_id=numbers.producer_id,
                sequence=numbers.take(),
                started_at=now,
                ended_at=now,
                service="shop",
            )
        )
        time.sleep(0.002)
    numbers.close()
    word = numbers.request(numbers.end, now_ns=0)
    command = [sys.executable, "-m", "mvtrace", "collector", "--listen", "127.0.0.1:0"]
    command += ["--store", f"chdb://{tmp_path / 'store'}"]
    one = start(command, tmp_path / "log")
    try:
        post(one.url, export([records[0], records[4]]))
        post(one.url, word)
        (gap,) = wait_for(lambda: [gap for gap in listed(one.url, "shop") if gap["first"] == 2])
        assert gap["missing_ranges"] == [[2, 4]]
        assert sum(gap["missing"] for gap in listed(one.url, "shop")) == 4

        one.process.send_signal(signal.SIGKILL)
        one.process.wait(10)
        one = start(command, tmp_path / "log")
        post(one.url, export([records[2], records[4]]))
        post(one.url, word)
        wait_for(lambda: listed(one.url, "shop", all="1")[-1]["missing"] == 2)

        post(one.url, export([records[1], records[3]]))
        post(one.url, export([records[5], records[0]]))
        wait_for(lambda: listed(one.url, "shop") == [])
        filled = listed(one.url, "shop", all="1")
        assert {(gap["first"], gap["last"], gap["state"]) for gap in filled} == {
            (2, 4, "filled"),
            (6, 6, "filled"),
        }
        assert sql(one.url, "SELECT sum(missing), count() FROM ingest_gaps FINAL") == [["0", "2"]]
        assert sql(one.url, "SELECT last, state FROM producers FINAL") == [["6", "closed"]]
    finally:
        one.process.kill()
        one.process.wait()


def test_command(running: Running, tmp_path: Path) -> None:
    """
    ``mvtrace gaps`` lists what is missing, for people and programs, and takes the usual filters.
    """
    spool = tmp_path / "listed"
    told = killed_app(1, environ(running.url, spool))
    app("finish", 1, environ(running.url, spool, MVTRACE_SERVICE="heir"))
    wait_for(lambda: listed(running.url, "listed"))

    def output(*more: str) -> str:
        command = [sys.executable, "-m", "mvtrace", "gaps", "--url", running.url, *more]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    text = output("--service", "listed", "--since", "1h")
    assert text.splitlines()[0].split()[:2] == ["missing", "service"]
    assert all(word in text for word in ("in_flight_at_kill", told["producer"], "3-5"))
    assert json.loads(output("--service", "listed", "--json"))["gaps"][0]["missing"] == 3
    assert output("--service", "nobody") == "No record is known to be missing.\n"
