"""The whole capture side of a process: configuration, threads, forks, ends of every kind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from sink import Scripted, Sink, attributes

import mvtrace
from mvtrace.capture import pipeline, writer
from mvtrace.capture.counts import COUNTERS
from mvtrace.capture.keys import KEY_FILE, load_digest_key
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.spool import SEGMENT_BYTES
from mvtrace.capture.writer import Budget
from mvtrace.config import TracingConfig
from mvtrace.ids import new_request_id
from mvtrace.otlp import FinishedSpan, LogEvent
from mvtrace.records import RequestRecord, UnixNano
from mvtrace.wire import record_of


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def config_for(url: str, root: Path, **options: Any) -> TracingConfig:
    options = {"spool_min_free_bytes": 0, **options}
    return TracingConfig.from_environ({"HOME": str(root)}, url=url, spool_dir=root, **options)


def a_record(tracing: Tracing, **facts: Any) -> RequestRecord:
    return RequestRecord(
        request_id=new_request_id(),
        revision=2,
        state="finished",
        producer_id=tracing.producer_id,
        sequence=tracing.next_sequence(),
        started_at=UnixNano(time.time_ns()),
        **facts,
    )


def a_span(name: str = "span", **facts: Any) -> FinishedSpan:
    return FinishedSpan(b"t" * 16, b"s" * 8, b"", name, 1, 1, 2, {}, **facts)


@dataclass
class Registered:
    """A composite version of two events."""

    version: str = "cd" * 32
    asked: list[bool] = field(default_factory=list)

    def events(self, register_content: bool = True) -> Iterable[LogEvent]:
        self.asked.append(register_content)
        yield LogEvent("mvtrace.component", 1, "{}", {})
        yield LogEvent("mvtrace.composite", 1, "{}", {})


# What arrives


def test_record_arrives_byte_for_byte(sink: Sink, tmp_path: Path) -> None:
    """
    The record in the event is the captured one, whatever was absent, zero or empty in it.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))
    record = a_record(tracing, route="", status_code=0, annotations={"a": 0.0, "b": [2**60, None]})

    tracing.emit_record(record)

    assert tracing.flush(10)
    (log,) = sink.logs
    assert record_of(log.body.string_value) == record
    assert log.body.string_value.encode() == record.to_bytes()
    tracing.shutdown()


def test_registry_comes_before_the_spans_that_name_it(sink: Sink, tmp_path: Path) -> None:
    """
    Of what is delivered together the logs go first, the registry events first among them.
    """
    tracing = Tracing(config_for(sink.url, tmp_path, register_content=False))
    composite = Registered()

    with tracing._writer._drain_lock:
        tracing.emit_request(a_record(tracing), [a_span()])
        tracing.register(composite)
        tracing.register(composite)

    assert tracing.flush(10)
    assert [delivery.path for delivery in sink.deliveries] == ["/v1/logs", "/v1/traces"]
    assert [log.event_name for log in sink.logs] == [
        "mvtrace.component",
        "mvtrace.composite",
        "mvtrace.request",
    ]
    assert composite.asked == [False]
    tracing.shutdown()


def test_registration_that_was_lost_is_repeated(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A composite that did not fit is registered again by the next request.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))
    monkeypatch.setattr(Budget, "divided", lambda _, entries: ([], list(entries)))
    tracing.register(Registered())
    assert tracing.flush(10)
    monkeypatch.undo()

    tracing.register(Registered())

    assert tracing.flush(10)
    assert [log.event_name for log in sink.logs] == ["mvtrace.component", "mvtrace.composite"]
    assert tracing.stats()["events_dropped_spool_full"] == 2
    tracing.shutdown()


