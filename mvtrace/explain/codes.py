"""The table of findings: every code an explanation may use, how grave it is, how it is known.

In: a code and its sentence. Out: a :class:`Finding`. A program may rely on the codes; the sentences
are for people.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mvtrace.explain.explanation import Finding, Severity
from mvtrace.records import Basis


class Code(NamedTuple):
    """What all findings of one code have in common."""

    severity: Severity
    basis: Basis
    meaning: str


CODES: Final[dict[str, Code]] = {
    # The state that served
    "drift": Code(
        "warning", "observed", "what was seen in a slot is not what the composite declares"
    ),
    "undeclared_component": Code(
        "warning", "observed", "a part was used that no composite declares"
    ),
    "state_changed": Code(
        "warning", "observed", "a part is not what it was until this request, and nobody said so"
    ),
    "slot_volatile": Code(
        "info", "observed", "a part differs from request to request: it is in no version"
    ),
    "composite_observed": Code(
        "info", "observed", "the version was made of what requests met; nobody declared one"
    ),
    "rest_observed": Code(
        "info", "observed", "the composite leaves out kinds of part that were met and noted"
    ),
    "served_model_differs": Code(
        "warning", "observed", "another model answered than was asked for"
    ),
    "fallback_used": Code("info", "observed", "a router's first choice did not answer"),
    "composite_unknown": Code("warning", "missing", "nothing names the composite version"),
    "composite_inferred": Code(
        "warning", "inferred", "the version is known from stamps on spans only"
    ),
    "composite_deployed": Code(
        "warning", "inferred", "the version is known from the deployment log only"
    ),
    "deployed": Code("info", "inferred", "the deployment log has the version that ran"),
    "deployment_differs": Code(
        "warning", "inferred", "the deployment log had another version serve then"
    ),
    "composite_not_registered": Code("warning", "missing", "the version's manifest is not stored"),
    "composite_damaged": Code(
        "error", "observed", "the stored manifest does not hash to its version"
    ),
    "component_missing": Code("warning", "missing", "a component's body is not stored"),
    "component_damaged": Code("error", "observed", "a component does not hash to its digest"),
    "content_missing": Code(
        "info", "missing", "a component's content is not stored, its digest is"
    ),
    "content_verified": Code("info", "verified", "stored components hash again to their digests"),
    # What the version was made from
    "model_merged": Code("warning", "observed", "a part was made by merging several models"),
    "leakage_unchecked": Code(
        "warning", "missing", "no certificate compares a model's training data with an eval"
    ),
    "leakage_partly": Code(
        "warning", "missing", "a certificate compares only part of a model's training data"
    ),
    "leakage_found": Code(
        "warning",
        "observed",
        "a certificate found an eval, or examples of it, in a model's training data",
    ),
    "leakage_checked": Code(
        "info", "observed", "a certificate found no example of an eval in a model's training data"
    ),
    # The record
    "record_missing": Code("warning", "missing", "spans were stamped, but no record is stored"),
    "record_unreadable": Code("error", "observed", "this version cannot read the record's bytes"),
    "record_damaged": Code("error", "observed", "the record does not hash to the stored digest"),
    "record_newer": Code("warning", "missing", "the record has fields this version does not know"),
    "record_conflict": Code("error", "observed", "another record for this request was turned away"),
    "registration_refused": Code("error", "observed", "a part of this state was turned away"),
    "foreign_trace": Code("warning", "inferred", "the sender knows nothing of mvtrace"),
    "request_unfinished": Code("warning", "missing", "only the request's start is recorded"),
    "request_cut_off": Code(
        "warning", "inferred", "the request's process ended before the request did"
    ),
    "request_failed": Code("warning", "observed", "the request did not end well"),
    "capture_errors": Code("warning", "missing", "the tracing of this request had errors"),
    "records_lost": Code(
        "info", "missing", "records of the same process are missing near this one"
    ),
    "capture_dropped": Code("warning", "missing", "capture dropped or cut evidence"),
    # Its content
    "content_kept": Code("info", "observed", "content of the request is stored apart"),
    "content_expired": Code(
        "info", "inferred", "content of the request was kept for a time, which is over"
    ),
    "content_erased": Code("info", "observed", "content of the request was erased, by whom"),
    # Its spans, ids and neighbours
    "spans_missing": Code("info", "missing", "calls or parents without a stored span"),
    "spans_none": Code("info", "missing", "no span of the request is stored"),
    "spans_cut": Code("info", "missing", "more spans are stored than are shown"),
    "spans_united": Code(
        "info", "observed", "spans stored under other ids of the trace are shown too"
    ),
    "id_shared": Code("info", "observed", "further requests carry the same id"),
    "parent_request": Code("info", "observed", "another request called this one"),
    "parent_missing": Code("info", "missing", "the calling request is not stored"),
    "child_requests": Code("info", "observed", "this request called others"),
    "request_cycle": Code(
        "warning", "observed", "requests that name each other as caller, or as origin of an answer"
    ),
    "cache_origin": Code(
        "info", "observed", "the answer came from a cache, made by another request"
    ),
    "cache_origin_missing": Code(
        "warning", "missing", "the request that made a cached answer is gone"
    ),
}
"""Every code: severity, basis, meaning."""


def finding(code: str, text: str, /, **evidence: Any) -> Finding:
    """Return the finding *code* with its sentence and the facts behind it."""
    known = CODES[code]
    return Finding(
        code=code, severity=known.severity, basis=known.basis, text=text, evidence=evidence
    )


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return *number* with its noun: ``1 call``, ``2 calls``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
