"""Every finding: what makes it, what it says, and that a whole request has none of the grave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from ancestries import DATA, certificate_about, merged
from decided import a_deployment
from story import (
    PRODUCER,
    REINDEXED,
    SECOND,
    START_MS,
    SYSTEM,
    bodies,
    calls,
    checks,
    composite,
    decision,
    evidence,
    part,
    record,
    reference,
    request_id,
    spans_of,
    stored,
)

from mvtrace.explain.codes import CODES
from mvtrace.explain.evidence import (
    ContentCheck,
    ErasureNote,
    Evidence,
    PayloadNote,
    QuarantineNote,
    RequestHead,
    SharedId,
)
from mvtrace.explain.explainer import explain
from mvtrace.explain.explanation import Finding, short
from mvtrace.explain.gaps import Gap, ProducerEnd
from mvtrace.records import CaptureReport, Drift, ObservedComponent, RequestRecord

CUT_OFF = ProducerEnd(producer_id=PRODUCER, state="orphaned", ended_at=START_MS + 1000)
GAP = Gap(
    producer_id=PRODUCER,
    first=5,
    last=6,
    missing_ranges=((5, 6),),
    reason="in_flight_at_kill",
    service="support",
    started_after=START_MS,
    started_before=START_MS + 1000,
)
CALLED_BACK = RequestHead(request_id=request_id(50), started_at=1, parent_request_id=request_id(0))
PROMPT = SYSTEM.part("prompt/answer")
OTHER = request_id(50)
VERSION = short(SYSTEM.version)
CHECKED, UNREAD, LEAKING = (
    one.ref.digest
    for one in (
        certificate_about(DATA),
        certificate_about(DATA, read=False),
        certificate_about(DATA, found=3),
    )
)


def found(code: str, given: Evidence) -> Finding:
    [finding] = [one for one in explain(given).findings if one.code == code]
    return finding


def deployed(version: str, one: RequestRecord) -> Evidence:
    """Evidence of a request that began right after *version* was deployed."""
    return replace(evidence(one), deployments=(a_deployment(version, one.started_at - 1),))


def without_record(**changes: object) -> Evidence:
    """Evidence of which only the spans are stored."""
    return replace(evidence(), record=None, recent=(), **changes)  # type: ignore[arg-type]


def foreign_spans() -> Evidence:
    spans = tuple(replace(one, composite_version=None) for one in evidence().spans)
    return without_record(spans=spans)


def with_bodies(system: object, *, absent: str = "", wrong: str = "") -> Evidence:
    """Evidence where the body of one slot is absent, or is another than its digest says."""
    known = bodies()
    if absent:
        del known[SYSTEM.part(absent).digest]
    if wrong:
        known[SYSTEM.part(wrong).digest] = part("prompt", "x", {"forged": True}).body
    return evidence(components=known)


def origin(*, is_stored: bool) -> Evidence:
    spoke = evidence(record(9, composite_version=SECOND.version))
    return evidence(record(cache_origin=OTHER), origins=((OTHER, spoke if is_stored else None),))


def undeclared() -> Evidence:
    facts = ObservedComponent(kind="guardrail", name="pii", digest=REINDEXED.digest)
    return evidence(record(observed=(facts,)))


def partly_declared() -> Evidence:
    """A request that met parts of kinds of which the composite has none."""
    rest = {"is_declared_kind": False}
    met = [("guardrail", "pii"), ("stack", "default")]
    return evidence(
        record(
            observed=tuple(
                ObservedComponent(kind=kind, name=name, digest=REINDEXED.digest, facts=rest)
                for kind, name in met
            )
        )
    )


def unlike(what: str) -> Evidence:
    """Evidence of a version that nobody declared, with a slot that is not what it was."""
    seen, before = PROMPT.digest, "sha256:" + "0" * 64
    drift = Drift(kind="prompt", name="answer", what=what, expected=before, observed=seen)
    return evidence(record(composite_basis="observed", drift=(drift,)))


def quarantined(subject: str, reason: str) -> Evidence:
    return evidence(
        quarantine=(QuarantineNote(subject=subject, reason=reason, detail="why", received_at=1),)
    )


KEPT = PayloadNote(
    kind="generation/answer//prompt",
    digest="hmac-sha256:00000000:" + "0" * 64,
    mode="redacted",
    subject="hmac-sha256:00000000:" + "1" * 64,
    bytes=10,
    is_cut=False,
    redactions={"email": 2, "iban": 1},
)
ERASED = ErasureNote(
    subject=KEPT.subject,
    erased_at=1_787_396_528_123_000_000,
    erased_by="3f9c01d2ab45",
    reason="asked for it",
)


CASES: dict[str, tuple[Callable[[], Evidence], str]] = {
    "drift": (
        lambda: evidence(record(index=REINDEXED.digest)),
        (
            f"index faq: queried as {short(REINDEXED.digest)} but the composite declares "
            f"{short(SYSTEM.part('index/faq').digest)}; it was changed without a new version."
        ),
    ),
    "undeclared_component": (
        undeclared,
        (
            f"guardrail pii: used as {short(REINDEXED.digest)}, but the composite declares no such "
            "component."
        ),
    ),
    "rest_observed": (
        partly_declared,
        "The composite declares no guardrail, stack: what was met of that is observed.",
    ),
    "model_merged": (
        lambda: evidence(record(), ancestry=merged()),
        (
            "component:333333333333 is a merge of 2 models (artifact:aaaaaaaaaaaa, "
            "artifact:bbbbbbbbbbbb): what is known of them is not proven of it."
        ),
    ),
    "leakage_unchecked": (
        lambda: evidence(record(), ancestry=merged()),
        (
            "model writer was made from 1 dataset (dataset:dddddddddddd); no leakage certificate "
            "compares any of that with an eval."
        ),
    ),
    "leakage_checked": (
        lambda: evidence(record(), ancestry=merged(certificate_about(DATA))),
        (
            "model writer: none of 40 examples of eval qa was found in its training data; "
            f"the dataset it was made from was compared (certificate {CHECKED[:12]})."
        ),
    ),
    "leakage_partly": (
        lambda: evidence(record(), ancestry=merged(certificate_about(DATA, read=False))),
        (
            "model writer: nothing it was made from could be compared with 40 examples of eval qa "
            f"(certificate {UNREAD[:12]})."
        ),
    ),
    "leakage_found": (
        lambda: evidence(record(), ancestry=merged(certificate_about(DATA, found=3))),
        (
            "model writer was trained on 3 of 40 examples of eval qa (dataset:dddddddddddd; "
            f"certificate {LEAKING[:12]})."
        ),
    ),
    "served_model_differs": (
        lambda: evidence(record(calls=calls(model_served="writer-1b"))),
        "generation write: asked for 'writer-8b', 'writer-1b' answered.",
    ),
    "fallback_used": (
        lambda: evidence(record(router_decisions=(decision(fallbacks=("extract",)),))),
        "router route: extract tried before writer answered.",
    ),
    "composite_unknown": (
        lambda: evidence(record(composite_version=None, composite_name=None)),
        "The record names no composite version: what is shown is what was observed.",
    ),
    "composite_inferred": (
        without_record,
        f"Version {VERSION} is known only from the stamps on 4 spans.",
    ),
    "composite_not_registered": (
        lambda: evidence(composites={}, components={}, contents={}),
        f"Version {VERSION} is not registered: its components are not known.",
    ),
    "composite_damaged": (
        lambda: evidence(composites={SYSTEM.version: replace(composite(), body=SECOND.manifest)}),
        f"The stored manifest of version {VERSION} does not hash to it.",
    ),
    "component_missing": (
        lambda: with_bodies(SYSTEM, absent="model/writer"),
        "1 component known by digest only, no body is stored: model writer.",
    ),
    "component_damaged": (
        lambda: with_bodies(SYSTEM, wrong="model/writer"),
        (
            "model writer: what is stored does not hash to "
            f"{short(SYSTEM.part('model/writer').digest)}."
        ),
    ),
    "content_missing": (
        lambda: evidence(contents={}),
        (
            "The content of 2 components is not stored, its digest is: postprocess tidy, "
            "prompt answer."
        ),
    ),
    "content_verified": (evidence, "6 of 6 components hashed again to their digests."),
    "record_missing": (
        without_record,
        "No record of this request is stored, only spans that were stamped with its id.",
    ),
    "record_unreadable": (
        lambda: evidence(record=replace(stored(record()), record=None)),
        "The stored record is not one this version can read.",
    ),
    "record_damaged": (
        lambda: evidence(record=replace(stored(record()), digest=REINDEXED.digest)),
        f"The stored record does not hash to {short(REINDEXED.digest)}.",
    ),
    "record_newer": (
        lambda: evidence(record(schema_version=2)),
        "The record has schema version 2, this mvtrace knows 1: newer fields are not shown.",
    ),
    "record_conflict": (
        lambda: quarantined(request_id(0).replace("-", ""), "conflicting-record"),
        (
            "Another record for this request was received and not let in (conflicting-record: why); "
            "what is shown came first."
        ),
    ),
    "registration_refused": (
        lambda: quarantined(f"mvtrace.component {PROMPT.digest}", "wrong-digest"),
        (
            f"A mvtrace.component event for {short(PROMPT.digest)} was received and not let in "
            "(wrong-digest: why)."
        ),
    ),
    "foreign_trace": (
        foreign_spans,
        (
            "This trace has no request record: support does not run mvtrace, so the state that "
            "answered is inferred from spans."
        ),
    ),
    "request_unfinished": (
        lambda: evidence(record(state="started", revision=1, ended_at=None, outcome=None)),
        "Only the start of this request is recorded: it still runs, or its process died.",
    ),
    "request_failed": (
        lambda: evidence(record(outcome="error", error_type="ValueError", status_code=500)),
        "The request ended with ValueError.",
    ),
    "capture_errors": (
        lambda: evidence(record(capture=CaptureReport(errors=2))),
        "2 internal errors while this request was traced: the record may be incomplete.",
    ),
    "request_cut_off": (
        lambda: evidence(
            record(state="started", outcome=None, ended_at=None), producer_end=CUT_OFF
        ),
        (
            "Only the start of this request is recorded. Its process was killed or crashed at about "
            "2026-08-22 11:02:08.123 UTC before it finished."
        ),
    ),
    "records_lost": (
        lambda: evidence(gaps=(GAP,)),
        (
            "2 records of service support were lost between 2026-08-22 11:02:07.123 and "
            "2026-08-22 11:02:08.123 UTC: the process was killed while they were in flight."
        ),
    ),
    "capture_dropped": (
        lambda: evidence(record(capture=CaptureReport(spans_dropped=3, truncated=1))),
        "Capture kept its limits: 3 spans dropped, 1 value cut to length.",
    ),
    "content_kept": (
        lambda: evidence(payloads=(KEPT, replace(KEPT, kind="generation/answer//output"))),
        "2 texts of this request kept, redacted; taken out: email 4, iban 2.",
    ),
    "content_expired": (
        lambda: evidence(content_expired=True),
        "Its texts have expired: they were kept for a time, and none is any more.",
    ),
    "content_erased": (
        lambda: evidence(erasures=(ERASED,)),
        (
            "Its content was erased on 2026-08-22T11:02:08.123000Z by 3f9c01d2ab45 (asked for it); "
            "what is shown here is what remains as evidence."
        ),
    ),
    "spans_missing": (
        lambda: evidence(spans=spans_of(record())[:2]),
        "2 spans of this request are not stored: sampled out, not recorded, or not arrived.",
    ),
    "spans_none": (
        lambda: evidence(spans=()),
        "No span of this request is stored: sampled out, not recorded, or not arrived.",
    ),
    "spans_cut": (
        lambda: evidence(spans_cut=True),
        "Only the first 4 spans are shown; more are stored.",
    ),
    "spans_united": (
        lambda: evidence(united_ids=(OTHER,)),
        "Spans of the same trace stored under 1 other id are shown too.",
    ),
    "id_shared": (
        lambda: evidence(shared_ids=(SharedId("x-request-id", "client-0", (OTHER,)),)),
        "x-request-id 'client-0' also belongs to 1 other request.",
    ),
    "parent_request": (
        lambda: evidence(
            record(parent_request_id=OTHER),
            parent=RequestHead(request_id=OTHER, started_at=1, service="shop", method="GET"),
        ),
        f"Called by {OTHER} (shop GET).",
    ),
    "parent_missing": (
        lambda: evidence(record(parent_request_id=OTHER)),
        f"Called by request {OTHER}, which is not stored.",
    ),
    "child_requests": (
        lambda: evidence(children=(RequestHead(request_id=OTHER, started_at=1),)),
        f"Called 1 other request: {OTHER}.",
    ),
    "request_cycle": (
        lambda: evidence(record(parent_request_id=OTHER), parent=CALLED_BACK),
        "Records contradict each other: "
        + ", called by ".join((request_id(0), OTHER, request_id(0)))
        + ".",
    ),
    "state_changed": (
        lambda: unlike("changed"),
        (
            f"prompt answer: it is {short(PROMPT.digest)} since this request; until then it was "
            "sha256:000000000000."
        ),
    ),
    "slot_volatile": (
        lambda: unlike("volatile"),
        "prompt answer: it differs from request to request, so it is in no version.",
    ),
    "composite_observed": (
        lambda: evidence(record(composite_basis="observed")),
        f"Version {VERSION} was made of what requests met: no composite is declared.",
    ),
    "composite_deployed": (
        lambda: deployed(SYSTEM.version, record(composite_version=None)),
        (
            "Nothing of this request names a version; what is shown is what was deployed when it "
            f"began (deploy of {VERSION} on 2026-08-22T11:02:07.122999Z by key)."
        ),
    ),
    "deployed": (
        lambda: deployed(SYSTEM.version, record()),
        f"It ran what was deployed: deploy of {VERSION} on 2026-08-22T11:02:07.122999Z by key.",
    ),
    "deployment_differs": (
        lambda: deployed(SECOND.version, record()),
        (
            f"It ran version {VERSION}, which was not deployed then (deploy of "
            f"{short(SECOND.version)} on 2026-08-22T11:02:07.122999Z by key)."
        ),
    ),
    "cache_origin": (
        lambda: origin(is_stored=True),
        (
            f"The answer came from a cache: it was made by request {OTHER} under version "
            f"{short(SECOND.version)}."
        ),
    ),
    "cache_origin_missing": (
        lambda: origin(is_stored=False),
        f"The answer came from a cache; the request {OTHER} that made it is not stored.",
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_finding(code: str) -> None:
    """
    Each finding is made by its situation, in its words, with the severity and basis of the table.
    """
    made, text = CASES[code]

    finding = found(code, made())

    assert finding.text == text
    assert (finding.severity, finding.basis) == CODES[code][:2]


def test_every_code_has_a_case() -> None:
    """
    No code stands in the table without a test.
    """
    assert set(CASES) == set(CODES)


def test_whole_request_has_nothing_grave() -> None:
    """
    Of a request whose every part is stored and matches, only what was verified is said.
    """
    findings = explain(evidence()).findings

    assert [one.code for one in findings] == ["content_verified"]


def test_gravest_come_first() -> None:
    """
    Errors stand before warnings, warnings before the rest.
    """
    given = evidence(
        record(index=REINDEXED.digest, outcome="error"),
        contents={reference(PROMPT.texts[0])["digest"]: ContentCheck(REINDEXED.digest, 3)},
    )

    severities = [one.severity for one in explain(given).findings]

    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert severities[0] == "error"


def test_drift_noted_by_capture_is_said_once() -> None:
    """
    A drift that both the snapshot and capture's own note show is one finding.
    """
    pinned = SYSTEM.part("index/faq").digest
    note = Drift(
        kind="index", name="faq", what="digest", expected=pinned, observed=REINDEXED.digest
    )
    given = evidence(record(index=REINDEXED.digest, drift=(note,)))

    assert [one.code for one in explain(given).findings].count("drift") == 1


def test_drift_of_a_served_model_names_the_models() -> None:
    """
    Where a provider served another model than declared, both names are told.
    """
    note = Drift(
        kind="model", name="writer", what="model_served", expected="writer-8b", observed="other"
    )

    finding = found("drift", evidence(record(drift=(note,))))

    assert finding.text == "model writer: served 'other' but the composite declares 'writer-8b'."


def test_remote_parent_is_not_missed() -> None:
    """
    The parent of a server span lies in the calling process: nobody misses it here.
    """
    server, *inner = spans_of(record())
    given = evidence(spans=(replace(server, parent_span_id="1234567890abcdef"), *inner))

    assert "spans_missing" not in [one.code for one in explain(given).findings]


def test_content_of_unequal_size_is_damage() -> None:
    """
    Content whose pieces hash but whose size is not the pinned one is damaged.
    """
    sizes = {digest: ContentCheck(digest, 1) for digest in checks()}

    codes = [one.code for one in explain(evidence(contents=sizes)).findings]

    assert codes.count("component_damaged") == 2