def test_values_without_a_canonical_form_do_not_cost_the_record(sink: Sink, tmp_path: Path) -> None:
    """
    A record with values that JSON has not is delivered with these as text.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))
    odd = {"nan": float("nan"), "set": {1}, "text": "a\ud800"}

    tracing.emit_record(a_record(tracing, route="kept", annotations=odd))

    assert tracing.flush(10)
    (log,) = sink.logs
    record = record_of(log.body.string_value)
    assert (record.route, record.annotations) == (
        "kept",
        {"nan": "nan", "set": "{1}", "text": "a?"},
    )
    assert tracing.stats()["records_salvaged"] == 1
    tracing.shutdown()


def test_composite_that_raises_costs_itself_only(sink: Sink, tmp_path: Path) -> None:
    """
    An error in a composite's events is counted, and the records behind it arrive.
    """

    class Broken(Registered):
        def events(self, register_content: bool = True) -> Iterable[LogEvent]:
            raise RuntimeError("no events")

    tracing = Tracing(config_for(sink.url, tmp_path))

    tracing.register(Broken())
    tracing.emit_record(a_record(tracing))

    assert tracing.flush(10)
    assert [log.event_name for log in sink.logs] == ["mvtrace.request"]
    assert tracing.stats()["events_dropped_unencodable"] == 1
    tracing.shutdown()


def test_content_never_reaches_the_disk(sink: Sink, tmp_path: Path) -> None:
    """
    A prompt on somebody's span is in no file and in no delivery.
    """
    sink.script.extend([Scripted(503)] * 50)
    tracing = Tracing(config_for(sink.url, tmp_path))

    with tracing.tracer.start_as_current_span("chat") as span:
        span.set_attribute("gen_ai.input.messages", "a very secret prompt")
        span.add_event("gen_ai.user.message", {"content": "a very secret prompt"})
    tracing._writer.drain(5)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*.seg"))
    sink.script.clear()

    assert tracing.flush(10)
    assert b"chat" in written
    assert b"secret" not in written
    (found,) = sink.spans
    assert attributes(found) == {"mvtrace.content.removed": ["gen_ai.input.messages"]}
    assert tracing.stats()["content_values_removed"] == 2
    tracing.shutdown()


def test_ratio_drops_inner_spans_and_says_so(sink: Sink, tmp_path: Path) -> None:
    """
    At a ratio of 0 the record arrives and the spans that were left out are counted.
    """
    tracing = Tracing(config_for(sink.url, tmp_path, span_ratio=0.0))

    tracing.emit_request(a_record(tracing, outcome="ok"), [a_span(), a_span()])

    assert tracing.flush(10)
    stats = tracing.stats()
    assert (len(sink.logs), len(sink.spans)) == (1, 0)
    assert (stats["captured_spans"], stats["spans_dropped_by_ratio"]) == (2, 2)
    tracing.shutdown()


# Providers


def test_global_provider_is_left_alone(tmp_path: Path) -> None:
    """
    Unasked, the application's choice of a provider is not made for it.
    """
    code = (
        "import mvtrace, sys\n"
        "from opentelemetry import trace\n"
        "before = trace.get_tracer_provider()\n"
        "mvtrace.configure(spool_dir=sys.argv[1], exit_grace_s=0)\n"
        "with mvtrace.request(route='r'): pass\n"
        "print(trace.get_tracer_provider() is before)\n"
        "mvtrace.configure(spool_dir=sys.argv[1], exit_grace_s=0, set_global=True)\n"
        "print(type(trace.get_tracer_provider()).__module__)\n"
    )

    assert run_python(code, tmp_path) == ["True", "opentelemetry.sdk.trace"]


def test_provider_set_later_is_joined(sink: Sink, tmp_path: Path) -> None:
    """
    A provider the application sets after configure() is used from the next request on.
    """
    code = (
        "import mvtrace, sys\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "tracing = mvtrace.configure(spool_dir=sys.argv[1], url=sys.argv[2])\n"
        "with mvtrace.request(route='before'): pass\n"
        "provider = TracerProvider()\n"
        "exporter = InMemorySpanExporter()\n"
        "provider.add_span_processor(SimpleSpanProcessor(exporter))\n"
        "trace.set_tracer_provider(provider)\n"
        "with mvtrace.request(route='after'):\n"
        "    with trace.get_tracer('library').start_as_current_span('inner'): pass\n"
        "print([span.name for span in exporter.get_finished_spans()])\n"
    )

    assert run_python(code, tmp_path, sink.url) == ["['inner', 'after']"]
    assert sorted(span.name for span in sink.spans) == ["after", "before", "inner"]


def test_disabled_tracing_does_nothing(sink: Sink, tmp_path: Path) -> None:
    """
    Switched off, nothing is captured, written or sent, and no thread runs.
    """
    before = set(threading.enumerate())
    tracing = Tracing(config_for(sink.url, tmp_path / "spool", disabled=True))

    with tracing.tracer.start_as_current_span("span"):
        tracing.register(Registered())
        tracing.emit_request(a_record(tracing), [a_span()])

    assert tracing.flush(1)
    tracing.shutdown()
    assert set(threading.enumerate()) <= before
    assert not (tmp_path / "spool").exists()
    of_the_process = {"capture_errors", "breaker_openings", "requests_not_captured"}
    assert {name for name, number in tracing.stats().items() if number} <= of_the_process


def test_configure_replaces_and_flushes(sink: Sink, tmp_path: Path) -> None:
    """
    Configured again, the process has another producer, and the first one's data has arrived.
    """
    first = mvtrace.configure(url=sink.url, spool_dir=tmp_path, service="one", exit_grace_s=5)
    first.emit_spans([a_span("first")])

    second = mvtrace.configure(url=sink.url, spool_dir=tmp_path, service="two", exit_grace_s=5)
    first.emit_spans([a_span("too late")])

    assert pipeline.current_tracing() is second
    assert first.producer_id != second.producer_id
    assert [span.name for span in sink.spans] == ["first"]
    second.shutdown()
    assert spools(tmp_path) == []


def test_private_provider_ignores_the_callers_flag(sink: Sink, tmp_path: Path) -> None:
    """
    A traceparent that says "not sampled" does not erase the spans of this process.
    """
    tracing = mvtrace.configure(url=sink.url, spool_dir=tmp_path, exit_grace_s=5)
    caller = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}

    with mvtrace.request(route="r", headers=caller):
        pass

    assert tracing.flush(10)
    assert [span.trace_id.hex() for span in sink.spans] == ["0af7651916cd43dd8448eb211c80319c"]
    tracing.shutdown()


def test_other_provider_may_end_first(sink: Sink, tmp_path: Path) -> None:
    """
    The end of the application's provider does not end the capture.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))
    provider = TracerProvider(shutdown_on_exit=False)
    pipeline._join(provider, tracing._processor)
    provider.get_tracer("library").start_span("before").end()

    assert provider.force_flush()
    provider.shutdown()
    tracing.emit_spans([a_span("after")])

    assert tracing.flush(10)
    assert [span.name for span in sink.spans] == ["before", "after"]
    tracing.shutdown()


