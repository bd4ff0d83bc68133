"""Applying a plan: killed anywhere and run again it comes to the same end, and takes nothing kept."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retention_book import (
    Book,
    BookKeeper,
    Killed,
    Moments,
    apply,
    digest_of_files,
    killing,
)
from retention_histories import NOW

from mvtrace.registry.deployments import serving_at
from mvtrace.registry.retention.applying import Applying
from mvtrace.registry.retention.places import Storage
from mvtrace.registry.retention.planning import plan as planned
from mvtrace.registry.retention.planning import roots_of
from mvtrace.registry.retention.plans import Plan
from mvtrace.registry.retention.tombstones import latest
from mvtrace.registry.retention.values import DAY_NS, Known, Place, Policy, Version

OLD = NOW - 90 * DAY_NS
Files = dict[str, bytes]
STOCK: dict[str, Files] = {
    "single": {".": b"weights"},
    "folder": {"a.bin": b"1", "b/c.bin": b"22", "b/d.bin": b"333"},
    "shared": {"x": b"4444", "y": b"55555"},
}
NAMES = tuple(STOCK)
counter = itertools.count()


def version_of(number: int) -> str:
    return f"{number:064x}"


def book_of(base: str) -> Book:
    """Three versions: of each model one, and the third also needs the first's."""
    digests = [digest_of_files(STOCK[name]) for name in NAMES]
    places = [
        Place(digest, f"{base}/{name}", 1, OLD) for name, digest in zip(NAMES, digests, strict=True)
    ]
    components = [f"c{number:063x}" for number in range(3)]
    mentions = {one: frozenset({digest}) for one, digest in zip(components, digests, strict=True)}
    mentions[components[2]] |= {digests[0]}
    versions = {
        version_of(number): Version(frozenset({components[number]}), OLD) for number in range(3)
    }
    return Book(Known(places=tuple(places), mentions=mentions, versions=versions), {})


def stock(base: str) -> None:
    """Write the files of all models below *base*."""
    system, path = fsspec.core.url_to_fs(base)
    for name, files in STOCK.items():
        for inner, body in files.items():
            full = f"{path}/{name}" + ("" if inner == "." else f"/{inner}")
            system.makedirs(full.rpartition("/")[0], exist_ok=True)
            system.pipe_file(full, body)


def there(base: str) -> dict[str, bytes]:
    """Return every file below *base*."""
    system, path = fsspec.core.url_to_fs(base)
    found = system.find(path) if system.exists(path) else []
    return {one.lstrip("/")[len(path.lstrip("/")) :]: system.cat_file(one) for one in found}


def folders(base: str) -> list[str]:
    """Return every folder below *base*."""
    system, path = fsspec.core.url_to_fs(base)
    return [one for one in system.find(path, withdirs=True) if system.isdir(one) and one != path]


def plan_of(book: Book, base: str) -> Plan:
    policy = Policy(window_ns=30 * DAY_NS, roots=(base,))
    verdicts = tuple(planned(book.known, policy, NOW))
    return Plan(project="p", made_at="2026-01-01T00:00:00Z", policy=policy, verdicts=verdicts)


def end_of(book: Book, base: str) -> object:
    """Return all that an interruption must not change."""
    steps = {
        (artifact, uri.removeprefix(base)): (one.action, one.rule, one.reason, one.size)
        for (artifact, uri), one in latest(book.known.tombstones).items()
    }
    return there(base), folders(base), steps


def run(base: str, *moments: Callable[[int], None]) -> tuple[Book, list[int]]:
    """Apply one plan again and again, as often as there are *moments*; the last one ends it."""
    stock(base)
    book = book_of(base)
    plan = plan_of(book, base)
    roots = roots_of(plan.policy)
    passed = []
    for at in moments:
        clock = Moments(at)
        with contextlib.suppress(Killed):
            apply(plan, book, roots, clock)
        passed.append(clock.number)
    return book, passed


