"""What the collector logs: one line of JSON a trouble, without a word of what was sent."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from self_observed import (
    PROTOBUF,
    SECRET,
    a_record,
    a_trace,
    application,
    log_body,
    metrics_in,
    state_of,
    wait_until,
)

from mvtrace.errors import StatementFailedError
from mvtrace.ids import new_request_id
from mvtrace.wire import event_of
from mvtrace_collector import logs


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the collector's loggers write, as JSON lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    logger = logging.getLogger("mvtrace_collector")
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_each_trouble_is_told_once(
    tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """
    A conflict, a detached part and a failing check are alarms when they begin, not at every look,
    and a check that holds again is told too.
    """
    with application(tmp_path) as client:
        state = state_of(client)
        request_id = new_request_id()
        state.observer.round()
        for producer in "ab":
            body = log_body(event_of(a_record(request_id, producer)))
            client.post("/v1/logs", content=body, headers=PROTOBUF)
        client.post("/v1/traces", content=a_trace(SECRET), headers=PROTOBUF)
        wait_until(lambda: state.inbox.lag().segments == 0)
        [(part,)] = state.store.query(
            "SELECT name FROM system.parts WHERE database = 'mvtrace' AND table = 'spans' "
            "AND active"
        ).rows
        state.store.command(f"ALTER TABLE spans DETACH PART '{part}'")
        state.store.command("RENAME TABLE schema_migrations TO moved")
        for _ in range(3):
            state.observer.round()
        state.store.command("RENAME TABLE moved TO schema_migrations")
        state.observer.round()
        status = client.get("/api/v1/status").json()
        counted = metrics_in(client.get("/metrics").text)

    told = [line for line in lines() if line["event"] in {*logs.ALARMS, "over"}]
    assert sorted(line["event"] for line in told) == ["conflict", "detached-part", "over", "schema"]
    by_event = {line["event"]: line for line in told}
    assert by_event["conflict"]["reasons"] == {"conflicting-record": 1}
    assert by_event["detached-part"]["table"] == "spans"
    assert all(line["level"] == "warning" for line in told)
    assert SECRET not in json.dumps(lines())
    assert not status["healthy"]
    assert status["quarantine"] == {"conflicting-record": {"rows": 1, "last_hour": 1}}
    assert status["detached_parts"] == [{"table": "spans", "reason": "detached", "parts": 1}]
    assert counted['mvtrace_detached_parts{reason="detached",table="spans"}'] == 1


def formatted(formatter: logging.Formatter, message: str, *arguments: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger(f"mvtrace_collector.{time.time_ns()}")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        raise StatementFailedError(f"Cannot parse input: {SECRET}", store_code=27)
    except StatementFailedError as error:
        logger.warning(message, *(arguments or (error,)), exc_info=True)
    return stream.getvalue()


@pytest.mark.parametrize("formatter", [logs.JsonLines(), logs.TextLines()])
def test_an_error_shows_its_kind_and_never_its_words(formatter: logging.Formatter) -> None:
    """
    The engine quotes the data it stumbled over; the log has the error's code and place only.
    """
    text = formatted(formatter, "Loading failed: %s")

    assert text.count("\n") == 1
    assert SECRET not in text
    assert "load-failed" in text
    assert "StatementFailedError: the store's error 27" in text
    assert "test_log_lines.py" in text


def test_a_message_without_a_name_is_named_by_its_words() -> None:
    """
    Also what nobody gave a name has an event to search for.
    """
    line = json.loads(formatted(logs.JsonLines(), "Segment %s is odd: %s", 7, OSError(5, "EIO")))

    assert line["event"] == "segment-s-is-odd-s"
    assert line["message"] == "Segment 7 is odd: OSError: EIO"


def test_an_alarm_has_to_be_a_known_one() -> None:
    """
    An alarm that the tables do not tell cannot be written.
    """
    with pytest.raises(KeyError):
        logs.alarm(logging.getLogger("x"), "unheard-of", "text")
