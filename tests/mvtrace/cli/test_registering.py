"""Registering through a real collector, and asking it or its store with parameters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import collector
from stored import new_store

from mvtrace.cli.registering import asker, register
from mvtrace.registry.entries import entry_of
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError
from mvtrace.registry.reading import entries, entry_named

HOSTILE = "a\tb\n'c\\d\\'\0 ü"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registering")
    new_store(f"chdb://{folder / 'store'}").close()
    with collector(folder) as one:
        yield one.url


def test_what_is_registered_is_there_at_once(url: str) -> None:
    """
    The call returns when the store has it; by then digest, its beginning and name find it.
    """
    older, newer = (entry_of("dataset", {"name": "tickets", "rows": rows}) for rows in (1, 2))
    assert register([older], url=url) == 1
    assert register([newer, older], url=url) == 2
    ask = asker(url, None)

    assert entries(ask, "dataset", [older.digest, newer.digest]) == {
        older.digest: older,
        newer.digest: newer,
    }
    for text in (older.digest, older.digest[7:15], str(older.ref)):
        assert entry_named(ask, "dataset", text) == older
    assert entry_named(ask, "dataset", "tickets") in (older, newer)
    with pytest.raises(EntryNotFoundError) as missing:
        entry_named(ask, "suite", older.digest)
    assert missing.value.message == f"No suite {older.digest!r} is registered."


@pytest.mark.parametrize("value", [HOSTILE, "", "\\N", "{x:String}", "'"])
def test_parameters_arrive_as_they_are(url: str, value: str) -> None:
    """
    A text is bound as it is, alone and in a list, whatever it holds.
    """
    ask = asker(url, None)

    (row,) = ask(
        "SELECT {one:String} AS one, {many:Array(String)} AS many, {n:UInt8} AS n, "
        "{project:String} AS project",
        {"one": value, "many": [value, "x"], "n": 7},
    )

    assert row == {"one": value, "many": [value, "x"], "n": 7, "project": "default"}


def test_a_store_answers_as_its_collector_does(tmp_path: Path) -> None:
    """
    Read directly, a store gives the same rows for the same parameters.
    """
    new_store(f"chdb://{tmp_path / 'store'}").close()

    (row,) = asker(None, f"chdb://{tmp_path / 'store'}")(
        "SELECT {one:String} AS one, {many:Array(String)} AS many",
        {"one": HOSTILE, "many": [HOSTILE]},
    )

    assert row == {"one": HOSTILE, "many": [HOSTILE]}
    assert "MVTRACE_PROJECT" not in os.environ


def test_a_beginning_of_several_is_told(url: str) -> None:
    """
    Digits that several digests start with name none of them, and all are listed.
    """
    ask = asker(url, None)
    first = entry_of("suite", {"name": "billing"})
    register([first], url=url)

    def twice(sql: str, parameters: object) -> list[dict[str, object]]:
        """What a store with two such digests answers: none can be made to order."""
        return [{"digest": one, "name": "n", "body": "{}"} for one in ("sha256:1", "sha256:2")]

    assert entry_named(ask, "suite", "billing") == first
    with pytest.raises(AmbiguousEntryError) as several:
        entry_named(twice, "suite", first.digest[7:15])
    assert several.value.message.splitlines()[1:] == ["  sha256:1 n", "  sha256:2 n"]
