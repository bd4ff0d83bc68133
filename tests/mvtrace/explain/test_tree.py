"""The requests around one, as far as a record and its evidence tell them."""

from __future__ import annotations

from story import evidence, record, request_id

from mvtrace.explain.evidence import RequestHead
from mvtrace.explain.explainer import explain

OTHER = request_id(7)


def test_what_a_caller_said_of_itself() -> None:
    """
    Of a caller that is not stored, version and arm are told as its own words.
    """
    told = record(parent_request_id=OTHER, parent_composite_version="a" * 64, parent_arm="canary")

    [found] = [one for one in explain(evidence(told)).findings if one.code == "parent_missing"]

    assert found.text == (
        f"Called by request {OTHER}, which is not stored "
        "(by its own words: version aaaaaaaaaaaa, arm canary)."
    )
    assert found.evidence["composite_version"] == "a" * 64


def test_what_is_around_is_judged_without_reading() -> None:
    """
    A tree is made of what was fetched; requests of the family that lead nowhere are left out.
    """
    lone = RequestHead(request_id=request_id(3), started_at=1, parent_request_id=request_id(99))
    called = RequestHead(request_id=request_id(2), started_at=1, parent_request_id=request_id(0))
    family = {head.request_id: head for head in (lone, called)}

    tree = explain(evidence(record(), family=family)).tree

    assert tree is not None
    assert [one["request_id"] for one in tree["requests"]] == [request_id(0), request_id(2)]
    assert tree["caller_missing"] is None


def test_nothing_around() -> None:
    """
    A request that nobody called and that called nobody has no tree.
    """
    assert explain(evidence()).tree is None
