"""What comes after its subject was erased, from clocks that are off, or with somebody else's names."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from erasure_wire import (
    HOUR_MS,
    MASTER,
    Wire,
    erase,
    key_ids,
    names,
    settled,
    subject,
    texts,
)
from explained import explained
from private_app import cli, serving

from mvtrace.capture.privacy_keys import new_key

EVERY_NAME = ["order", "response_id", "subject", "trace_id", "x-request-id"]


def test_late_record_has_no_names(tmp_path: Path) -> None:
    """
    The record of a request from before its subject's erasure that comes after it is stored with its
    trace id as its only name, like one that was there, also after a replay; the explanation says so.
    """
    with serving(tmp_path) as one:
        wire = Wire(one)
        there, late, other = wire.new_id(), wire.new_id(), wire.new_id()
        wire.record(there, "anna")
        assert names(one, there) == EVERY_NAME
        erase(one, subject("anna"))
        wire.record(late, "anna")
        wire.record(other, "berta")
        new = wire.new_id()
        wire.record(new, "anna")
        found = {each: names(one, each) for each in (there, late, other, new)}
        explanation = explained(one.url, late)
        verified = cli("verify", "--url", one.url)
    for path in (tmp_path / "store.inbox").glob("index.sqlite*"):
        path.unlink()
    with serving(tmp_path) as one:
        again = {each: names(one, each) for each in found}

    assert found == {
        there: ["trace_id"],
        late: ["trace_id"],
        other: EVERY_NAME,
        new: EVERY_NAME,
    }
    assert again == found
    assert "content_erased" in {finding["code"] for finding in explanation["findings"]}
    assert verified.returncode == 0, verified.stdout


def test_late_record_that_names_nobody(tmp_path: Path) -> None:
    """
    Of a request that is a subject of its own the content comes late and is refused; its record, which
    comes after that, has no names either.
    """
    with serving(tmp_path) as one:
        wire = Wire(one)
        late = wire.new_id()
        own = subject(late)
        erase(one, own)
        wire.content(late, own)
        settled(one)
        wire.record(late)
        assert names(one, late) == ["trace_id"]
        assert texts(one, late) == 0


def test_request_that_runs_while_its_subject_is_erased(tmp_path: Path) -> None:
    """
    A request that began before an erasure and says only after it whom it is about: what it was called
    when it began goes too, and another's of the kind stays.
    """
    with serving(tmp_path) as one:
        wire = Wire(one)
        running, other = wire.new_id(), wire.new_id()
        for each in (running, other):
            wire.record(each, revision=1)
        began = names(one, running)
        erase(one, subject("anna"))
        wire.record(running, "anna")
        wire.record(other, "berta")
        found = [names(one, running), names(one, other)]

    assert began == ["order", "response_id", "trace_id", "x-request-id"]
    assert found == [["trace_id"], EVERY_NAME]


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, 0, HOUR_MS])
def test_clock_that_is_off_changes_nothing(tmp_path: Path, ahead_ms: int) -> None:
    """
    What a sender made before an erasure and sends after it is refused, and what it made two seconds
    after is kept, also where its clock is an hour off and the requests' ids say something else.
    """
    with serving(tmp_path) as one:
        wire = Wire(one, ahead_ms=ahead_ms)
        before = wire.new_id()
        time.sleep(0.05)
        erase(one, subject("anna"))
        time.sleep(2)
        after = wire.new_id()
        for each in (before, after):
            wire.content(each, subject("anna"))
            wire.record(each, "anna")
        found = [texts(one, before), texts(one, after)]
        named = [names(one, before), names(one, after)]

    assert found == [0, 1]
    assert named == [["trace_id"], EVERY_NAME]


def test_what_was_there_goes_whatever_a_clock_says(tmp_path: Path) -> None:
    """
    Content, names and keys that came in before an erasure are gone after it, and after a replay, even
    of a sender that does not tell its time and whose clock is an hour ahead.
    """
    with serving(tmp_path) as one:
        wire = Wire(one, ahead_ms=HOUR_MS, says_time=False)
        there = wire.new_id()
        key = wire.key(subject("anna"))
        wire.record(there, "anna")
        wire.content(there, subject("anna"), key_id=key)
        assert texts(one, there) == 1
        assert key_ids(tmp_path) == {key}
        erased = erase(one, subject("anna"))
        assert (texts(one, there), names(one, there)) == (0, ["trace_id"])
        assert key_ids(tmp_path) == set()
    for path in (tmp_path / "store.inbox").glob("index.sqlite*"):
        path.unlink()
    with serving(tmp_path) as one:
        assert (texts(one, there), names(one, there)) == (0, ["trace_id"])

    assert (erased["requests"], erased["payloads"], erased["keys"]) == (1, 1, 1)


def test_row_that_names_another_ones_key(tmp_path: Path) -> None:
    """
    Content that somebody wrote with another person's key id, or beside another person's request, takes
    nothing of hers along when it is erased; nor does the same id in another project.
    """
    hers, his = subject("berta"), subject("anna")
    with serving(tmp_path) as one:
        wire, elsewhere = Wire(one), Wire(one, project="elsewhere")
        key, own = wire.key(hers), wire.key(his)
        same_id = elsewhere.key(his)
        request = wire.new_id()
        wire.content(request, hers, key_id=key)
        wire.record(request, "berta")
        forged = wire.new_id()
        wire.record(forged)
        wire.content(forged, his, key_id=key)
        wire.content(forged, his, key_id=own, kind="b")
        wire.content(forged, his, key_id=same_id, kind="c")
        wire.content(request, his, key_id=key, kind="forged")
        settled(one)
        erased = erase(one, his)
        left = (texts(one, request), texts(one, forged), names(one, request))
        wire.content(request, hers, key_id=key, kind="later")
        later = texts(one, request)

    assert key_ids(tmp_path) == {key}
    assert key_ids(tmp_path, "elsewhere") == {same_id}
    assert left == (1, 0, EVERY_NAME)
    assert later == 2
    assert (erased["requests"], erased["payloads"], erased["keys"]) == (2, 4, 1)


def test_destroyed_key_does_not_come_back(tmp_path: Path) -> None:
    """
    A data key that was destroyed, sent once more by a sender whose clock has changed, is not kept.
    """
    with serving(tmp_path) as one:
        wire = Wire(one)
        made = new_key(MASTER, subject("anna"))
        wire.key(subject("anna"), made)
        erase(one, subject("anna"))
        Wire(one, ahead_ms=HOUR_MS, says_time=False).key(subject("anna"), made)
        young = wire.key(subject("anna"))

    assert key_ids(tmp_path) == {young}
