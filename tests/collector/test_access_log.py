"""The access log by itself: durable before it is acknowledged, a row once, whatever happens."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mvtrace.errors import ConfigurationError
from mvtrace.store import Store, migrate, open_store
from mvtrace_collector.access_log import KEY_FILE, AccessLog, journal_settings
from mvtrace_collector.access_log_entry import Entry, Note
from mvtrace_collector.access_log_loader import HELD_S, EntryLoader, entries_of
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.errors import InboxFullError
from mvtrace_collector.inbox import Inbox, InboxSettings
from mvtrace_collector.keys import Identity
from mvtrace_collector.sqlgate import Gate
from mvtrace_collector.sqlreaders import Limits, ReaderPool, reader_settings

EDGE = Identity("0123456789ab", frozenset({"read"}), ("a",), "edge")
ROOMY = InboxSettings(disk_floor_bytes=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path / 'store'}") as opened:
        migrate(opened)
        yield opened


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(tmp_path / "journal", journal_settings(ROOMY))
    yield inbox
    inbox.close()


def entry_of(note: Note, status: int = 200) -> Entry:
    return note.entry(status=status)


def append(journal: Inbox, *entries: Entry) -> None:
    for entry in entries:
        batch = f"{entry.id}:{entry.revision}"
        journal.append(entry.project, "logs", entry.to_bytes(), batch)


def rows(store: Store) -> list[tuple[Any, ...]]:
    sql = "SELECT action, revision, status, outcome FROM access_log ORDER BY time, revision"
    return store.query(sql).rows


def test_entries_become_rows(store: Store, journal: Inbox) -> None:
    """
    What is in the journal is in the table after a load, with every field as it was.
    """
    note = Note("content", client="192.0.2.1")
    note.identity, note.project, note.asked = EDGE, "a", "01a02922-9413-7000-8000-000000000001"
    note.request_id, note.rows, note.statement = note.asked, 3, "SELECT 1"
    entry = note.entry(status=200, size=77)
    append(journal, entry)

    EntryLoader(store, journal).load_all()

    columns = "project, access_id_text, actor, label, action, asked, request_id_text, statement"
    found = store.query(
        f"SELECT {columns}, status, outcome, rows, bytes, duration_us, client FROM access_log"
    ).rows
    assert found == [
        (
            *("a", entry.id, "0123456789ab", "edge", "content", note.asked, note.asked, "SELECT 1"),
            *(200, "ok", 3, 77, entry.duration_us, "192.0.2.1"),
        )
    ]
    assert journal.lag().segments == 0


def test_replay_adds_nothing(store: Store, journal: Inbox) -> None:
    """
    A segment loaded again, by the same loader or by the next start's, gives no row twice.
    """
    append(journal, *(entry_of(Note("find")) for _ in range(30)))
    loader = EntryLoader(store, journal)
    loader.load_all()

    journal.reopen(journal.stored_segments(after_ms=-1), is_new_epoch=True)
    loader.load_all()
    EntryLoader(store, journal).replay()

    assert len(rows(store)) == 30


def test_lost_rows_come_back(store: Store, journal: Inbox) -> None:
    """
    Rows that the store lost are there again after the next start, from what the journal keeps.
    """
    append(journal, *(entry_of(Note("find")) for _ in range(5)))
    EntryLoader(store, journal).load_all()
    store.command("TRUNCATE TABLE access_log")

    EntryLoader(store, journal).replay()

    assert len(rows(store)) == 5


def test_answer_replaces_beginning(store: Store, journal: Inbox) -> None:
    """
    What was begun and answered is one row, whether or not both came in one load.
    """
    together, apart = Note("erase"), Note("key-create")
    loader = EntryLoader(store, journal)
    append(journal, entry_of(together, 0), entry_of(apart, 0), entry_of(together, 200))
    loader.load_all()
    assert rows(store) == [("erase", 2, 200, "ok")]

    append(journal, entry_of(apart, 201))
    loader.load_all()

    assert rows(store) == [("erase", 2, 200, "ok"), ("key-create", 2, 201, "ok")]


def test_what_never_ended_is_told(store: Store, journal: Inbox) -> None:
    """
    What was begun and has no answer after a minute, or when the collector stops, is a row that says
    so; an answer that comes later replaces it for whoever reads.
    """
    old, young = Note("erase"), Note("key-revoke")
    stale = entry_of(old, 0)._replace(time_us=int((time.time() - HELD_S - 1) * 1e6))
    append(journal, stale, entry_of(young, 0))
    loader = EntryLoader(store, journal)
    loader.load_all()
    assert rows(store) == [("erase", 1, 0, "begun")]

    loader.close()
    assert rows(store) == [("erase", 1, 0, "begun"), ("key-revoke", 1, 0, "begun")]

    append(journal, entry_of(young, 200))
    EntryLoader(store, journal).load_all()
    assert [row[:2] for row in rows(store)] == [("erase", 1), ("key-revoke", 1), ("key-revoke", 2)]
    store.command("OPTIMIZE TABLE access_log FINAL")
    assert [row[:2] for row in rows(store)] == [("erase", 1), ("key-revoke", 2)]


def test_damaged_entry_takes_no_other_along(store: Store, journal: Inbox) -> None:
    """
    Bytes in the journal that are no entry are left out, said in the log, and hold nothing up.
    """
    append(journal, entry_of(Note("find")))
    journal.append("a", "logs", b"[1, 2]", "odd")
    append(journal, entry_of(Note("sql")))

    EntryLoader(store, journal).load_all()

    assert [row[0] for row in rows(store)] == ["find", "sql"]


def test_log_outlives_its_process(store: Store, tmp_path: Path) -> None:
    """
    An entry whose future is done is in the journal's files: another process that opens them after
    the first was lost stores it.
    """
    log = AccessLog(tmp_path / "access", tmp_path / "keys", ROOMY)
    entry = entry_of(log.note("explain"))
    log.submit(entry).result(10)
    shutil.copytree(tmp_path / "access", tmp_path / "copy")  # what a SIGKILL would leave
    log.close()

    journal = Inbox(tmp_path / "copy", journal_settings(ROOMY))
    try:
        EntryLoader(store, journal).load_all()
    finally:
        journal.close()

    assert rows(store) == [("explain", 2, 200, "ok")]


def test_close_stores_what_is_left(store: Store, tmp_path: Path) -> None:
    """
    A stop leaves nothing in the journal that is not a row.
    """
    log = AccessLog(tmp_path / "access", tmp_path / "keys", ROOMY)
    log.start(store)
    log.submit(entry_of(log.note("explain"))).result(10)

    assert log.close()

    assert rows(store) == [("explain", 2, 200, "ok")]


def test_governing_is_one_call(store: Store, tmp_path: Path) -> None:
    """
    Decisions are logged by one call, accepted or refused, with their sender's key; once, however
    often they are sent.
    """
    log = AccessLog(tmp_path / "access", tmp_path / "keys", ROOMY)
    log.start(store)
    for _ in range(2):
        log.governed(EDGE, project="a", count=3, batch="one").result(10)
    log.governed(EDGE, project="a", count=1, batch="two", is_refused=True).result(10)
    assert log.settle(10)
    log.close()

    found = store.query(
        "SELECT project, actor, label, action, rows, outcome FROM access_log ORDER BY access_id"
    ).rows
    assert found == [
        ("a", "0123456789ab", "edge", "govern", 3, "ok"),
        ("a", "0123456789ab", "edge", "govern", 1, "refused"),
    ]


def test_digests_stay_the_same(tmp_path: Path) -> None:
    """
    A restart has the same key of digests, for its owner alone; another collector has another.
    """
    first = AccessLog(tmp_path / "access", tmp_path / "keys", ROOMY)
    said = first.digest("jane")
    first.close()
    second = AccessLog(tmp_path / "access", tmp_path / "keys", ROOMY)
    other = AccessLog(tmp_path / "other", tmp_path / "other-keys", ROOMY)
    try:
        assert second.digest("jane") == said
        assert other.digest("jane") != said
        assert (tmp_path / "keys" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    finally:
        second.close()
        other.close()


def test_damaged_key_is_told(tmp_path: Path) -> None:
    """
    A digest key of another length is no key: the collector says so and does not start.
    """
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / KEY_FILE).write_bytes(b"short")

    with pytest.raises(ConfigurationError, match="a digest key has 32 bytes"):
        AccessLog(tmp_path / "access", tmp_path / "keys", ROOMY)


def test_floor_is_half_of_the_inboxs(tmp_path: Path) -> None:
    """
    The log takes entries on a disk on which exports are refused, and stops before it is full.
    """
    space = shutil.disk_usage(tmp_path).free
    short = InboxSettings(disk_floor_bytes=space + space // 2)
    shorter = InboxSettings(disk_floor_bytes=3 * space)

    inbox = Inbox(tmp_path / "inbox", short)
    log = AccessLog(tmp_path / "access", tmp_path / "keys", short)
    full = AccessLog(tmp_path / "full", tmp_path / "keys", shorter)
    try:
        with pytest.raises(InboxFullError):
            inbox.append("a", "logs", b"x", "1")
        log.submit(entry_of(log.note("explain"))).result(10)
        with pytest.raises(InboxFullError):
            full.submit(entry_of(full.note("explain")))
    finally:
        for one in (inbox, log, full):
            one.close()


def test_others_see_no_row_even_past_the_gate(store: Store, journal: Inbox) -> None:
    """
    A reader of somebody who is no admin gets no row of the log, should a statement name it after
    all; the gate refuses it with the words it has for a table that is not there.
    """
    note = Note("find")
    note.project = "a"
    append(journal, entry_of(note))
    EntryLoader(store, journal).load_all()
    pool = ReaderPool(store)
    hidden = frozenset({"access_log"})
    gate = Gate(store, pool, hidden=hidden)

    def count(closed: frozenset[str]) -> bytes:
        settings = reader_settings(
            Limits(),
            database=store.database,
            tables=gate.catalog.tables | {"access_log"},
            project="a",
            hidden=closed,
        )
        with pool.reader(settings) as session:
            return session.raw("SELECT count() FROM access_log", None, "TSV")

    assert (count(frozenset()), count(hidden)) == (b"1\n", b"0\n")
    assert "access_log" not in gate.catalog.tables
    pool.close()


def test_closed_collector_answers_nothing(tmp_path: Path) -> None:
    """
    Before a collector's start and after its stop there is no log, and so no answer but 503.
    """
    client = TestClient(build_app(CollectorConfig(store=f"chdb://{tmp_path / 'store'}")))
    with client:
        opened = client.get("/api/v1/requests").status_code

    answer = client.get("/api/v1/requests")

    assert opened == 200
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not-open")


def test_segment_reader_stops_at_damage(journal: Inbox) -> None:
    """
    A frame that is not what was written ends the reading: a damaged entry is never taken for one.
    """
    append(journal, *(entry_of(Note("find")) for _ in range(3)))
    intent = journal.take(max_age_s=0.0)
    assert intent is not None
    whole = intent.path.read_bytes()
    assert len(list(entries_of(intent.path))) == 3

    intent.path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])

    assert len(list(entries_of(intent.path))) == 2
    intent.path.write_bytes(whole[:-1])
    assert len(list(entries_of(intent.path))) == 2