# Bounds


def test_full_queue_drops_and_counts(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What does not fit into the queue is dropped, by kind, and nobody waits.
    """
    monkeypatch.setattr(writer, "MAX_QUEUED", 10)
    tracing = Tracing(config_for(sink.url, tmp_path))
    with tracing._writer._drain_lock:
        for _ in range(10):
            tracing.emit_record(a_record(tracing))
        tracing.emit_request(a_record(tracing), [a_span(), a_span()])
        tracing.register(Registered())

    assert tracing.flush(10)
    stats = tracing.stats()
    assert stats["captured_records"] == 11
    assert stats["records_dropped_queue_full"] == 1
    assert stats["spans_dropped_queue_full"] == 2
    assert stats["events_dropped_queue_full"] == 1
    assert stats["spooled_records"] == len(sink.logs) == 10
    tracing.shutdown()


def test_budget_drops_spans_before_records(tmp_path: Path) -> None:
    """
    When the spool is nearly full spans go first; above the budget everything is counted.
    """
    tracing = Tracing(
        config_for("http://127.0.0.1:9", tmp_path, spool_max_bytes=1 << 20, exit_grace_s=0)
    )
    for _ in range(20):
        tracing.emit_spans([a_span("x" * 60_000)])
        tracing._writer.drain(5)
    spans_spooled = tracing.stats()["spooled_spans"]
    for _ in range(3):
        tracing.emit_record(a_record(tracing, route="y" * 30_000))
    tracing._writer.drain(5)

    stats = tracing.stats()
    assert spans_spooled == 15
    assert stats["spans_dropped_spool_full"] == 5
    assert (stats["spooled_records"], stats["records_dropped_spool_full"]) == (3, 0)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.seg")) <= 1 << 20
    tracing.shutdown()


def test_free_space_is_left_to_others(tmp_path: Path) -> None:
    """
    Below the floor of free space nothing is written, and the loss is counted.
    """
    tracing = Tracing(
        config_for("http://127.0.0.1:9", tmp_path, spool_min_free_bytes=1 << 60, exit_grace_s=0)
    )

    tracing.emit_record(a_record(tracing))
    tracing._writer.drain(5)

    assert tracing.stats()["records_dropped_spool_full"] == 1
    assert list(tmp_path.rglob("*.seg")) == []
    tracing.shutdown()


def test_spool_that_cannot_be_written_recovers(sink: Sink, tmp_path: Path) -> None:
    """
    While the spool's place is taken by something else records wait; then they arrive.
    """
    root = tmp_path / "spool"
    root.write_text("a file where the directory should be")
    tracing = Tracing(config_for(sink.url, root))
    tracing.emit_record(a_record(tracing))
    assert not tracing.flush(0.1)

    root.unlink()

    assert tracing.flush(10)
    assert len(sink.logs) == 1
    assert tracing.stats()["spool_write_errors"] >= 1
    assert tracing.stats()["records_dropped_spool_full"] == 0
    tracing.shutdown()


def test_segments_stay_small_under_load(tmp_path: Path) -> None:
    """
    However much is queued at once, a segment holds 8 MiB at most.
    """
    tracing = Tracing(config_for("http://127.0.0.1:9", tmp_path, exit_grace_s=0))
    with tracing._writer._drain_lock:
        tracing.emit_spans([a_span("x" * 60_000) for _ in range(400)])

    assert tracing._writer.drain(20)

    sizes = [path.stat().st_size for path in tmp_path.rglob("*.seg")]
    assert len(sizes) >= 3
    assert max(sizes) <= SEGMENT_BYTES
    tracing.shutdown()


def test_deleted_spool_is_counted(sink: Sink, tmp_path: Path) -> None:
    """
    What somebody deletes before it is delivered is counted, and the next record arrives.
    """
    sink.script.append(Scripted(503, {"retry-after": "60"}))
    tracing = Tracing(config_for(sink.url, tmp_path))
    tracing.emit_record(a_record(tracing))
    sink.wait_for(lambda s: s.deliveries)
    shutil.rmtree(tmp_path / tracing.producer_id)
    assert tracing.flush(10)

    tracing.emit_record(a_record(tracing))

    assert tracing.flush(10)
    assert len(sink.logs) == 1
    assert tracing.stats()["spool_segments_missing"] == 1
    tracing.shutdown()


def test_stats_name_every_stop(sink: Sink, tmp_path: Path) -> None:
    """
    All counters are there from the start, as zeros.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))

    assert set(tracing.stats()) == {
        *COUNTERS,
        "breaker_is_open",
        "breaker_openings",
        "capture_errors",
        "requests_not_captured",
        "queue_length",
        "shipping_lag_ms",
        "spool_undelivered_bytes",
    }
    tracing.shutdown()


