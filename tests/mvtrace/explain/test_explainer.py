"""`explain` on whole evidence: its JSON, its basis for each part, and any record there can be."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from story import (
    REINDEXED,
    SECOND,
    SYSTEM,
    bodies,
    calls,
    composite,
    decision,
    evidence,
    record,
    request_id,
    snapshot,
    stored,
)
from strategies import records

from mvtrace.cli.markdown import report_markdown
from mvtrace.cli.report import report_of
from mvtrace.cli.text import report_text
from mvtrace.digest import parse_canonical
from mvtrace.explain.evidence import Evidence, StoredEvent
from mvtrace.explain.explainer import explain
from mvtrace.records import PromptUse, RequestRecord, Value
from mvtrace.resources import schema_root

EXPLANATION = jsonschema.Draft202012Validator(
    json.loads((schema_root() / "explanation.schema.json").read_text("utf-8"))
)
RECORD = jsonschema.Draft202012Validator(
    json.loads((schema_root() / "events" / "request.schema.json").read_text("utf-8"))
)
FAQ = SYSTEM.part("index/faq").digest
PARTS = sorted(Value.__subclasses__(), key=lambda part: part.__name__ != "RequestRecord")[1:]


def parts(given: Evidence) -> dict[str, tuple[str, str | None, str | None]]:
    """Basis, observed and expected digest by slot."""
    return {
        f"{one.kind}/{one.name}": (one.basis, one.observed, one.expected)
        for one in explain(given).composite.components
    }


def valid(explanation: dict[str, object]) -> dict[str, object]:
    EXPLANATION.validate(explanation)
    return explanation


def test_fixed_keys() -> None:
    """
    The JSON has every key that scripts rely on.
    """
    explanation = valid(explain(evidence()).to_dict())

    assert explanation.keys() >= {
        *("request_id", "parent_request_id", "trace_id", "time", "arm", "composite"),
        *("router_decisions", "index_snapshots", "calls", "changes_since", "findings", "spans"),
    }
    assert explanation["time"] == "2026-08-22T11:02:07.123000Z"
    assert explanation["calls"][2].keys() >= {  # type: ignore[index]
        *("span_id", "kind", "name", "model_requested", "model_served", "prompt", "sampling"),
        *("seed", "usage", "finish_reason", "response_id"),
    }


@settings(max_examples=150, deadline=None)
@given(one=records)
def test_any_record_is_explained(one: RequestRecord) -> None:
    """
    Whatever capture can record is explained, as JSON of the schema, as text and as Markdown.
    """
    body = one.to_bytes()
    RECORD.validate(json.loads(body))
    bare = Evidence(request_id=one.request_id, record=stored(one), recent=(one,))

    explanation = valid(explain(bare).to_dict())
    report = report_of(json.loads(json.dumps(explanation)))

    assert explanation["record"]["bytes"] == len(body)  # type: ignore[index]
    assert RequestRecord.from_dict(parse_canonical(body)) == one
    assert all(line.isprintable() for line in report_text(report).split("\n"))
    assert report_markdown(report)


def test_whole_state_is_verified() -> None:
    """
    A part seen as declared, or stored whole and hashed again, is verified.
    """
    digests = {one.slot: one.digest for one in SYSTEM.parts}

    assert parts(evidence()) == {
        "embedding_model/encoder": ("verified", None, digests["embedding_model/encoder"]),
        "index/faq": ("verified", FAQ, FAQ),
        "model/writer": ("verified", None, digests["model/writer"]),
        "postprocess/tidy": ("verified", None, digests["postprocess/tidy"]),
        "prompt/answer": ("verified", digests["prompt/answer"], digests["prompt/answer"]),
        "router/route": ("verified", digests["router/route"], digests["router/route"]),
    }


def test_silent_reindex_is_observed() -> None:
    """
    A part that was not what the composite declares is observed, and both digests are told.
    """
    given = evidence(record(index=REINDEXED.digest))

    assert parts(given)["index/faq"] == ("observed", REINDEXED.digest, FAQ)


def test_digests_alone_are_declared() -> None:
    """
    Where only digests were registered, nothing is verified but what was seen.
    """
    bases = {slot: basis for slot, (basis, _, _) in parts(evidence(contents={})).items()}

    assert bases["postprocess/tidy"] == "declared"
    assert bases["prompt/answer"] == "verified"


def test_damage_is_never_verified() -> None:
    """
    A part whose stored body is another than its digest says is not verified, seen or not.
    """
    damaged = dict.fromkeys(bodies(), REINDEXED.body)

    bases = {slot: basis for slot, (basis, _, _) in parts(evidence(components=damaged)).items()}

    assert bases["model/writer"] == "declared"
    assert bases["prompt/answer"] == "observed"


def test_unregistered_composite_leaves_what_was_observed() -> None:
    """
    Without a manifest the parts that the request saw are shown, with what its record expected.
    """
    given = evidence(composites={}, components={}, contents={})

    assert parts(given) == {
        "index/faq": ("verified", FAQ, FAQ),
        "router/route": ("observed", SYSTEM.part("router/route").digest, None),
        "prompt/answer": ("observed", SYSTEM.part("prompt/answer").digest, None),
        "model/writer": ("missing", None, None),
    }


def test_stamps_alone_are_inferred() -> None:
    """
    A version known from stamps on spans makes its parts inferred, not verified.
    """
    given = replace(evidence(), record=None, recent=())

    explanation = valid(explain(given).to_dict())

    assert {basis for basis, _, _ in parts(given).values()} == {"inferred"}
    assert explanation["basis"] == "inferred"
    assert explanation["service"] == "support"
    assert explanation["status_code"] == 200


def test_names_of_calls_lead_to_declared_slots() -> None:
    """
    A router decision or a prompt named by its call is found in the slot its component has.
    """
    renamed = (
        calls()[1:2]
        + calls(prompt=PromptUse(template_digest=SECOND.part("prompt/answer").digest))[2:]
    )
    one = record(
        router_decisions=(decision(name="choose"),),
        calls=renamed,
        index_snapshots=(snapshot(REINDEXED.digest, FAQ, name="search"),),
    )

    slots = parts(evidence(one))

    assert "router/choose" not in slots
    assert slots["router/route"][0] == "verified"
    assert slots["index/faq"] == ("observed", REINDEXED.digest, FAQ)


def changes(then: RequestRecord, *recent: RequestRecord, **more: object) -> list[dict[str, object]]:
    both = {SYSTEM.version: composite(), SECOND.version: composite(SECOND)}
    given = evidence(then, recent=(*recent, then), composites=both, **more)
    explanation = valid(explain(given).to_dict())
    return list(explanation["changes_since"])  # type: ignore[call-overload]


def test_changes_of_a_new_version() -> None:
    """
    What a later version changed is listed by part, with the time it was first seen.
    """
    new = SECOND.part("prompt/answer").digest
    later = record(60, composite_version=SECOND.version, calls=())

    assert changes(record(), later, first_seen={new: 1_787_400_000_000_000_000}) == [
        {
            "kind": "prompt",
            "name": "answer",
            "then": SYSTEM.part("prompt/answer").digest,
            "now": new,
            "then_basis": "observed",
            "now_basis": "declared",
            "first_seen": "2026-08-22T12:00:00.000000Z",
        }
    ]


def test_changes_of_the_index_under_one_version() -> None:
    """
    An index that was reindexed since shows as a change, although the version is the same.
    """
    [change] = changes(record(), record(60, index=REINDEXED.digest))

    assert (change["kind"], change["then"], change["now"]) == ("index", FAQ, REINDEXED.digest)


def test_a_part_nobody_looked_at_since_is_not_compared() -> None:
    """
    After a drift, later requests that did not ask the index are no evidence that it changed back.
    """
    later = record(60, index_snapshots=())

    assert changes(record(index=REINDEXED.digest), later) == []


def test_an_earlier_observation_since_counts() -> None:
    """
    Where the newest request did not ask the index, the newest one that did tells its state.
    """
    asked = record(50, index=REINDEXED.digest)

    [change] = changes(record(), record(60, index_snapshots=()), asked)

    assert change["now"] == REINDEXED.digest


def test_same_arm_is_compared_first() -> None:
    """
    A request of the stable arm is compared with the newest stable one, not with the canary.
    """
    canary = record(60, arm="canary", composite_version=SECOND.version, calls=())

    assert changes(record(), canary, record(59)) == []
    assert changes(record(arm="canary"), canary, record(59)) != []


def test_served_model_that_changed() -> None:
    """
    Another model serving the same call is a change, by name.
    """
    [change] = changes(record(), record(60, calls=calls(60, model_served="writer-8b-q4")))

    assert (change["kind"], change["name"]) == ("served_model", "write")
    assert (change["then"], change["now"]) == ("writer-8b", "writer-8b-q4")


def test_added_and_removed_parts() -> None:
    """
    A part only one of two registered versions has is a change from or to nothing.
    """
    smaller = replace(SYSTEM, parts=tuple(one for one in SYSTEM.parts if one.kind != "postprocess"))
    both = {SYSTEM.version: composite(), smaller.version: composite(smaller)}
    one, other = record(), record(60, composite_version=smaller.version)

    removed = explain(evidence(one, recent=(other, one), composites=both)).changes_since
    added = explain(
        evidence(other, recent=(replace(one, request_id=request_id(70)),), composites=both)
    )

    assert [(change.name, change.now) for change in removed] == [("tidy", None)]
    assert [(change.name, change.then) for change in added.changes_since] == [("tidy", None)]


def test_newest_request_has_nothing_to_compare_with() -> None:
    """
    The newest request stands for what serves now; it cannot differ from itself.
    """
    explanation = explain(evidence()).to_dict()

    assert explanation["now"]["is_this_request"] is True
    assert explanation["changes_since"] == []


def test_calls_of_other_instrumentations_are_shown() -> None:
    """
    A model call that only a span shows is listed, with its settings, and says where it is from.
    """
    whole = evidence()
    traced = replace(
        whole.spans[1],
        span_id="aaaaaaaaaaaaaaaa",
        operation="chat",
        model_requested="m",
        attributes={
            "gen_ai.request.model": "m",
            "gen_ai.request.temperature": 0.0,
            "gen_ai.request.seed": 0,
            "gen_ai.response.finish_reasons": ["stop"],
        },
        input_tokens=0,
    )

    call = valid(explain(replace(whole, spans=(*whole.spans, traced))).to_dict())["calls"][-1]  # type: ignore[index]

    assert call["source"] == "span"
    assert (call["kind"], call["seed"], call["finish_reason"]) == ("generation", 0, "stop")
    assert call["sampling"] == {"temperature": 0.0}
    assert call["usage"]["input_tokens"] == 0
    assert call["usage"]["output_tokens"] is None


def test_cached_answer_nests_the_explanation_of_its_origin() -> None:
    """
    The explanation of a cached answer holds that of the request which really spoke.
    """
    spoke = evidence(record(9))
    given = evidence(record(cache_origin=request_id(9)), origins=((request_id(9), spoke),))

    explanation = valid(explain(given).to_dict())

    origin = explanation["cache_origin"]
    assert origin["explanation"]["request_id"] == request_id(9)  # type: ignore[index]


def test_events_are_told() -> None:
    """
    Log records of the gen_ai conventions stand beside the spans.
    """
    event = StoredEvent(time=1, name="gen_ai.evaluation.result", span_id=None, attributes={"a": 1})

    explanation = valid(explain(evidence(events=(event,))).to_dict())

    assert explanation["events"] == [
        {
            "time": "1970-01-01T00:00:00.000000Z",
            "name": "gen_ai.evaluation.result",
            "span_id": None,
            "attributes": {"a": 1},
        }
    ]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"components":[{"kind":1}]}', b'{"components":5}']
)
def test_unreadable_manifest_is_no_manifest(body: bytes) -> None:
    """
    A manifest that is none is told as damaged, and nothing of it is believed.
    """
    broken = replace(composite(), body=body)

    explanation = valid(explain(evidence(composites={SYSTEM.version: broken})).to_dict())

    codes = [finding["code"] for finding in explanation["findings"]]  # type: ignore[attr-defined]
    assert "composite_damaged" in codes


@pytest.mark.parametrize("part", [RequestRecord, *PARTS], ids=lambda part: part.__name__)
def test_record_schema_has_every_field(part: type[Value]) -> None:
    """
    The published schema of the record knows exactly the fields of the record and of its parts.
    """
    schema = RECORD.schema if part is RequestRecord else RECORD.schema["$defs"][part.__name__]

    assert list(schema["properties"]) == [field.name for field in dataclasses.fields(part)]
