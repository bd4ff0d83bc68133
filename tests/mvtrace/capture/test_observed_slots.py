"""What a service that declares nothing is made of: slots settle, change, and become volatile."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mvtrace
from mvtrace.capture.observed_file import ObservedFile
from mvtrace.capture.observed_slots import (
    FORGOTTEN_AFTER_S,
    HOUR_S,
    MAX_DIGESTS,
    MAX_RETURNS,
    MAX_SLOTS,
    Seen,
    Slots,
)
from mvtrace.components import Component

NOW = 1_790_000_000.0


def template(name: str, text: str) -> Component:
    """A prompt's template."""
    return mvtrace.prompt(name, text)


def temperature(value: float) -> Component:
    """Sampling parameters."""
    return mvtrace.sampling("* answer", temperature=value)


def digests(slots: Slots) -> tuple[str, ...]:
    """What the slots hold; components that come from the file are without their texts."""
    return tuple(component.digest for component in slots.components())


def see(slots: Slots, *met: Component, at: float = NOW, began_at: float | None = None) -> Seen:
    """Let a request meet components."""
    return slots.see(met, began_at=at if began_at is None else began_at, now=at)


PARTS = [template(f"prompt {number}", f"text {number}") for number in range(6)]


def test_slot_stays_though_a_request_does_not_use_it() -> None:
    """
    A version is what the service is made of, not what one request used.
    """
    slots = Slots()
    see(slots, PARTS[0], PARTS[1])

    assert see(slots, PARTS[2]).components == tuple(PARTS[:3])
    assert see(slots).changes == ()


def test_change_is_told_once() -> None:
    """
    Another digest in a slot is a change of the request that met it first, and of no later one.
    """
    slots = Slots()
    before, after = template("p", "one"), template("p", "two")
    see(slots, before)

    (change,) = see(slots, after, at=NOW + 1).changes

    assert change == (("prompt", "p"), before.digest, after.digest, False)
    assert see(slots, after, at=NOW + 2) == ((after,), (), False)


def test_request_from_before_a_change_does_not_undo_it() -> None:
    """
    A request that began before the change is served by what it met, and changes nothing.
    """
    slots = Slots()
    before, after = template("p", "one"), template("p", "two")
    see(slots, before)
    see(slots, after, at=NOW + 5)

    late = see(slots, before, began_at=NOW + 1, at=NOW + 6)

    assert late == ((before,), (), False)
    assert slots.components() == (after,)


def test_more_than_twenty_digests_in_an_hour_are_volatile() -> None:
    """
    A template that carries the time says nothing about the system: it leaves the version, once.
    """
    slots = Slots()
    see(slots, PARTS[0])

    changes = [
        change
        for number in range(200)
        for change in see(slots, template("p", f"it is {number}"), at=NOW + number).changes
    ]

    assert [change.is_volatile for change in changes] == [*[False] * (MAX_DIGESTS - 1), True]
    assert slots.components() == (PARTS[0],)
    assert see(slots, template("p", "it is late"), at=NOW + 300).components == (PARTS[0],)


def test_a_digest_a_day_is_no_volatile_slot() -> None:
    """
    Changes that are rare are changes, however many there are in all.
    """
    slots = Slots()
    for number in range(3 * MAX_DIGESTS):
        see(slots, template("p", f"{number}"), at=NOW + number * HOUR_S)

    assert slots.components() == (template("p", f"{3 * MAX_DIGESTS - 1}"),)


def test_slot_that_goes_to_and_fro_is_volatile() -> None:
    """
    What each request chooses anew is not the state of the system; a rollback is.
    """
    slots = Slots()
    either = itertools.cycle([template("p", "one"), template("p", "two")])
    rolled_back = [see(slots, next(either), at=NOW + second) for second in range(3)]
    assert [len(seen.components) for seen in rolled_back] == [1, 1, 1]

    for second in range(3, 6 + MAX_RETURNS):
        see(slots, next(either), at=NOW + second)

    assert slots.components() == ()


def test_what_callers_choose_is_state_only_if_it_is_steady() -> None:
    """
    Sampling enters the version when it was the same three times in a row, and one caller with a
    temperature of its own makes no other version.
    """
    slots = Slots()
    own, callers = temperature(0.2), temperature(0.9)
    sizes = [len(see(slots, own, at=NOW + second).components) for second in range(3)]
    assert sizes == [0, 0, 1]

    for second in range(3, 40):
        seen = see(slots, callers if second % 3 else own, at=NOW + second)
        assert seen == ((own,), (), False)

    for second in range(40, 43):
        seen = see(slots, callers, at=NOW + second)
    assert seen.components == (callers,)


