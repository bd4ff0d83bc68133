"""What an entry of the access log keeps of a request, and what it does not."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.tables import AccessRow
from mvtrace_collector.access_log_entry import (
    Entry,
    Note,
    asked_key,
    asked_word,
    audited,
    filter_words,
    outcome_of,
)
from mvtrace_collector.access_log_guard import Allowance, ClientAddress, client_of
from mvtrace_collector.access_log_sql import kept_statement, literal_word
from mvtrace_collector.keys import ANYBODY, STATIC, Identity

REQUEST = "01a02922-9413-7000-8000-000000000001"


def digest(text: str) -> str:
    """A digest that tests can read: the text's length, never the text."""
    return f"hmac-sha256:0000abcd:{len(text):016x}{0:048x}"


def entry_of(note: Note, status: int = 200) -> Entry:
    return note.entry(status=status, size=12)


@given(st.text(max_size=40), st.one_of(st.none(), st.integers(0, 2**62)))
def test_entry_survives_the_journal(text: str, rows: int | None) -> None:
    """
    Entry.from_bytes(entry.to_bytes()) == entry, and its row has the columns of the table.
    """
    note = Note("find")
    note.asked, note.rows = text.encode("utf-8", "replace").decode(), rows
    entry = entry_of(note)

    assert Entry.from_bytes(entry.to_bytes()) == entry
    row = AccessRow(*entry.to_row())
    assert (row.action, row.rows, row.bytes) == ("find", rows, 12)
    assert row.time.tzinfo is UTC
    assert abs((datetime.now(UTC) - row.time).total_seconds()) < 10


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"id": 1}', b"[1, 2, 3]"])
def test_bytes_that_are_no_entry(raw: bytes) -> None:
    """
    What is no entry is a ValueError, whatever it is.
    """
    with pytest.raises(ValueError):
        Entry.from_bytes(raw)


def test_actor() -> None:
    """
    The actor is a key's id with its label, and a word where there is none.
    """
    note = Note("explain")
    note.claimed = "0123456789ab"
    seen = [entry_of(note)[4:6]]
    for identity in (ANYBODY, STATIC, Identity("0123456789ab", frozenset(), ("a",), "edge")):
        note.identity = identity
        seen.append(entry_of(note)[4:6])

    assert seen == [
        ("unknown", "0123456789ab"),
        ("open", ""),
        ("static", ""),
        ("0123456789ab", "edge"),
    ]


@pytest.mark.parametrize(
    ("projects", "named", "kept"),
    [(("a",), "", "a"), (("a", "b"), "", "*"), (("*",), "", "*"), (("a", "b"), "b", "b")],
)
def test_project(projects: tuple[str, ...], named: str, kept: str) -> None:
    """
    An entry belongs to the project that was asked, to the key's only one, else to none.
    """
    note = Note("find")
    note.identity, note.project = Identity("0123456789ab", frozenset(), projects), named

    assert entry_of(note).project == kept


def test_status_tells_begun_from_answered() -> None:
    """
    An entry without a status is of the first revision, one with a status replaces it.
    """
    note = Note("erase")

    assert [(one.revision, one.outcome) for one in (entry_of(note, 0), entry_of(note, 200))] == [
        (1, "begun"),
        (2, "ok"),
    ]
    words = [outcome_of(status) for status in (201, 400, 401, 403, 404, 409, 413, 500, 503)]
    assert words == [
        *("ok", "wrong-use", "unauthenticated", "refused", "not-found", "conflict", "wrong-use"),
        *("failed", "failed"),
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (REQUEST, REQUEST),
        (REQUEST.replace("-", "").upper(), REQUEST),
        (f"request:{REQUEST}", REQUEST),
        ("", ""),
        ("jane@example.com", digest("jane@example.com")),
        ("x-request-id:order-17", digest("order-17")),
        ("two\nlines", digest("two\nlines")),
        ("x" * 2000, digest("x" * 2000)),
    ],
)
def test_asked_id(text: str, kept: str) -> None:
    """
    A request's own id is kept in one spelling; any other id may be a person's, so it is a digest.
    """
    assert asked_word(text, digest) == kept


def test_asked_key() -> None:
    """
    A key's id is kept; what is none is a digest, should it be a whole key.
    """
    assert asked_key("0123456789ab", digest) == "0123456789ab"
    assert asked_key("mvt_0123456789ab_secret", digest) == digest("mvt_0123456789ab_secret")


