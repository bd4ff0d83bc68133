"""How far a component, a drift or a request's state reaches; and what drift is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from stored import Filler, drifted, new_store
from story import REINDEXED, SECOND, SYSTEM, part, record, request_id

from mvtrace.cli.drift import affected_words, drift_words, listed_words
from mvtrace.errors import (
    AmbiguousDriftError,
    ComponentNotFoundError,
    DriftNotFoundError,
    FilterError,
    RequestNotFoundError,
)
from mvtrace.explain.drift import Episode, Key
from mvtrace.records import Alias, Drift, ObservedComponent, RequestRecord
from mvtrace.store import Store
from mvtrace.store.affected import AffectedFilter, Affects, parse_affected_filter
from mvtrace.store.drift import Drift as Drifts
from mvtrace.store.drift import DriftFilter, parse_drift_filter
from mvtrace.store.reader import Reader
from mvtrace.store.statements import FOLDER, Statements, statement

INDEX = SYSTEM.part("index/faq").digest
PROMPT = SYSTEM.part("prompt/answer").digest
SHORTER = SECOND.part("prompt/answer").digest
UNDECLARED = part("tools", "search", {"name": "search"}).digest


def reindexed(number: int, **changes: Any) -> RequestRecord:
    """Return the record of a request that met the index as it was not declared."""
    note = Drift(kind="index", name="faq", what="digest", expected=INDEX, observed=REINDEXED.digest)
    seen = ObservedComponent(kind="index", name="faq", digest=REINDEXED.digest)
    changes |= {"drift": (note,), "observed": (seen,)}
    made: RequestRecord = record(number, index=REINDEXED.digest, **changes)
    return made


def subject(name: str) -> tuple[Alias, ...]:
    return (Alias(kind="subject", value=f"hmac-sha256:1:{name}"),)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """0 and 1 as declared, 2 and 3 with another index, 4 of a later version, 5 with a tool."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('affected') / 'store'}") as made:
        fill = Filler(made)
        fill.system()
        fill.system(SECOND)
        tool = ObservedComponent(kind="tools", name="search", digest=UNDECLARED)
        note = Drift(kind="tools", name="other", what="digest", expected="x", observed="y")
        for one in (
            record(0, aliases=subject("ada")),
            record(1, aliases=subject("ben")),
            reindexed(2, aliases=subject("ada")),
            reindexed(3, aliases=()),
            record(4, composite_version=SECOND.version, aliases=()),
            record(
                5,
                composite_version=None,
                observed=(tool,),
                drift=(note,),
                aliases=(),
                index_snapshots=(),
            ),
        ):
            fill.request(one, with_spans=False)
        fill.drift(service="support")
        Filler(made, "other").system()
        Filler(made, "other").request(record(7))
        yield made


@pytest.fixture(scope="module")
def affects(store: Store) -> Affects:
    return Affects(Statements(store, "default"), Reader(store, "default"))


def reach(affects: Affects, store: Store, target: str, **changes: Any) -> list[int]:
    """Return the numbers of the affected requests; count and SQL must say the same."""
    found = affects.find(AffectedFilter(target=target, is_listed=True, limit=100, **changes))
    ids = [str(one["request_id"]) for one in found["listed"]]
    assert found["requests"] == len(ids) == sum(one["requests"] for one in found["versions"])
    assert [row[0] for row in store.query(found["sql"]).rows] == ids
    return [number for number in range(10) if request_id(number) in ids]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("index/faq", [0, 1, 2, 3, 4]),
        (f"index/faq@{INDEX}", [0, 1, 4]),
        (f"index/faq@{INDEX[:20]}", [0, 1, 4]),
        (INDEX, [0, 1, 4]),
        (REINDEXED.digest, [2, 3]),
        (PROMPT, [0, 1, 2, 3]),
        (f"prompt/answer@{SHORTER}", [4]),
        (UNDECLARED, [5]),
        (f"tools/search@{UNDECLARED}", [5]),
        (request_id(0), [0, 1]),
        (f"request:{request_id(3)}", [2, 3]),
        (request_id(4), [4]),
        (request_id(5), [5]),
    ],
)
def test_reach(affects: Affects, store: Store, target: str, expected: list[int]) -> None:
    """
    A component reaches the requests that it served and no others, a request's state those that the
    same state answered; count, list and SQL are the same.
    """
    assert reach(affects, store, target) == expected


def test_a_time_range_narrows_the_reach(affects: Affects, store: Store) -> None:
    """
    Only requests of the range count.
    """
    since = int(request_id(1).replace("-", "")[:12], 16)

    assert reach(affects, store, "index/faq", since_ms=since, until_ms=since + 2500) == [1, 2, 3]


