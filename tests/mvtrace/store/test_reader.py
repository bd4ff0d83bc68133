"""The reader: each way to name a request, the evidence it gathers, and lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from stored import Filler, new_store
from story import (
    REINDEXED,
    SECOND,
    START_MS,
    SYSTEM,
    TRACE,
    calls,
    record,
    reference,
    request_id,
    spans_of,
)

from mvtrace.errors import (
    AmbiguousIdError,
    AmbiguousVersionError,
    MalformedIdError,
    RequestNotFoundError,
    VersionNotFoundError,
)
from mvtrace.explain.explainer import explain
from mvtrace.store import Store
from mvtrace.store.filters import RequestFilter
from mvtrace.store.gathering import MAX_SPANS
from mvtrace.store.reader import Reader
from mvtrace.store.request_ids import hexadecimal
from mvtrace.store.siphash import siphash64
from mvtrace.store.statements import FOLDER, statement

FIRST = request_id(0)
OTHER = request_id(7)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests; each has a project of its own."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('reader') / 'store'}") as made:
        yield made


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def fill(store: Store, project: str) -> Filler:
    """A project with one system and one whole request."""
    filler = Filler(store, project)
    filler.system()
    filler.request(record())
    return filler


@pytest.fixture
def reader(store: Store, project: str, fill: Filler) -> Reader:
    return Reader(store, project)


def codes(reader: Reader, text: str = FIRST) -> list[str]:
    return [finding.code for finding in explain(reader.read(text)).findings]


@pytest.mark.parametrize(
    "text",
    [
        FIRST,
        FIRST.upper(),
        FIRST.replace("-", ""),
        f"request:{FIRST}",
        TRACE,
        f"trace:{TRACE.upper()}",
        "client-0",
        "x-request-id:client-0",
        "resp-0",
        "response:resp-0",
        " client-0 ",
    ],
)
def test_found_by_each_of_its_ids(reader: Reader, text: str) -> None:
    """
    Request id, trace id, x-request-id and response id lead to the request, with or without kind.
    """
    assert reader.read(text).request_id == FIRST
    assert reader.resolve(text) == (FIRST,)


def test_whole_evidence(reader: Reader) -> None:
    """
    What is gathered is what was stored: bytes, spans with typed attributes, registry, content.
    """
    found = reader.read(FIRST)

    assert found.record is not None
    assert found.record.body == record().to_bytes()
    assert found.own == record()
    assert [span.span_id for span in found.spans] == [span.span_id for span in spans_of(record())]
    assert found.spans[0].started_at == START_MS * 1_000_000
    assert found.spans[0].attributes == {
        "http.response.status_code": 200,
        "list": [1, 2.5],
        "nan": {"$double": "NaN"},
        "no": False,
        "zero": 0.0,
    }
    assert found.spans[0].events == (
        {"time": "2026-08-22T11:02:07.123000Z", "name": "first token", "attributes": {"n": 1}},
    )
    assert found.composite is not None
    assert found.composite.labels == SYSTEM.labels
    assert set(found.components) == {one.digest for one in SYSTEM.parts}
    assert codes(reader) == ["content_verified"]


def test_started_record_is_replaced_by_the_finished(fill: Filler, reader: Reader) -> None:
    """
    Of two revisions that are not merged yet, the later one is the record.
    """
    fill.record(record(revision=1, state="started", ended_at=None, outcome=None))

    found = reader.read(FIRST)

    assert found.record is not None
    assert found.record.revision == 2
    [listed] = reader.find(RequestFilter())
    assert listed["state"] == "finished"


def test_spans_sent_twice_are_one(fill: Filler, reader: Reader) -> None:
    """
    A span that was stored twice is shown once.
    """
    fill.spans(spans_of(record()))

    assert len(reader.read(FIRST).spans) == 4


def test_more_spans_than_are_shown(reader: Reader, store: Store, project: str) -> None:
    """
    Of very many spans the first are fetched, and that there are more is told.
    """
    store.command(
        "INSERT INTO spans (project, request_id, span_id, trace_id, name, start_time) "
        "SELECT {project:String}, unhex({id:String}), unhex(leftPad(hex(number), 16, '0')), "
        "unhex(repeat('ab', 16)), 'x', now64(9) FROM numbers(1, 2500)",
        {"id": hexadecimal(FIRST), "project": project},
    )

    found = reader.read(FIRST)

    assert found.spans_cut
    assert len(found.spans) == MAX_SPANS


def test_unknown_ids(reader: Reader) -> None:
    """
    An id that nothing carries is answered with what the store does hold.
    """
    for text in (OTHER, "trace:" + "1" * 32, "nobody", "response:resp-9"):
        with pytest.raises(RequestNotFoundError, match="newest is from 2026-08-22 11:02:07 UTC"):
            reader.read(text)


def test_empty_store(store: Store, project: str) -> None:
    """
    An empty store says that it is empty.
    """
    with pytest.raises(RequestNotFoundError, match="the store is empty"):
        Reader(store, project).read(FIRST)


@pytest.mark.parametrize(
    "text", ["", "  ", "trace:zz", "request:x", "response:", "a\nb", "x" * 600]
)
def test_malformed_ids(reader: Reader, text: str) -> None:
    """
    What cannot be an id is refused before anything is looked up.
    """
    with pytest.raises(MalformedIdError):
        reader.read(text)


def test_shared_client_id_is_ambiguous(fill: Filler, reader: Reader) -> None:
    """
    An x-request-id that several requests carry lists them, newest first, and chooses none.
    """
    for number in range(1, 30):
        fill.request(record(number, aliases=record().aliases), with_spans=False)

    with pytest.raises(AmbiguousIdError) as raised:
        reader.read("client-0")

    assert raised.value.total == 30
    assert len(raised.value.hits) == 20
    assert raised.value.hits[0] == (
        f"{request_id(29)}  2026-08-22 11:02:36 UTC  support  POST  /ask  200"
    )
    assert "id_shared" in codes(reader)


def test_one_value_of_two_kinds(fill: Filler, reader: Reader) -> None:
    """
    A value that is one request's x-request-id and another's response id is told apart by kind.
    """
    fill.request(record(1, calls=calls(1, response_id="client-0")))

    assert reader.read("x-request-id:client-0").request_id == FIRST
    assert reader.read("response:client-0").request_id == request_id(1)
    with pytest.raises(AmbiguousIdError):
        reader.read("client-0")


def test_a_kind_of_the_callers_own(fill: Filler, reader: Reader) -> None:
    """
    An alias of the application's own kind is found by value and by kind:value; a value may hold
    a colon itself.
    """
    fill.alias("job", "42", FIRST)
    fill.alias("ticket", "a:b", FIRST)

    assert reader.read("job:42").request_id == FIRST
    assert reader.read("42").request_id == FIRST
    assert reader.read("a:b").request_id == FIRST


def test_uuid_of_a_client_is_an_alias(fill: Filler, reader: Reader) -> None:
    """
    A client may send a UUID of version 7 as x-request-id: it is found although no request has it
    as its own id.
    """
    fill.alias("x-request-id", OTHER, FIRST)

    assert reader.read(OTHER).request_id == FIRST


def test_trace_of_several_services_is_its_root(fill: Filler, reader: Reader) -> None:
    """
    A trace id that a request and those it called share means the calling one, which lists them.
    """
    fill.request(record(1, trace_id=TRACE, parent_request_id=FIRST))

    found = reader.read(TRACE)

    assert found.request_id == FIRST
    assert [child.request_id for child in found.children] == [request_id(1)]
    assert found.shared_ids == ()
    called = reader.read(request_id(1))
    assert called.parent is not None
    assert called.parent.request_id == FIRST


def test_trace_of_unrelated_requests_is_ambiguous(fill: Filler, reader: Reader) -> None:
    """
    A trace id that a client sent twice names two requests.
    """
    fill.request(record(1, trace_id=TRACE))

    with pytest.raises(AmbiguousIdError):
        reader.read(TRACE)


def test_foreign_spans_of_a_trace_are_united(fill: Filler, reader: Reader) -> None:
    """
    Spans stored under ids that were minted for parts of the trace are shown with the request.
    """
    foreign = replace(spans_of(record())[0], request_id=OTHER, span_id="c" * 16)
    fill.spans([foreign])
    fill.alias("trace_id", TRACE, OTHER)

    for text in (FIRST, TRACE):
        found = reader.read(text)
        assert found.request_id == FIRST
        assert found.united_ids == (OTHER,)
        assert "c" * 16 in {span.span_id for span in found.spans}


def test_foreign_trace_under_several_ids(fill: Filler, reader: Reader) -> None:
    """
    A trace of a sender that knows nothing of mvtrace is explained by its id, from all its parts.
    """
    trace = "d" * 32
    for number, span_id in ((3, "1" * 16), (4, "2" * 16)):
        span = replace(
            spans_of(record())[0],
            request_id=request_id(number),
            span_id=span_id,
            trace_id=trace,
            composite_version=None,
        )
        fill.spans([span])
        fill.alias("trace_id", trace, request_id(number))

    explanation = explain(reader.read(trace))

    assert explanation.request_id == request_id(3)
    assert len(explanation.spans) == 2
    assert "foreign_trace" in [finding.code for finding in explanation.findings]


def test_reindex_since_is_a_change_with_its_time(fill: Filler, reader: Reader) -> None:
    """
    A reindex that happened after the request is a change, first seen with the first request that
    asked the new index.
    """
    for number in (1, 2):
        fill.request(record(number))
    for number in (3, 4):
        fill.request(record(number, index=REINDEXED.digest))

    [change] = explain(reader.read(FIRST)).changes_since

    assert (change.kind, change.name, change.now) == ("index", "faq", REINDEXED.digest)
    assert change.first_seen == "2026-08-22T11:02:10.123000Z"


def test_new_version_since_is_a_change_with_its_time(fill: Filler, reader: Reader) -> None:
    """
    A part of a later version is first seen with the first request of any version that has it.
    """
    fill.system(SECOND)
    fill.request(record(5, composite_version=SECOND.version, calls=()))
    fill.request(record(6, composite_version=SECOND.version, calls=()))

    [change] = explain(reader.read(FIRST)).changes_since

    assert (change.kind, change.now) == ("prompt", SECOND.part("prompt/answer").digest)
    assert change.first_seen == "2026-08-22T11:02:12.123000Z"


def test_damage_in_the_store_is_seen(store: Store, project: str) -> None:
    """
    A body and a content that do not hash to their digests are found by hashing them again.
    """
    fill = Filler(store, project)
    prompt, model = SYSTEM.part("prompt/answer"), SYSTEM.part("model/writer")
    fill.system(with_content=False)
    fill.content(reference(prompt.texts[0])["digest"], "something else")
    fill.component(model.digest, "model", REINDEXED.body)
    fill.request(record())

    texts = [
        finding.text
        for finding in explain(Reader(store, project).read(FIRST)).findings
        if finding.code == "component_damaged"
    ]

    assert [text.partition(":")[0] for text in texts] == ["model writer", "prompt answer"]


def test_what_was_missing_is_looked_for_again(store: Store, project: str) -> None:
    """
    Components that were registered after the first explanation are in the next.
    """
    fill, reader = Filler(store, project), Reader(store, project)
    fill.request(record())
    assert "composite_not_registered" in codes(reader)

    fill.system()

    assert codes(reader) == ["content_verified"]


def test_notes(fill: Filler, reader: Reader) -> None:
    """
    Events of the request, and what was turned away about it and its parts, are told.
    """
    prompt = SYSTEM.part("prompt/answer").digest
    fill.quarantine(hexadecimal(FIRST), "conflicting-record", "another producer")
    fill.quarantine(f"mvtrace.component {prompt}", "digest", "does not match")
    fill.quarantine(hexadecimal(OTHER), "conflicting-record", "of somebody else")
    fill.event(FIRST, "gen_ai.evaluation.result", {"score": "0.5"})

    found = reader.read(FIRST)

    assert [note.detail for note in found.quarantine] == ["another producer", "does not match"]
    assert [(event.name, event.attributes) for event in found.events] == [
        ("gen_ai.evaluation.result", {"score": 0.5})
    ]
    assert sorted(codes(reader)[:2]) == ["record_conflict", "registration_refused"]


def test_crowded_alias_does_not_hide_the_trace(
    fill: Filler, reader: Reader, store: Store, project: str
) -> None:
    """
    Requests of the same trace are found beside an id that more requests carry than are looked at.
    """
    store.command(
        "INSERT INTO request_aliases (project, alias_hash, kind, alias, request_id, received_at) "
        "SELECT {project:String}, sipHash64('client-0'), 'x-request-id', 'client-0', "
        "toFixedString(unhex(concat({head:String}, leftPad(hex(number), 12, '0'))), 16), now64(3) "
        "FROM numbers(1000)",
        {"project": project, "head": hexadecimal(request_id(9))[:20]},
    )
    foreign = request_id(5)
    fill.spans([replace(span, request_id=foreign) for span in spans_of(record())[:1]])
    fill.alias("trace_id", TRACE, foreign)

    found = reader.read(FIRST)

    assert found.united_ids == (foreign,)
    assert {shared.value for shared in found.shared_ids} == {"client-0"}


def test_what_is_kept_of_a_generation(fill: Filler, store: Store, project: str) -> None:
    """
    What serves now, events and quarantine are read again once something new is stored.
    """
    generation = [1]
    reader = Reader(store, project, generation=lambda: generation[0])
    assert [one.request_id for one in reader.read(FIRST).recent] == [FIRST]

    fill.request(record(7))
    fill.event(FIRST, "gen_ai.evaluation.result", {"score": "0.5"})
    fill.quarantine(hexadecimal(FIRST), "conflicting-record", "another producer")
    generation[0] += 1
    found = reader.read(FIRST)

    assert found.newest is not None
    assert found.newest.request_id == OTHER
    assert len(found.events) == len(found.quarantine) == 1
    assert [one.request_id for one in reader.read(OTHER).recent] == [OTHER]
    assert reader.read(FIRST).newest == found.newest


@pytest.mark.parametrize("order", [(0, 20, 30), (30, 20, 0)])
def test_newest_of_many_whoever_asks_first(
    store: Store, project: str, order: tuple[int, ...]
) -> None:
    """
    A reader that keeps what serves now tells the same as one that reads it for each request.
    """
    filler = Filler(store, project)
    for number in range(31):
        filler.record(record(number))
    keeping = Reader(store, project, generation=lambda: 1)

    for number in order:
        plain = Reader(store, project).read(request_id(number))
        kept = keeping.read(request_id(number))
        assert kept.recent == plain.recent
        assert kept.newest == plain.newest


def test_cached_answers_are_followed(fill: Filler, reader: Reader) -> None:
    """
    Answers made from cached answers are followed to the request that really spoke, in circles
    only once.
    """
    fill.request(record(1, cache_origin=FIRST))
    fill.request(record(2, cache_origin=request_id(1)))
    fill.request(record(3, cache_origin=request_id(4)))
    fill.request(record(4, cache_origin=request_id(3)))

    assert [hop for hop, _ in reader.read(request_id(2)).origins] == [request_id(1), FIRST]
    assert [hop for hop, _ in reader.read(request_id(3)).origins] == [request_id(4)]
    gone = record(5, cache_origin=OTHER)
    fill.request(gone)
    assert reader.read(gone.request_id).origins == ((OTHER, None),)


def test_other_projects_are_not_seen(fill: Filler, store: Store) -> None:
    """
    A reader of one project finds nothing of another.
    """
    other = Reader(store, "other")

    assert other.find(RequestFilter()) == []
    with pytest.raises(RequestNotFoundError, match="the store is empty"):
        other.read("client-0")


def test_find_filters(fill: Filler, reader: Reader) -> None:
    """
    Each filter lets through what it names, newest first.
    """
    fill.request(record(1, outcome="error", status_code=500, route="/other", arm="canary"))
    fill.request(record(2, conversation_id="c-1", composite_version=SECOND.version))

    def numbers(**wanted: object) -> list[int]:
        found = reader.find(RequestFilter(**wanted))  # type: ignore[arg-type]
        known = {request_id(number): number for number in range(3)}
        return [known[str(one["request_id"])] for one in found]

    assert numbers() == [2, 1, 0]
    assert numbers(limit=1) == [2]
    assert numbers(errors=True) == [1]
    assert numbers(route="/other") == [1]
    assert numbers(arm="canary") == [1]
    assert numbers(conversation="c-1") == [2]
    assert numbers(version=SECOND.version[:8]) == [2]
    assert numbers(service="support", environment="production") == [2, 1, 0]
    assert numbers(service="shop") == []
    assert numbers(since_ms=START_MS + 1000) == [2, 1]
    assert numbers(until_ms=START_MS + 1000) == [1, 0]
    assert numbers(since_ms=START_MS + 1000, until_ms=START_MS + 1000) == [1]


def test_version_prefixes(fill: Filler, reader: Reader) -> None:
    """
    A version is named by any beginning that only it has.
    """
    near = SYSTEM.version[:20] + "0" * 44
    fill.request(record(1, composite_version=near))

    assert reader.version(SYSTEM.version) == SYSTEM.version
    assert reader.version(SYSTEM.version[:24]) == SYSTEM.version
    with pytest.raises(VersionNotFoundError):
        reader.version("00000000")
    with pytest.raises(AmbiguousVersionError) as raised:
        reader.version(SYSTEM.version[:8])
    assert set(raised.value.versions) == {SYSTEM.version, near}


def test_every_read_of_a_table_names_the_project() -> None:
    """
    Every statement compares the project as often as it reads a table, and none uses FINAL.
    """
    for path in FOLDER.glob("*.sql"):
        sql = re.sub(r"--.*", "", path.read_text("utf-8"))
        tables = re.findall(r"\bFROM\s+(\w+)", sql)
        assert sql.count("project = {project:String}") == len(tables) > 0, path.name
        assert not re.search(r"\bFINAL\b", sql), path.name


def test_point_reads_touch_one_granule(fill: Filler, store: Store, project: str) -> None:
    """
    A read by request id is pruned to its month and granule, one by alias to its granule.
    """
    for number in range(1, 4):
        fill.request(record(number))
    reads = {
        "request_record": {"request_id": hexadecimal(FIRST)},
        "request_spans": {"request_id": hexadecimal(FIRST), "limit": 10},
        "aliased_requests": {"hash": siphash64("client-0")},
    }

    for name, parameters in reads.items():
        plan = store.query(
            f"EXPLAIN indexes = 1 {statement(name)}", {"project": project, **parameters}
        )
        text = "\n".join(str(row[0]) for row in plan.rows)
        assert re.findall(r"Granules: (\d+)/", text)[-1] == "1", text


@pytest.mark.parametrize("text", ["", "a", "abcdefg", "abcdefgh", TRACE, "ü" * 40, "x" * 300])
def test_hash_is_the_engines(store: Store, text: str) -> None:
    """
    The hash computed here is the one the engine computes.
    """
    assert store.query("SELECT sipHash64({text:String})", {"text": text}).rows == [
        (siphash64(text),)
    ]