def test_filter() -> None:
    """
    Of a filter the names are kept, and values of those that name no person.
    """
    given_filter = {"since": "6h", "conversation": "jane", "service": "a@b", "&odd name": "x"}

    assert filter_words(given_filter, digest) == (
        f"conversation={digest('jane')} service={digest('a@b')} since=6h"
    )


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/api/v1/explanation", "explain"),
        ("HEAD", "/api/v1/explanation", "explain"),
        ("POST", "/sql", "sql"),
        ("GET", "/sql/", "sql"),
        ("POST", "/api/v1/keys/0123456789ab/revoke", "key-revoke"),
        ("POST", "/api/v1/erasures", "erase"),
        ("DELETE", "/api/v1/access", "other"),
        ("GET", "/a/page/of/tomorrow", "other"),
        ("GET", "/metrics", None),
        ("GET", "/readyz", None),
        ("POST", "/v1/logs", None),
        ("POST", "/api/v1/scores", None),
    ],
)
def test_every_path_but_a_few_is_an_access(method: str, path: str, action: str | None) -> None:
    """
    How the collector is and what is sent to it is no access; everything else is, known or not.
    """
    found = audited(method, path)

    assert (found and found.action) == action


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT a  FROM b\n LIMIT 100", "SELECT a FROM b LIMIT 100"),
        ("SELECT 'jane'", f"SELECT '{literal_word('jane', digest)}'"),
        ("SELECT 'it\\'s', 'a''b'", "SELECT 'hmac:0000000000000005', 'hmac:0000000000000004'"),
        (f"SELECT '{REQUEST}', ''", f"SELECT '{REQUEST}', ''"),
        ("SELECT '2026-11-23 10:00', '1980-05-17'", "SELECT '2026-11-23 10:00', 'hmac:000000000000000a'"),
        ("SELECT 491701234567", "SELECT hmac:000000000000000c"),
        ("SELECT 0xDEADBEEF12345678", "SELECT hmac:0000000000000012"),
        ("SELECT $k$jane$k$", "SELECT 'hmac:0000000000000004'"),
        ("SELECT \u2018jane\u2019", "SELECT 'hmac:0000000000000004'"),
        ("SELECT 1 AS `jane@x.org`", "SELECT 1 AS `hmac:000000000000000c`"),
        ('SELECT "a.b"', "SELECT `a.b`"),
        ("SELECT 1 -- jane", "SELECT 1"),
        ("SELECT 1 /* jane", "SELECT 1"),
        ("SELECT 'jane", "SELECT …"),
        ("SELECT ünder", "SELECT …"),
        ("SELECT {name:String}", "SELECT {name:String}"),
    ],
)  # fmt: skip
def test_statement(sql: str, kept: str) -> None:
    """
    A statement keeps its words; literals, comments and odd names do not stay.
    """
    assert kept_statement(sql, digest) == kept


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=7, max_size=19))
def test_no_literal_stays(secret: str) -> None:
    """
    Whatever stands in a string literal, an entry does not have it.
    """
    literal = secret.replace("\\", "\\\\").replace("'", "\\'")

    kept = kept_statement(f"SELECT * FROM requests WHERE route = '{literal}' AND 1", digest)

    word = f"hmac:{len(literal):016x}"
    assert kept == f"SELECT * FROM requests WHERE route = '{word}' AND 1"


def test_large_statement_costs_little() -> None:
    """
    A statement made to be slow to read is read in a pass.
    """
    began = time.process_time()
    for sql in ("/*" * 100_000, "'" * 100_001, "$a" * 100_000, "`" * 99_999, "1." * 100_000):
        assert kept_statement(sql, digest)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("kind", "header", "address"),
    [
        ("peer", b"192.0.2.7", "10.0.0.1"),
        ("none", b"192.0.2.7", ""),
        ("forwarded", b"203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("forwarded", b"<script>", ""),
        ("forwarded", None, "10.0.0.1"),
    ],
)
def test_client_address(kind: ClientAddress, header: bytes | None, address: str) -> None:
    """
    The address is the connection's, the one the proxy added, or none.
    """
    headers = [] if header is None else [(b"x-forwarded-for", header)]

    assert client_of({"type": "http", "client": ("10.0.0.1", 5), "headers": headers}, kind) == (
        address
    )


def test_allowance() -> None:
    """
    So many a minute, and as many in the next.
    """
    clock = [0.0]
    allowance = Allowance(2, now=lambda: clock[0])

    first = [allowance.takes() for _ in range(4)]
    clock[0] = 61.0

    assert first == [True, True, False, False]
    assert allowance.takes()