def test_many_threads_lose_nothing(sink: Sink, tmp_path: Path) -> None:
    """
    Records of many threads arrive once each, their numbers without a hole.
    """
    tracing = Tracing(config_for(sink.url, tmp_path))

    def work() -> None:
        for _ in range(200):
            tracing.emit_record(a_record(tracing))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert tracing.flush(20)
    found = sorted(record_of(log.body.string_value).sequence for log in sink.logs)
    assert found == list(range(1, 1601))
    tracing.shutdown()


# Keys


def test_digest_key_is_kept_beside_the_spool(tmp_path: Path) -> None:
    """
    Processes of one spool directory share a key that only their user can read.
    """
    config = config_for("http://127.0.0.1:9", tmp_path / "a")
    other = config_for("http://127.0.0.1:9", tmp_path / "b")

    first, second = load_digest_key(config), load_digest_key(config)

    path = tmp_path / "a" / KEY_FILE
    assert first == second
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == first.key
    assert load_digest_key(other).key_id != first.key_id
    assert first.key.hex() not in repr(first)
    assert sorted(entry.name for entry in (tmp_path / "a").iterdir()) == [KEY_FILE]


def test_configured_digest_key(tmp_path: Path) -> None:
    """
    With a configured key digests are equal everywhere, name their key and show no text.
    """
    configs = [
        config_for("http://127.0.0.1:9", tmp_path / name, digest_key="0123456789abcdef")
        for name in ("a", "b")
    ]

    one, two = (Tracing(config).keyed_digest("a prompt") for config in configs)

    assert one == two
    assert one == (
        "hmac-sha256:9f9f5111:773532859fccf1612ca0c9b694c8add9492ab21a3a459ee7bf5daf92420ae97d"
    )
    assert not (tmp_path / "a").exists()


def test_unusable_key_file(tmp_path: Path) -> None:
    """
    A key that is damaged or cannot be stored is replaced in memory only.
    """
    (tmp_path / KEY_FILE).write_bytes(b"short")
    config = config_for("http://127.0.0.1:9", tmp_path)

    assert len(load_digest_key(config).key) == 32
    assert (tmp_path / KEY_FILE).read_bytes() == b"short"