def nothing(number: int) -> None:
    """Let the moment pass."""


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_killed_at_any_moment_and_run_again_it_ends_the_same(scheme: str, tmp_path: Path) -> None:
    """
    Every moment of a run, on files of this host and in memory: the end is that of one whole run.
    """

    def fresh() -> str:
        place = f"{next(counter)}/models"
        if scheme == "memory":
            return f"memory://{place}"
        return (tmp_path / place).as_uri()

    base = fresh()
    book, (moments,) = run(base, nothing)
    expected = end_of(book, base)
    assert (there(base), folders(base)) == ({}, [])
    assert {one.action for one in latest(book.known.tombstones).values()} == {"collected"}
    assert moments > 30

    for number in range(moments):
        base = fresh()
        book, (passed, _) = run(base, killing(number), nothing)
        assert passed == number + 1
        assert end_of(book, base) == expected, number


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_killed_several_times_it_ends_the_same(kills: list[int]) -> None:
    """
    Killed again while it ends what was interrupted, it still comes to the same end.
    """
    base, other = (f"memory://{next(counter)}/models" for _ in range(2))
    whole, _ = run(base, nothing)
    book, _ = run(other, *map(killing, kills), nothing)

    assert end_of(book, other) == end_of(whole, base)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 60), st.tuples(st.integers(0, 2), st.sampled_from(["prod", "dev"]))
    ),
    st.lists(st.integers(0, 40), max_size=2),
)
def test_what_is_deployed_meanwhile_keeps_its_artifacts(
    deployments: dict[int, tuple[int, str]], kills: list[int]
) -> None:
    """
    Deployments arrive at any moment and the run is killed at others: whatever serves at any moment
    has every byte of its artifacts.
    """
    base = f"memory://{next(counter)}/models"
    stock(base)
    book = book_of(base)
    plan = plan_of(book, base)

    def check() -> None:
        files = there(base)
        targets = {one.decision.environment for one in book.known.deployments}
        for environment in targets:
            decisions = [
                one for one in book.known.deployments if one.decision.environment == environment
            ]
            serving = serving_at(decisions).version
            for number, name in ((0, "single"), (1, "folder"), (2, "shared"), (2, "single")):
                if serving == version_of(number):
                    for inner, body in STOCK[name].items():
                        full = f"/{name}" if inner == "." else f"/{name}/{inner}"
                        assert files.get(full) == body, (serving, full)

    def arrive(number: int) -> None:
        if number in deployments:
            which, environment = deployments[number]
            book.deploy(version_of(which), environment)
        check()

    for kill in [*kills, 10**6]:

        def at(number: int, last: int = kill) -> None:
            arrive(number)
            if number == last:
                raise Killed

        try:
            apply(plan, book, roots_of(plan.policy), Moments(at))
        except Killed:
            continue
    check()


def test_what_another_wrote_there_meanwhile_stays() -> None:
    """
    Interrupted after its first file; what lies there by then and is not the artifact's stays.
    """
    base = f"memory://{next(counter)}/models"
    stock(base)
    book = book_of(base)
    plan = plan_of(book, base)
    roots = roots_of(plan.policy)
    system = fsspec.filesystem("memory")
    number = next(
        number for number in range(40) if _is_half_gone(f"memory://{next(counter)}/models", number)
    )
    with pytest.raises(Killed):
        apply(plan, book, roots, Moments(killing(number)))
    path = base.removeprefix("memory://")
    system.pipe_file(f"/{path}/folder/b/c.bin", b"somebody else's")
    system.pipe_file(f"/{path}/folder/new.bin", b"new")

    outcomes = {one.verdict.place.uri: one for one in apply(plan, book, roots, Moments(nothing))}

    ended = outcomes[f"{base}/folder"]
    assert (ended.outcome, ended.left) == ("collected", 2)
    assert there(base) == {"/folder/b/c.bin": b"somebody else's", "/folder/new.bin": b"new"}


def _is_half_gone(base: str, number: int) -> bool:
    """Whether a run killed at that moment leaves a part of the folder."""
    run(base, killing(number))
    return 0 < sum("/folder/" in path for path in there(base)) < len(STOCK["folder"])


def test_what_is_not_the_artifact_is_left_alone() -> None:
    """
    Other bytes, a file more, a file less, nothing at all: nothing is removed and nothing is said.
    """
    base = f"memory://{next(counter)}/models"
    stock(base)
    system = fsspec.filesystem("memory")
    path = base.removeprefix("memory://")
    system.pipe_file(f"/{path}/single", b"Weights")
    system.pipe_file(f"/{path}/folder/more.bin", b"")
    system.rm(f"/{path}/shared", recursive=True)
    book = book_of(base)
    plan = plan_of(book, base)
    before = there(base)

    outcomes = {
        one.verdict.place.uri.rpartition("/")[2]: one.outcome
        for one in apply(plan, book, roots_of(plan.policy), Moments(nothing))
    }

    assert outcomes == {"single": "foreign", "folder": "foreign", "shared": "absent"}
    assert there(base) == before
    assert book.known.tombstones == ()