def test_slots_have_a_bound() -> None:
    """
    Names without end cost no memory without end: what finds no room is counted.
    """
    slots = Slots()
    for number in range(MAX_SLOTS + 10):
        see(slots, template(f"p{number}", "text"))

    assert (len(slots), slots.overflowed) == (MAX_SLOTS, 10)


@settings(max_examples=40)
@given(
    order=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, len(PARTS) - 1), st.booleans()), max_size=60
    )
)
def test_workers_settle(order: Sequence[tuple[int, int, bool]], tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    """
    Whatever requests reach which of four workers in which order, once they have exchanged what
    they know they know the same: everything that was met.
    """
    folder = tmp_path_factory.mktemp("spool")
    workers = [(Slots(), ObservedFile(folder, "s", None)) for _ in range(4)]
    for tick, (worker, part, exchanges) in enumerate(order):
        slots, file = workers[worker]
        see(slots, PARTS[part], at=NOW + tick)
        if exchanges:
            file.exchange(slots, NOW + tick)
    for _ in range(2):
        for slots, file in workers:
            file.exchange(slots, NOW + len(order))

    met = {part for _, part, _ in order}
    assert {digests(slots) for slots, _ in workers} == {
        tuple(PARTS[number].digest for number in sorted(met))
    }


def test_worker_learns_of_a_change_that_another_met(tmp_path: Path) -> None:
    """
    A change reaches the workers that have not met the slot since, and those only: during a rolling
    deployment the old ones keep telling what they serve.
    """
    before, after = template("p", "one"), template("p", "two")
    idle, busy, changed = Slots(), Slots(), Slots()
    files = [ObservedFile(tmp_path, "s", None) for _ in range(3)]
    for slots, file in zip((idle, busy, changed), files, strict=True):
        see(slots, before)
        file.exchange(slots, NOW)
    see(changed, after, at=NOW + 10)
    see(busy, before, at=NOW + 11)
    files[2].exchange(changed, NOW + 12)

    assert files[0].exchange(idle, NOW + 13)
    assert not files[1].exchange(busy, NOW + 14)
    assert (digests(idle), digests(busy)) == ((after.digest,), (before.digest,))


def test_restart_knows_what_was_known(tmp_path: Path) -> None:
    """
    A process that starts knows the slots of the one before, the volatile ones too, and a change
    while nothing ran is told by the first request that meets it.
    """
    before = Slots()
    see(before, PARTS[0], PARTS[1])
    for number in range(MAX_DIGESTS + 1):
        see(before, template("dated", f"it is {number}"), at=NOW + number)
    ObservedFile(tmp_path, "s", "prod").exchange(before, NOW + 100)

    after = Slots()
    assert ObservedFile(tmp_path, "s", "prod").read(after)
    elsewhere = Slots()
    assert not ObservedFile(tmp_path, "s", "test").read(elsewhere)

    assert digests(after) == tuple(part.digest for part in PARTS[:2])
    see(after, template("dated", "later"), at=NOW + 200)
    assert digests(after) == tuple(part.digest for part in PARTS[:2])
    (change,) = see(after, template("prompt 0", "edited"), at=NOW + 201).changes
    assert change.before == PARTS[0].digest


def test_slot_that_nobody_meets_is_forgotten(tmp_path: Path) -> None:
    """
    A part that was taken out of the application leaves the version a week later.
    """
    file, slots = ObservedFile(tmp_path, "s", None), Slots()
    see(slots, *PARTS[:2])
    see(slots, PARTS[0], at=NOW + FORGOTTEN_AFTER_S)

    assert file.exchange(slots, NOW + FORGOTTEN_AFTER_S + 1)
    assert slots.components() == (PARTS[0],)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"slots": 1}', b'{"slots": [1, {"kind": "prompt"}]}', b"\xff" * 100],
)
def test_damaged_file_tells_nothing(tmp_path: Path, data: bytes) -> None:
    """
    A file that is broken, or whose bodies were edited, is as good as none.
    """
    file, slots = ObservedFile(tmp_path, "s", None), Slots()
    see(slots, PARTS[0])
    file.exchange(slots, NOW)
    edited = file.path.read_bytes().replace(b"text 0", b"text 1")
    digest = PARTS[0].digest.encode()
    edited = edited.replace(digest, b"sha256:" + b"0" * 64)
    for damaged in (data, edited):
        file.path.write_bytes(damaged)
        fresh = Slots()
        assert not file.read(fresh)
        assert fresh.components() == ()