# Ends

SENDING = """
import sys, time, mvtrace
tracing = mvtrace.configure(spool_dir=sys.argv[1], url=sys.argv[2], service="child")
for number in range(50):
    with mvtrace.request(route=f"job {number}"):
        pass
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def run_python(code: str, *arguments: object, check: bool = True) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=60,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def spools(root: Path) -> list[Path]:
    """Return what is left below *root* beside the digest key."""
    return [path for path in root.iterdir() if path.name != KEY_FILE]


def routes(sink: Sink) -> list[str]:
    return sorted(str(record_of(log.body.string_value).route) for log in sink.logs)


JOBS = sorted(f"job {number}" for number in range(50))


def test_exit_delivers_within_the_grace(sink: Sink, tmp_path: Path) -> None:
    """
    A program that just ends has delivered everything, and leaves an empty spool.
    """
    run_python(SENDING, tmp_path, sink.url)

    assert routes(sink) == JOBS
    assert len(sink.spans) == 50
    assert spools(tmp_path) == []


def test_unhandled_exception_delivers_too(sink: Sink, tmp_path: Path) -> None:
    """
    A program that dies of an exception has delivered everything.
    """
    run_python(SENDING + "raise SystemError('boom')", tmp_path, sink.url, check=False)

    assert routes(sink) == JOBS


def test_exit_without_a_collector_is_not_held_up(tmp_path: Path) -> None:
    """
    Where nobody listens the program ends at once, and the next one delivers.
    """
    started = time.monotonic()
    run_python(SENDING, tmp_path, "http://127.0.0.1:9")
    took_s = time.monotonic() - started

    with Sink() as sink:
        run_python(SENDING.replace("job", "next"), tmp_path, sink.url)
        sink.wait_for(lambda s: len(s.logs) == 100)

    assert took_s < 10
    assert routes(sink)[:50] == JOBS


def test_exit_without_grace_still_spools(tmp_path: Path) -> None:
    """
    No time for delivery does not mean no time for the disk: what was captured is delivered later.
    """
    url = "http://127.0.0.1:9"
    tracing = mvtrace.configure(url=url, spool_dir=tmp_path, exit_grace_s=0)
    shop = mvtrace.composite("shop", mvtrace.prompt("long", "0123456789" * 500_000))
    with mvtrace.request(route="job", composite=shop):
        pass

    tracing.shutdown()

    stats = tracing.stats()
    assert (stats["spooled_records"], stats["queue_length"]) == (1, 0)
    events = len(list(shop.events()))
    assert (stats["captured_events"], stats["spooled_events"]) == (events, events)


@pytest.mark.parametrize(
    "end",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os; os._exit(3)",
    ],
)
def test_killed_process_loses_nothing_spooled(tmp_path: Path, end: str) -> None:
    """
    After SIGKILL, SIGTERM or os._exit the next process adopts the spool and delivers it.
    """
    code = SENDING + "assert tracing._writer.drain(5); " + end
    run_python(code, tmp_path, "http://127.0.0.1:9", check=False)
    (orphan,) = spools(tmp_path)

    with Sink() as sink:
        following = Tracing(config_for(sink.url, tmp_path))
        following.emit_spans([a_span("new")])
        sink.wait_for(lambda s: len(s.spans) == 51 and len(spools(tmp_path)) == 1)
        following.shutdown()

    assert routes(sink) == JOBS
    assert orphan.name in sink.accepted[1].batch_id
    assert following.stats()["spools_adopted"] == 1
    assert spools(tmp_path) == []


OBLIGED = """
import sys, mvtrace
tracing = mvtrace.configure(spool_dir=sys.argv[1], url="http://127.0.0.1:9", service="child")
while True:
    with mvtrace.request(route="job"):
        pass
    if tracing._writer.drain(5):
        print(tracing.stats()["spooled_records"], flush=True)
"""


@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.3])
def test_kill_at_any_moment(tmp_path: Path, after_s: float) -> None:
    """
    Every record that was spooled when the kill came arrives whole, in an unbroken row of numbers.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", OBLIGED, str(tmp_path)], env=environment(), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(after_s)
    child.kill()
    said = [first, *child.stdout.read().splitlines(keepends=True)]
    child.wait()
    child.stdout.close()
    obliged = max(int(line) for line in said if line.endswith(b"\n"))

    with Sink() as sink:
        following = Tracing(config_for(sink.url, tmp_path))
        following.emit_spans([a_span("new")])
        sink.wait_for(lambda s: len(s.logs) >= obliged and len(spools(tmp_path)) == 1)
        following.shutdown()

    found = sorted(record_of(log.body.string_value).sequence for log in sink.logs)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= obliged
    assert spools(tmp_path) == []