def test_a_file_that_changes_after_it_was_hashed_is_kept() -> None:
    """
    Written anew between the hash and the removal: it stays, and the collection is taken back.
    """
    base = f"memory://{next(counter)}/models"
    stock(base)
    book = book_of(base)
    plan = replace_places(plan_of(book, base), base, "single")
    path = base.removeprefix("memory://")

    def at(number: int) -> None:
        if any(one.action == "collect" for one in book.known.tombstones):
            fsspec.filesystem("memory").pipe_file(f"/{path}/single", b"weights")

    (outcome,) = apply(plan, book, roots_of(plan.policy), Moments(at))

    assert (outcome.outcome, outcome.why) == ("foreign", ". changed since it was hashed")
    assert there(base)["/single"] == b"weights"
    assert [one.action for one in book.known.tombstones] == ["collect", "release"]


def test_what_cannot_be_removed_is_released() -> None:
    """
    The storage refuses before anything went: the collection is taken back, for deployments to go on.
    """
    base = f"memory://{next(counter)}/models"
    stock(base)
    book = book_of(base)
    plan = replace_places(plan_of(book, base), base, "folder")

    (outcome,) = apply(plan, book, roots_of(plan.policy), Moments(failing_once(book)))

    assert (outcome.outcome, outcome.why) == ("failed", "Permission denied")
    assert len(there(base)) == 6
    assert [one.action for one in book.known.tombstones] == ["collect", "release"]
    assert book.deploy(version_of(1), "dev") is True


def test_what_may_have_been_removed_is_not_released() -> None:
    """
    The storage fails and has removed all the same: nothing is deployed of it, and the next run
    ends what was begun.
    """
    base = f"memory://{next(counter)}/models"
    stock(base)
    book = book_of(base)
    plan = replace_places(plan_of(book, base), base, "folder")
    lost = f"{base.removeprefix('memory:/')}/folder/a.bin"
    at = failing_once(book, lambda: fsspec.filesystem("memory").rm_file(lost))

    (outcome,) = apply(plan, book, roots_of(plan.policy), Moments(at))

    assert (outcome.outcome, outcome.why) == ("failed", "Permission denied")
    assert [one.action for one in book.known.tombstones] == ["collect"]
    assert book.deploy(version_of(1), "dev") is False
    (ended,) = apply(plan, book, roots_of(plan.policy), Moments(nothing))
    assert ended.outcome == "collected"


def failing_once(book: Book, first: Callable[[], None] = lambda: None) -> Callable[[int], None]:
    """Return what has the first removal fail, after it did *first*."""
    moments: list[int] = []

    def at(number: int) -> None:
        if [one.action for one in book.known.tombstones] == ["collect"]:
            moments.append(number)
            if len(moments) == 2:  # the first is that the collection was stored
                first()
                raise PermissionError(errno.EACCES, "Permission denied")

    return at


def test_a_host_of_another_name_ends_what_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is told which host that was; saying so is believed while something of the artifact is left.
    """
    base = str(tmp_path / "models")
    stock(base)
    book = book_of(base)
    plan = replace_places(plan_of(book, base), base, "folder")
    monkeypatch.setattr("socket.gethostname", lambda: "first")
    with contextlib.suppress(Killed):
        apply(plan, book, roots_of(plan.policy), Moments(killing_after_collect(book)))
    monkeypatch.setattr("socket.gethostname", lambda: "second")

    def run_as(host: str) -> tuple[str, str]:
        storage = Storage(roots_of(plan.policy))
        keeper = BookKeeper(book, Moments(nothing))
        (one,) = Applying(plan=plan, keeper=keeper, storage=storage, host=host).run()
        return one.outcome, one.why

    told = "it was begun on the host first: run it there, or with --host first if this is it"
    assert run_as("") == ("failed", told)
    (tmp_path / "models/folder").rename(tmp_path / "away")
    missing = "nothing of it is here, so nothing shows that this is first: put it back"
    assert run_as("first") == ("failed", missing)
    (tmp_path / "away").rename(tmp_path / "models/folder")
    assert run_as("first") == ("collected", "")
    assert not (tmp_path / "models/folder").exists()


def killing_after_collect(book: Book) -> Callable[[int], None]:
    """Return what kills as soon as a collection is stored."""

    def at(number: int) -> None:
        if book.known.tombstones:
            raise Killed(number)

    return at


def replace_places(plan: Plan, base: str, name: str) -> Plan:
    kept = tuple(one for one in plan.verdicts if one.place.uri == f"{base}/{name}")
    return replace(plan, verdicts=kept)
