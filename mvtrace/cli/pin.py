"""``mvtrace pin``: what the system is made of, hashed, written to a lock and registered.

In: ``mvtrace.toml``. Out: ``mvtrace.lock`` and, in the collector, the version with its parts, where
its artifacts lie, and what it was made from. It imports the Python objects that the file names: run
it where you would run the repository's tests.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker, register
from mvtrace.cli.text import aligned
from mvtrace.cli.words import digest_words, plural, version_words
from mvtrace.components.composite import CompositeVersion
from mvtrace.registry.errors import LockError
from mvtrace.registry.pin.comparing import (
    Comparison,
    component_differences,
    edge_words,
    place_of,
)
from mvtrace.registry.pin.description import DEFAULT_FILE, Description, read_description
from mvtrace.registry.pin.lockfile import Lock, read_lock, write_lock
from mvtrace.registry.pin.registration import (
    artifact_entries,
    derivation_entries,
    returns_to,
    without_place,
)
from mvtrace.registry.pin.resolving import composite_of, is_declared
from mvtrace.registry.reading import Ask, entry_named
from mvtrace.registry.refs import Ref

_HINT: Final = "Run 'mvtrace pin' and commit the lock, or undo the change."
URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")


@dataclass(frozen=True, slots=True)
class _Pinned:
    """What a run of the command did."""

    lock: Lock
    before: Lock | None
    description: Description
    is_written: bool
    registered: int | None = None
    """Events; None where nothing was sent."""
    returned: tuple[Ref, ...] = ()
    """Parents that were made from this version, so that they are not recorded as such."""


@click.command(epilog="Example: mvtrace pin --experiment shorter-answers")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    metavar="FILE",
    help="Describes the system; the lock lies beside it.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 where the lock differs.")
@click.option("--no-register", is_flag=True, help="Write the lock, send nothing.")
@click.option(
    "--parent",
    "parents",
    multiple=True,
    metavar="REF",
    help="Made from this (composite:…), rather than from the lock before; may be repeated.",
)
@click.option("--experiment", metavar="NAME", help="It belongs to this experiment (or its ref).")
@click.option("--reason", default="", metavar="TEXT", help="Kept with its parents, for ever.")
@URL
@click.option("--json", "as_json", is_flag=True)
def pin(*, file: Path, check: bool, as_json: bool, **options: Any) -> None:
    """Hash what FILE describes, write it to the lock beside it, and register it.

    Python objects that FILE names are imported, which runs their modules. Commit the lock:
    mvtrace.locked() in the application compares it with what is there.

    Exit codes: 0 done, 1 --check found a difference, 2 FILE says what cannot be, 3 not registered.
    """
    if check:
        _check(file, as_json=as_json)
        return
    done = _pinned(file, **options)
    listing.write(json_text(_said(done)) if as_json else _words(done))


def _check(file: Path, *, as_json: bool) -> None:
    """Compare the lock with what is there; raise where they differ."""
    description = read_description(file)
    path = file.with_suffix(".lock")
    lock, found = read_lock(path), composite_of(description)
    places = {part.slot: place_of(part) for part in description.parts}
    differences = [
        one if one.where else type(one)(one.slot, one.expected, one.found, places.get(one.slot, ""))
        for one in component_differences(lock.composite, found)
    ]
    edges = edge_words(lock.composite.edges, found.edges)
    edges += _unversioned(lock, found)
    unchecked = {
        part.slot: "declared: only its provider has it"
        for part in found.components
        if is_declared(part)
    }
    told = Comparison(path.name, lock, found, tuple(differences), tuple(edges), unchecked)
    if as_json:
        listing.write(json_text(_compared(told)))
        if not told.is_same:
            sys.exit(1)
    elif told.is_same:
        listing.write("".join(f"{inert(line)}\n" for line in told.words.split("\n")))
    else:
        raise told.error(_HINT)


def _unversioned(lock: Lock, found: CompositeVersion) -> list[str]:
    """Return what differs and is in no digest: the lock is out of date all the same."""
    before, after = lock.composite, found
    told = [] if before.name == after.name else [f"name  {before.name!r}, now {after.name!r}"]
    for slot in sorted(before.labels.keys() | after.labels.keys()):
        old, new = before.labels.get(slot), after.labels.get(slot)
        if old != new:
            told.append(f"{slot}  its label is {old!r}, now {new!r}")
    return told


def _compared(told: Comparison) -> dict[str, Any]:
    return {
        "lock": told.lock_name,
        "is_same": told.is_same,
        "expected": told.lock.version,
        "found": told.found.version,
        "differences": [
            {"slot": one.slot, "expected": one.expected, "found": one.found, "where": one.where}
            for one in told.differences
        ],
        "others": list(told.edges),
        "not_checked": dict(told.unchecked),
    }


def _pinned(
    file: Path,
    *,
    no_register: bool,
    parents: Sequence[str],
    experiment: str | None,
    reason: str,
    url: str | None,
) -> _Pinned:
    description = read_description(file)
    path = file.with_suffix(".lock")
    before = _before(path)
    found = composite_of(description)
    given = tuple(_ref(text) for text in parents)
    if experiment is not None and no_register and not experiment.startswith("experiment:"):
        raise CommandLineError(
            "--experiment is a name, which only a collector can look up.",
            hint="Give its ref (experiment:…), or leave --no-register out.",
        )
    ask = asker(url, None)
    named = None if experiment is None else _experiment(ask, experiment)
    lock = _lock_of(found, before, given, named)
    done = _Pinned(lock, before, description, write_lock(lock, path))
    return done if no_register else _registered(done, ask, reason, url)


def _registered(done: _Pinned, ask: Ask, reason: str, url: str | None) -> _Pinned:
    """Register what was pinned; a parent that was made from it is left out, and told."""
    lock = done.lock
    back = returns_to(ask, lock.version, lock.parents)
    parents = tuple(one for one in lock.parents if one not in back)
    kept = Lock(lock.composite, parents, lock.experiment)
    places = list(artifact_entries(lock, done.description))
    count = register([lock.composite, *places, *derivation_entries(kept, reason)], url=url)
    return _Pinned(lock, done.before, done.description, done.is_written, count, tuple(back))


def _lock_of(
    found: CompositeVersion, before: Lock | None, given: tuple[Ref, ...], experiment: Ref | None
) -> Lock:
    """Return the new lock: made from the one before, unless that is the same version."""
    if given:
        return Lock(found, given, experiment)
    if before is None:
        return Lock(found, (), experiment)
    if before.version == found.version:
        return Lock(found, before.parents, experiment or before.experiment)
    return Lock(found, (Ref("composite", before.version),), experiment)


def _before(path: Path) -> Lock | None:
    """Return the lock that is there; one that a merge left unreadable has no say."""
    if not path.exists():
        return None
    try:
        return read_lock(path)
    except LockError as error:
        raise LockError(
            path.name,
            error.message.partition(": ")[2],
            hint="Take one side of the merge, or delete it, and say with --parent "
            "what the version is made from.",
        ) from error


def _ref(text: str) -> Ref:
    try:
        return Ref.parse(text if ":" in text else f"composite:{text}")
    except ValueError as error:
        raise CommandLineError(
            f"--parent {text!r}: {error}.",
            hint="Give a whole version, composite:… with 64 hex digits.",
        ) from error


def _experiment(ask: Ask, text: str) -> Ref:
    try:
        return Ref.parse(text)
    except ValueError:
        return entry_named(ask, "experiment", text).ref


def _said(done: _Pinned) -> dict[str, Any]:
    """Return what was done as plain JSON values."""
    before = done.before.composite if done.before else None
    changed = [] if before is None else component_differences(before, done.lock.composite)
    return {
        "version": done.lock.version,
        "name": done.lock.composite.name,
        "before": None if before is None else before.version,
        "is_written": done.is_written,
        "components": [
            {
                "slot": part.slot,
                "digest": part.digest,
                "label": part.label,
                "basis": "declared" if is_declared(part) else "hashed",
            }
            for part in done.lock.composite.components
        ],
        "changed": [
            {"slot": one.slot, "before": one.expected, "after": one.found} for one in changed
        ],
        "parents": [str(one) for one in done.lock.parents],
        "experiment": str(done.lock.experiment) if done.lock.experiment else None,
        "registered": done.registered,
        "returned_to": [str(one) for one in done.returned],
        "without_place": without_place(done.lock, done.description),
    }


def _words(done: _Pinned) -> str:
    said = _said(done)
    lock = done.description.path.with_suffix(".lock").name
    head = f"{lock}: {version_words(said['version'])} of {inert(said['name'])}"
    if done.before is None:
        head += ", the first."
    elif said["before"] == said["version"]:
        head += ", as before." if not done.is_written else ", the same version as before."
    else:
        head += f", was {version_words(said['before'])}."
    changes = {one["slot"]: one for one in said["changed"]}
    rows = [
        [
            _change(changes.get(one["slot"]), is_first=done.before is None),
            inert(one["slot"]),
            digest_words(one["digest"]),
            inert(one["label"] or ""),
            "declared, not hashed" if one["basis"] == "declared" else "",
        ]
        for one in said["components"]
    ]
    rows += [
        ["removed", inert(slot), digest_words(one["before"]), "", ""]
        for slot, one in changes.items()
        if one["after"] is None
    ]
    lines = [head, *(f"  {line}" for line in aligned(rows)), *_notes(said)]
    return "\n".join(lines) + "\n"


def _change(one: dict[str, Any] | None, *, is_first: bool) -> str:
    if one is None:
        return "" if is_first else "same"
    return "added" if one["before"] is None else "changed"


def _notes(said: dict[str, Any]) -> list[str]:
    lines = []
    if said["registered"] is None:
        lines.append("Nothing was registered.")
    else:
        lines.append(f"Registered and stored: {plural(said['registered'], 'event')}.")
    lines += [
        f"Not recorded as its parent: {inert(one)[:22]}, which was made from this version."
        for one in said["returned_to"]
    ]
    if said["without_place"]:
        slots = ", ".join(map(inert, said["without_place"]))
        lines.append(f"No uri says where the bytes are kept of: {slots}.")
    return lines
