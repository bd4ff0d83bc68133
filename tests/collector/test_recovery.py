"""Lost parts of a store: which segments a part came from, and what is loaded again without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from obligations import Ledger
from wire_producer import WireProducer

from mvtrace.store import Store, migrate, open_store
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.loader import Loader
from mvtrace_collector.logs import event_name
from mvtrace_collector.recovery import (
    BOOK_FILE,
    LOST_PART,
    Part,
    PartsBook,
    read_book,
    recover,
)


def part(first: int, last: int, segments: tuple[int, int] = (0, 0), table: str = "spans") -> Part:
    return Part(table, "202611", f"202611_{first}_{last}_0", first, last, 10, *segments)


def test_a_merged_part_covers_what_it_was_made_from() -> None:
    """
    A part stands for another of its table and month whose blocks lie within its own.
    """
    assert part(1, 5).covers(part(2, 3))
    assert part(2, 2).covers(part(2, 2))
    assert not part(2, 5).covers(part(1, 3))
    assert not part(1, 5).covers(part(2, 3, table="requests"))
    assert not part(1, 5)._replace(partition="202612").covers(part(2, 3))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the store of three loaded segments, closed, and its inbox."""
    with open_store(f"chdb://{tmp_path / 'store'}") as store:
        migrate(store)
        inbox = Inbox(tmp_path / "inbox")
        fill(store, inbox)
        inbox.close()
    return tmp_path


def fill(store: Store, inbox: Inbox) -> None:
    loader = Loader(store, inbox)
    loader.book = PartsBook(store, inbox)
    producer = WireProducer("", Ledger(), spans=1)
    for number in range(3):
        batch = producer.batch(5)
        inbox.append("default", "logs", batch.logs, f"logs {number}")
        inbox.append("default", "traces", batch.traces, f"traces {number}")
        intent = inbox.take(max_bytes=1, max_age_s=0.0)
        assert intent is not None
        inbox.mark_stored(intent, loader.load(intent))
        loader.book.stored(intent.id)
    loader.close()


def counts(store: Store) -> list[tuple[int, ...]]:
    return store.query(
        "SELECT (SELECT count() FROM requests FINAL), (SELECT count() FROM spans FINAL),"
        " (SELECT uniqExact(alias) FROM request_aliases)"
    ).rows


def lose(place: Path, table: str) -> Part:
    """Delete the newest part of *table* while the store is closed."""
    book = read_book(place / "inbox" / BOOK_FILE)
    newest = max((one for one in book.parts if one.table == table), key=lambda one: one.last_block)
    shutil.rmtree(place / "store" / "data" / "mvtrace" / table / newest.name)
    return newest


def test_parts_know_their_segments(place: Path) -> None:
    """
    Each part of a loaded table names segments, and all segments are named.
    """
    book = read_book(place / "inbox" / BOOK_FILE)
    for table in ("requests", "spans", "request_aliases"):
        ours = [one for one in book.parts if one.table == table]
        assert min(one.first_segment for one in ours) == 1
        assert max(one.last_segment for one in ours) == 3


def test_a_sound_store_is_left_alone(place: Path) -> None:
    """
    Where every part is there, nothing is loaded again.
    """
    with open_store(f"chdb://{place / 'store'}") as store:
        inbox = Inbox(place / "inbox")
        found = recover(store, inbox)
        assert (found.lost, found.reopened, found.gone) == ((), (), ())
        inbox.close()


@pytest.mark.parametrize("table", ["requests", "spans", "request_aliases"])
def test_a_lost_part_is_loaded_again(table: str, place: Path) -> None:
    """
    The segments of a part that is gone are taken again, under another epoch, and its rows are back.
    """
    lost = lose(place, table)
    with open_store(f"chdb://{place / 'store'}") as store:
        inbox = Inbox(place / "inbox")
        found = recover(store, inbox)
        assert [one.name for one in found.lost] == [lost.name]
        assert set(range(lost.first_segment, lost.last_segment + 1)) <= set(found.reopened)
        loader = Loader(store, inbox)
        while loader.load_next():
            pass
        loader.close()
        assert counts(store) == [(15, 15, 15)]
        assert inbox.lag().segments == 0
        inbox.close()


def test_what_the_inbox_no_longer_has_is_named(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Without the segments a lost part is reported in the log and in quarantine, by name.
    """
    lost = lose(place, "requests")
    for path in (place / "inbox").glob("segment-*"):
        path.unlink()
    with open_store(f"chdb://{place / 'store'}") as store:
        inbox = Inbox(place / "inbox")
        found = recover(store, inbox)
        assert set(found.gone) == set(range(lost.first_segment, lost.last_segment + 1))
        [told] = [record for record in caplog.records if event_name(record) == LOST_PART]
        assert f"Part {lost.name} of requests" in told.message
        rows = store.query("SELECT reason, subject FROM quarantine").rows
        assert rows == [(LOST_PART, f"requests {lost.name}")]
        inbox.close()


def test_a_damaged_book_says_nothing(tmp_path: Path) -> None:
    """
    A list that cannot be read stops no start.
    """
    (tmp_path / BOOK_FILE).write_text('{"at_ms": 1, "parts": [["spans"]]}')
    assert read_book(tmp_path / BOOK_FILE).parts == ()
    assert read_book(tmp_path / "nowhere").at_ms == 0