def test_users_are_counted_by_their_digests(affects: Affects) -> None:
    """
    One user of several requests is one; requests that name nobody are told apart.
    """
    found = affects.find(AffectedFilter(target="index/faq"))

    assert (found["requests"], found["users"], found["requests_with_user"]) == (5, 2, 3)
    assert "users   2; 2 requests without a subject" in affected_words(found)
    nobody = affects.find(AffectedFilter(target=request_id(4)))
    assert "not known: no request names a subject" in affected_words(nobody)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("index/nothing", ComponentNotFoundError),
        ("sha256:" + "9" * 64, ComponentNotFoundError),
        ("sha256:" + "9" * 8, ComponentNotFoundError),
        ("drift:99999999", DriftNotFoundError),
        ("99999999", DriftNotFoundError),
        ("drift:xyz", FilterError),
        (request_id(9), RequestNotFoundError),
        ("9" * 32, RequestNotFoundError),
    ],
)
def test_what_is_not_there(affects: Affects, target: str, error: type[Exception]) -> None:
    """
    What nobody knows is said to be unknown, by what it was taken for.
    """
    with pytest.raises(error):
        affects.find(AffectedFilter(target=target))


def test_messages() -> None:
    """
    Each says what was asked for and what can be done.
    """
    unknown = ComponentNotFoundError("index/x", [])
    assert unknown.message == "No version and no request holds the component 'index/x'."
    several = ComponentNotFoundError("sha256:0", ["sha256:01", "sha256:02"])
    assert several.message == "2 components start with 'sha256:0':\n  sha256:01\n  sha256:02"
    assert DriftNotFoundError("ab").message == "No drift is known by 'ab'."
    both = AmbiguousDriftError("ab", ["ab1", "ab2"])
    assert both.message == "Several drifts start with 'ab':\n  ab1\n  ab2"


def test_drift_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    """
    Eight digits are enough, where they are one drift's.
    """
    drift = Drifts(Statements(store, "default"))
    one = drifted("default", "support")

    assert drift.named(one.id[:8]) == one
    assert drift.listed(DriftFilter(service="support", only_open=True)) == (one,)
    assert drift.listed(DriftFilter(kind="model")) == ()
    assert Drifts(Statements(store, "other")).listed(DriftFilter()) == ()


def test_every_statement_names_the_project() -> None:
    """
    Also put together each table that is read is read of one project.
    """
    for inner in FOLDER.glob("affected_by_*.sql"):
        for outer in (FOLDER / "affected").glob("*.sql"):
            sql = outer.read_text("utf-8").replace("{affected}", statement(inner.stem))
            tables = re.findall(r"\bFROM\s+(\w+)", re.sub(r"--.*", "", sql))
            assert sql.count("project = {project:String}") == len(tables) > 0, (inner, outer)


@pytest.mark.parametrize(
    "texts",
    [{"limit": "0"}, {"id": ""}, {"id": "\x1b"}, {"id": "a", "list": "2"}, {"id": "a", "x": "1"}],
)
def test_filters_that_mean_nothing_are_refused(texts: dict[str, str]) -> None:
    """
    A key or a value that means nothing is an error, not an empty answer.
    """
    with pytest.raises(FilterError):
        parse_affected_filter(texts, now_ms=0)
    with pytest.raises(FilterError):
        parse_drift_filter({"open": "maybe", **texts}, now_ms=0)


EPISODE = Episode(
    project="default",
    key=Key("support", "prod", "index", "faq", "digest", INDEX, REINDEXED.digest),
    first=request_id(0).replace("-", ""),
    last=request_id(3).replace("-", ""),
    requests=1204,
    ended_by=request_id(4).replace("-", ""),
)


def test_a_drift_in_words() -> None:
    """
    One line a drift says slot, values, how many requests and exactly when.
    """
    lines = drift_words({"drift": [EPISODE.to_dict()], "limit": 1}).splitlines()

    assert re.split(r" {3,}", lines[1]) == [
        *(EPISODE.id[:12], "support", "prod", "index/faq", "digest"),
        *(INDEX[:19], REINDEXED.digest[:19], "1,204"),
        *("2026-08-22 11:02:07", "2026-08-22 11:02:10", "ended"),
    ]
    assert lines[3] == "(the latest 1; --limit shows more)"
    assert drift_words({"drift": [], "limit": 1}) == "No drift is known.\n"
    assert EPISODE.sentence() == (
        f"index faq: digest {REINDEXED.digest[:19]}, declared is {INDEX[:19]}; 1,204 requests from "
        "2026-08-22 11:02:07.123 to 2026-08-22 11:02:10.123 UTC; met otherwise since."
    )


def test_a_list_in_words(affects: Affects) -> None:
    """
    The ids stand alone on their lines, and what is left out is told.
    """
    found = affects.find(AffectedFilter(target="index/faq", is_listed=True, limit=2))

    assert listed_words(found) == (
        f"{request_id(0)}\n{request_id(1)}\n\n(the first 2 of 5; --limit)\n"
    )