def test_kill_during_delivery_repeats_the_same_batch(tmp_path: Path) -> None:
    """
    A process killed between the collector's receipt and its own note repeats at most one batch,
    byte for byte under the same id.
    """
    with Sink() as sink:
        sink.script.append(Scripted(503, {"retry-after": "60"}))
        code = SENDING + "time.sleep(60)"
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), sink.url], env=environment()
        )
        sink.wait_for(lambda s: s.deliveries)
        child.send_signal(signal.SIGKILL)
        child.wait()
        (first,) = sink.deliveries

        following = Tracing(config_for(sink.url, tmp_path))
        following.emit_spans([a_span("new")])
        sink.wait_for(lambda s: len(s.spans) == 51 and len(spools(tmp_path)) == 1)
        following.shutdown()

    repeated = [delivery for delivery in sink.accepted if delivery.batch_id == first.batch_id]
    assert [delivery.raw for delivery in repeated] == [first.raw]


FORKING = """
import os, sys, warnings, mvtrace
warnings.simplefilter("ignore", DeprecationWarning)
tracing = mvtrace.configure(spool_dir=sys.argv[1], url=sys.argv[2], service="parent")
parent = tracing.producer_id
with mvtrace.request(route="parent before"): pass
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        assert tracing.producer_id != parent
        with mvtrace.request(route=f"child {number}"): pass
        sys.exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
with mvtrace.request(route="parent after"): pass
print(codes, tracing.producer_id == parent)
"""


def test_fork_gives_a_producer_of_its_own(sink: Sink, tmp_path: Path) -> None:
    """
    Parent and children deliver what is theirs, once, as producers with numbers of their own.
    """
    assert run_python(FORKING, tmp_path, sink.url) == ["[0, 0, 0] True"]

    records = [record_of(log.body.string_value) for log in sink.logs]
    assert sorted(str(record.route) for record in records) == [
        "child 0",
        "child 1",
        "child 2",
        "parent after",
        "parent before",
    ]
    assert len({(record.producer_id, record.sequence) for record in records}) == 5
    assert len({record.producer_id for record in records}) == 4
    assert {
        d.message.resource_logs[0].resource.attributes[1].value.string_value
        for d in sink.accepted
        if d.path == "/v1/logs"
    } == {record.producer_id for record in records}
    assert spools(tmp_path) == []


def test_parent_adopts_what_a_killed_child_left(tmp_path: Path) -> None:
    """
    A child of a fork holds no lock of its parent's, nor the parent one of the child's.
    """
    code = FORKING.replace("sys.exit(0)", "tracing._writer.drain(30); os._exit(0)")
    run_python(code, tmp_path, "http://127.0.0.1:9")

    with Sink() as sink:
        following = Tracing(config_for(sink.url, tmp_path))
        following.emit_spans([a_span("new")])
        sink.wait_for(lambda s: len(s.logs) == 5 and len(spools(tmp_path)) == 1)
        following.shutdown()

    assert following.stats()["spools_adopted"] == 4
    assert spools(tmp_path) == []


def test_emitting_at_exit(sink: Sink, tmp_path: Path) -> None:
    """
    What an exit handler of the application emits is delivered, though no thread can start any more.
    """
    code = (
        "import atexit, sys, mvtrace\n"
        "mvtrace.configure(spool_dir=sys.argv[1], url=sys.argv[2])\n"
        "def last():\n"
        "    with mvtrace.request(route='last'): pass\n"
        "atexit.register(last)\n"
    )

    run_python(code, tmp_path, sink.url)

    assert routes(sink) == ["last"]


def test_import_stays_light() -> None:
    """
    The capture side loads nothing of the collector's, the store's or the command line's.
    """
    code = (
        "import sys, mvtrace\n"
        "heavy = ['clickhouse_connect', 'chdb', 'starlette', 'pandas', 'numpy', 'click', 'rich',\n"
        "    'google.protobuf', 'multiprocessing', 'asyncio.events']\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )

    assert run_python(code) == ["[]"]
