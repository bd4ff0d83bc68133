"""Whole outputs as files: an explanation as text and Markdown, lists, errors; all of it inert."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from story import (
    REINDEXED,
    SECOND,
    SYSTEM,
    calls,
    composite,
    decision,
    evidence,
    record,
    request_id,
    snapshot,
    spans_of,
)

from mvtrace.cli.inert import inert, markdown_text
from mvtrace.cli.listing import explanation_words, requests_words
from mvtrace.cli.text import error_text, table_text
from mvtrace.cli.words import duration_words
from mvtrace.errors import (
    AmbiguousIdError,
    CollectorUnreachableError,
    MalformedIdError,
    MvtraceError,
    RequestNotFoundError,
    StoreInUseError,
)
from mvtrace.explain.evidence import Evidence, RequestHead, SharedId
from mvtrace.explain.explainer import explain
from mvtrace.records import CaptureReport, RetrievedDocument
from snapshots import Snapshots

EVIL = "a\x1b[31mred\x07\u202egnirts\u2028|x`<b>[l](http://e.vil)@you\r\n"


def drifted() -> Evidence:
    """A request that met a silent reindex, under a version that was replaced since."""
    one = record(index=REINDEXED.digest, capture=CaptureReport(spans_dropped=2))
    later = record(3600, composite_version=SECOND.version, calls=(), index_snapshots=())
    return evidence(
        one,
        recent=(later, one),
        composites={SYSTEM.version: composite(), SECOND.version: composite(SECOND)},
        spans=spans_of(one)[:3],
        shared_ids=(SharedId("x-request-id", "client-0", (request_id(9),)),),
        first_seen={SECOND.part("prompt/answer").digest: 1_787_400_000_000_000_000},
    )


def foreign() -> Evidence:
    """A trace whose sender knows nothing of mvtrace."""
    spans = tuple(
        replace(
            span,
            composite_version=None,
            operation="chat" if span.name == "generation write" else None,
            model_requested="writer-8b" if span.name == "generation write" else None,
        )
        for span in spans_of(record())
    )
    return Evidence(request_id=request_id(0), spans=spans)


def evil() -> Evidence:
    """A request in which every text a stranger can choose is hostile."""
    return evidence(
        record(
            route=f"/{EVIL}",
            service=EVIL,
            calls=calls(model_served=EVIL, finish_reason=EVIL, sampling={EVIL: EVIL}),
            router_decisions=(decision(chosen=EVIL, reason=EVIL, fallbacks=(EVIL,)),),
            index_snapshots=(
                snapshot(None, None, documents=(RetrievedDocument(id=EVIL, score=1.0),)),
            ),
            error_type=EVIL,
            outcome="error",
        )
    )


def called() -> Evidence:
    """A request in the middle of others, whose first caller is not stored; parts with an origin."""
    heads = [
        RequestHead(
            request_id=request_id(number),
            started_at=record(number).started_at,
            service=service,
            route=f"/{service}",
            status_code=200,
            composite_version=SYSTEM.version,
            arm="stable",
            parent_request_id=request_id(parent),
        )
        for number, service, parent in ((1, "gateway", 9), (2, "model", 0), (3, EVIL, 2))
    ]
    notes = [
        {"source": "gguf", "basis": "observed", "facts": {"tensors": 236, "dtypes": {"F16": 9}}},
        {"source": EVIL, "basis": "declared", "facts": {EVIL: [EVIL], "name": EVIL}},
    ]
    said = replace(composite(), provenance=json.dumps({"model/writer": notes}))
    return evidence(
        record(parent_request_id=request_id(1)),
        composites={SYSTEM.version: said},
        parent=heads[0],
        children=(heads[1],),
        family={head.request_id: head for head in heads},
        family_cut=True,
    )


STORIES = {
    "whole": evidence,
    "drifted": drifted,
    "foreign": foreign,
    "running": lambda: evidence(
        record(state="started", revision=1, ended_at=None, outcome=None, status_code=None),
        composites={},
        components={},
        contents={},
        spans=(),
    ),
    "cached": lambda: evidence(
        record(cache_origin=request_id(9)), origins=((request_id(9), evidence(record(9))),)
    ),
    "hostile": evil,
    "called": called,
}


def explained(story: str) -> dict[str, object]:
    """Return a story's explanation as it comes over the wire."""
    return dict(json.loads(json.dumps(explain(STORIES[story]()).to_dict())))


