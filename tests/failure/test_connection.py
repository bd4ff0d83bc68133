"""Between application and collector: connections that break, answers of every kind, outages."""

from __future__ import annotations

import email.utils
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from application import Produce
from fault_proxy import Answer, Fault, FaultProxy
from obligations import Judge, Ledger, metrics, wait_for
from sink import partial_success
from supervised import Supervised

import mvtrace
from mvtrace.capture.pipeline import Tracing
from mvtrace.config import TracingConfig

QUICK = {"MVTRACE_RETRY_MAX_S": "0.1"}
PROTOBUF = {"content-type": "application/x-protobuf"}


def ids_by_range(seen: list[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the batch ids in which each first frame of a spool was sent, by signal."""
    found = defaultdict(set)
    for batch_id, _ in seen:
        spool, segment, first, _last, signal = batch_id.rsplit("-", 4)
        found[f"{spool}-{segment}-{first}-{signal}"].add(batch_id)
    return found


def test_connection_breaks_at_every_point(
    collector: Supervised, produce: Produce, tmp_path: Path, times: Callable[[int], int]
) -> None:
    """
    A connection that is cut before or after the body, answers by half, resets, crawls, or closes
    between two requests: the batch comes again under the same id and is stored once.
    """
    faults: list[Fault] = [
        *("cut-before-body", "cut-after-body", "half-response", "reset", "refuse"),
        *("slow-response", "slow-request", "close-when-idle", "close-when-idle"),
    ]
    ledger = tmp_path / "ledger"
    with FaultProxy(collector.url) as proxy:
        proxy.script.extend(fault for fault in faults for _ in range(times(3)))
        one = produce(proxy.url, ledger, "--rest-s", "0.05", "--flush-s", "90", **QUICK)
        one.expect("begun")
        wait_for(lambda: not proxy.script, 60, "not every fault was met")
        one.let_go()
        one.expect("done")
        one.expect("flushed True")
        one.wait()
        seen = list(proxy.seen)
    found = Judge(collector.url).verdict(Ledger.of_files([ledger]))
    done = Counter(fault for _, fault in seen)
    found.show(f"connections broken: {dict(done)}")
    found.hold()
    assert found.acknowledged == found.stored > 0
    assert found.repeats == 0
    assert all(len(ids) == 1 for ids in ids_by_range(seen).values())
    assert collector_duplicates(collector) > 0


def collector_duplicates(collector: Supervised) -> float:
    """Return how many batches the collector recognized."""
    names = ("logs", "traces")
    values = metrics(collector.url)  # a signal without any is not in them
    return sum(
        values.get(f'mvtrace_duplicate_batches_total{{signal="{name}"}}', 0.0) for name in names
    )


def in_ten_seconds() -> str:
    return email.utils.formatdate(time.time() + 10, usegmt=True)


KEPT = {
    "302": Answer(302, {"location": "http://127.0.0.1:9/v1/logs"}),
    "401": Answer(401),
    "403": Answer(403),
    "404": Answer(404),
    "405": Answer(405),
    "408": Answer(408),
    "415": Answer(415),
    "429": Answer(429),
    "429 after 1 s": Answer(429, {"retry-after": "1"}),
    "429 after 10^9 s": Answer(429, {"retry-after": "1000000000"}),
    "500": Answer(500),
    "501": Answer(501),
    "502": Answer(502),
    "503": Answer(503),
    "503 until a date": Answer(503, {"retry-after": in_ten_seconds()}),
    "503 until garbage": Answer(503, {"retry-after": "soon, -1, NaN"}),
    "504": Answer(504),
    "200 with HTML": Answer(200, {"content-type": "text/html"}, b"<html>Sign in</html>"),
}
"""Answers after which a client must still have its data."""


def test_answers_that_keep_the_data(
    collector: Supervised, produce: Produce, tmp_path: Path
) -> None:
    """
    Whatever an intermediary answers, short of a success or of a final judgement on the data, the
    spool keeps it, and once the collector is reached everything is stored, once.
    """
    ledgers = []
    with FaultProxy(collector.url) as proxy:
        for name, answer in KEPT.items():
            ledgers.append(tmp_path / f"ledger-{len(ledgers)}")
            proxy.script.extend([answer] * 3)
            one = produce(proxy.url, ledgers[-1], "--requests", "5", "--flush-s", "90", **QUICK)
            said = one.expect("begun") and one.expect("done") and one.expect("flushed")
            one.wait()
            assert not proxy.script, f"{name}: not tried three times"
            assert said.startswith("flushed True"), f"{name}: {said}"
            assert "'ship_retries': 3" in said, f"{name}: {said}"
    found = Judge(collector.url).verdict(Ledger.of_files(ledgers))
    found.show(f"three times each of {', '.join(KEPT)}")
    found.hold()
    assert found.acknowledged == found.stored == 5 * len(KEPT)
    assert found.repeats == 0


def test_bad_data_is_put_aside_and_the_rest_goes_on(
    collector: Supervised, produce: Produce, tmp_path: Path
) -> None:
    """
    A batch that is judged undecodable (400) lies whole in the quarantine of the spool, is counted,
    and what follows it arrives.
    """
    ledger = tmp_path / "ledger"
    with FaultProxy(collector.url) as proxy:
        proxy.script.extend([Answer(400)])
        options = ("--requests", "40", "--rest-s", "0.02", "--flush-s", "90")
        one = produce(proxy.url, ledger, *options, **QUICK)
        said = one.expect("begun") and one.expect("done") and one.expect("flushed True")
        one.wait()
    assert "'ship_batches_quarantined': 1" in said
    owed = Ledger.of_files([ledger])
    (aside,) = (tmp_path / "spool" / "quarantine").iterdir()
    kept = {key for key in owed.begun if key.encode() in aside.read_bytes()}
    assert 0 < len(kept) < 40
    for request_id in kept:
        del owed.owed[request_id]  # its spans may be stored, its record is in the file
    found = Judge(collector.url).verdict(owed)
    found.show(f"400 for one batch: {len(kept)} records in the quarantine file")
    found.hold()
    assert found.stored == 40 - len(kept)


def test_too_large_is_split(collector: Supervised, produce: Produce, tmp_path: Path) -> None:
    """
    A batch that is called too large (413) is sent in smaller ones until all is taken.
    """
    ledger = tmp_path / "ledger"
    with FaultProxy(collector.url) as proxy:
        collector.kill()
        options = ("--requests", "60", "--group", "10", "--flush-s", "90", "--lingers")
        one = produce(proxy.url, ledger, *options, **QUICK)
        one.expect("begun")
        one.expect("done")
        proxy.max_body = 20_000  # a group is about half of it
        collector.start()
        one.let_go()
        said = one.expect("flushed True")
        one.wait()
    parts = re.search(r"'ship_batches_split': (\d+)", said)
    found = Judge(collector.url).verdict(Ledger.of_files([ledger]))
    found.show(f"413 over 20,000 bytes: {said}")
    found.hold()
    assert parts
    assert int(parts[1]) >= 1
    assert found.acknowledged == found.stored == 60


def test_partial_success_is_counted(
    collector: Supervised, produce: Produce, tmp_path: Path
) -> None:
    """
    What the collector says it did not take of an accepted batch is counted, and not sent again.
    """
    told = Answer(200, PROTOBUF, partial_success("/v1/logs", 3))
    with FaultProxy(collector.url) as proxy:
        proxy.script.extend([told])
        options = ("--requests", "3", "--group", "3", "--flush-s", "90")
        one = produce(proxy.url, tmp_path / "ledger", *options, **QUICK)
        said = one.expect("begun") and one.expect("done") and one.expect("flushed True")
        one.wait()
        logs = [batch for batch, _ in proxy.seen if batch.endswith("logs")]
    print(f"\npartial success: {said}")
    assert "'shipped_rejected_items': 3" in said
    assert len(logs) == len(set(logs))


TRIES_AN_HOUR = 3600 // 30
"""Of a client that waits 30 s between two tries; here it waits 3 ms."""


def test_outage_of_a_day(
    collector: Supervised, produce: Produce, tmp_path: Path, times: Callable[[int], int]
) -> None:
    """
    A collector that is away for a day, in as many tries as a day has, costs nothing: the producers
    live on or are replaced meanwhile, and all they spooled arrives.
    """
    compressed = {"MVTRACE_RETRY_MAX_S": "0.003"}
    hours = times(24)
    ledgers = [tmp_path / f"ledger-{number}" for number in range(3)]
    with FaultProxy(collector.url) as proxy:
        proxy.always = "refuse"
        for ledger in ledgers[1:]:
            gone = produce(proxy.url, ledger, "--requests", "40", "--group", "5", **compressed)
            gone.expect("begun")
            gone.expect("done")
            gone.kill()
        options = ("--requests", "100", "--rest-s", "0.05", "--lingers", "--flush-s", "90")
        one = produce(proxy.url, ledgers[0], *options, **compressed)
        one.expect("begun")
        one.expect("done")
        outage = hours * TRIES_AN_HOUR
        wait_for(lambda: len(proxy.seen) > outage, 300, "the outage does not end")
        tries = len(proxy.seen)
        proxy.always = "forward"
        wait_for(lambda: one_spool_is_left(tmp_path / "spool"), 60, "orphans are not delivered")
        one.let_go()
        one.expect("flushed True")
        one.wait()
    found = Judge(collector.url).verdict(Ledger.of_files(ledgers), counts_gaps=True)
    found.show(f"collector away for {tries} tries ({hours} hours have {outage})")
    found.hold()
    assert found.acknowledged == found.stored == 180


def one_spool_is_left(spool: Path) -> bool:
    """Whether all but the living producer's spool is delivered."""
    return len({path.parent for path in spool.glob("*/*.seg")}) <= 1


def test_no_herd_on_return(tmp_path: Path) -> None:
    """
    Producers that waited for the same collector do not return at one moment, but spread over the
    time between two tries.
    """
    cap_s, producers = 1.0, 40
    made = []
    with FaultProxy("http://127.0.0.1:9") as proxy:
        proxy.always = Answer(503)
        for number in range(producers):
            options = {"url": proxy.url, "spool_dir": tmp_path / str(number), "retry_max_s": cap_s}
            made.append(Tracing(TracingConfig(service="herd", exit_grace_s=0, **options)))  # type: ignore[arg-type]
        for tracing in made:
            tracing.emit_record(_record(tracing))
        time.sleep(4.0)
        returned: dict[str, float] = {}
        before = len(proxy.seen)
        proxy.always = Answer(200, PROTOBUF)
        began = time.monotonic()
        while len(returned) < producers and time.monotonic() < began + 60:
            for batch_id, _ in proxy.seen[before:]:
                returned.setdefault(batch_id, time.monotonic() - began)
            time.sleep(0.002)
        for tracing in made:
            tracing.shutdown()
    tenths = Counter(int(at * 10 / cap_s) for at in returned.values())
    print(
        f"\nfirst deliveries of {producers} producers by tenth of {cap_s} s: {dict(sorted(tenths.items()))}"
    )
    assert len(returned) == producers
    assert max(tenths.values()) < producers / 2
    assert len(tenths) >= 5


def _record(tracing: Tracing) -> mvtrace.records.RequestRecord:
    from wire_producer import WireProducer

    return WireProducer("", Ledger())._record(tracing.next_sequence())