@pytest.mark.parametrize("story", STORIES)
def test_explanation_as_text(snapshots: Snapshots, story: str) -> None:
    """
    The answer comes first, the proof after, what is not known last.
    """
    text = explanation_words(explained(story), "text", coloured=False)

    snapshots.check(f"explain_{story}.txt", text)


@pytest.mark.parametrize("story", ["drifted", "hostile"])
def test_explanation_as_markdown(snapshots: Snapshots, story: str) -> None:
    """
    The same in Markdown, for a ticket.
    """
    text = explanation_words(explained(story), "markdown", coloured=False)

    snapshots.check(f"explain_{story}.md", text)


def test_explanation_as_json() -> None:
    """
    The JSON is ASCII and is the explanation.
    """
    text = explanation_words(explained("hostile"), "json", coloured=False)

    assert text.isascii()
    assert json.loads(text) == explained("hostile")


def test_colour_changes_nothing_else() -> None:
    """
    Colour is added to the same text, and only where it is asked for.
    """
    plain = explanation_words(explained("drifted"), "text", coloured=False)
    coloured = explanation_words(explained("drifted"), "text", coloured=True)

    assert "\x1b" not in plain
    for code in ("0", "1", "31", "32", "33", "36"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_hostile_values_do_nothing(form: str) -> None:
    """
    What strangers send neither moves the cursor nor reorders text, and makes no line of its own.
    """
    text = explanation_words(explained("hostile"), form, coloured=False)

    assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("red") for line in text.split("\n"))
    if form == "markdown":
        assert "](http" not in text
        assert "<b>" not in text


def test_inert_and_markdown() -> None:
    """
    Printable text stays what it is, all else becomes its escape; Markdown shows the same text.
    """
    assert inert("Grüße, 世界 👍") == "Grüße, 世界 👍"
    assert inert("a\x1b[0m\u202e\U000e0041\n") == "a\\x1b[0m\\u202e\\U000e0041\\x0a"
    assert markdown_text("a|b <c> [d](http://e) *f* www.x.y") == (
        r"a\|b \<c\> \[d\]\(http\://e\) \*f\* www\.x.y"
    )


def test_list_of_requests(snapshots: Snapshots) -> None:
    """
    A list shows what tells requests apart, one a line.
    """
    request = {
        "request_id": request_id(0),
        "time": "2026-08-22T11:02:07.123000Z",
        "service": "support",
        "method": "POST",
        "route": "/ask",
        "status_code": 200,
        "outcome": "ok",
        "state": "finished",
        "duration_ns": 184_000_000,
        "composite_version": SYSTEM.version,
        "arm": "stable",
        "drift": 1,
    }
    running = dict.fromkeys(request) | {
        "request_id": request_id(1),
        "time": "2026-08-22T11:02:08.123000Z",
        "state": "started",
    }

    text = requests_words({"requests": [running, request], "limit": 2}, as_json=False)

    snapshots.check("find.txt", text)
    assert requests_words({"requests": [], "limit": 2}, as_json=False) == "No request matches.\n"


def test_table() -> None:
    """
    Rows of a query stand under their columns; a hostile cell stays in its place.
    """
    assert (
        table_text(["n", "name"], [[1, "a\x1b"], [22, "ü"]]) == "n    name\n1    a\\x1b\n22   ü\n"
    )


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (None, ""),
        (0, "0.00 ms"),
        (1_400_000, "1.40 ms"),
        (184_000_000, "184 ms"),
        (1_840_000_000, "1.84 s"),
        (125_000_000_000, "2 min 5 s"),
    ],
)
def test_durations(nanoseconds: int | None, text: str) -> None:
    """
    A duration has the unit that suits it.
    """
    assert duration_words(nanoseconds) == text


ERRORS: dict[str, MvtraceError] = {
    "not_found": RequestNotFoundError("01J9ZK4C", newest="2026-08-22 11:02:07 UTC"),
    "not_found_after_waiting": RequestNotFoundError("01J9ZK4C", newest=None, waited_s=5.0),
    "ambiguous": AmbiguousIdError("client-7", [f"{request_id(1)}  support"], total=2),
    "malformed": MalformedIdError("trace:zz", "a trace id has 32 hex digits, not all of them 0"),
    "unreachable": CollectorUnreachableError("http://127.0.0.1:9", "Connection refused"),
    "in_use": StoreInUseError("/data/store", pid=4711, url="http://127.0.0.1:4318"),
    "hostile": RequestNotFoundError("a\x1b[2J", newest=None),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(snapshots: Snapshots, name: str) -> None:
    """
    An error says what happened, what holds, and one thing to do.
    """
    snapshots.check(f"error_{name}.txt", error_text(ERRORS[name]))
