"""The side of an eval that a check reads whole: its rows, and those of its other versions.

In: a path or a ref, and an Ask where versions are to be looked up. Out: :class:`Eval`. What the
files of a version hold now has to be what was registered, else it is named and not compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mvtrace.errors import CheckFailedError, UsageError
from mvtrace.registry.entries import read_entries
from mvtrace.registry.leakage.ancestry import DATASET
from mvtrace.registry.leakage.places import (
    Place,
    Registered,
    Rooted,
    examples_root,
    other_versions,
    registered,
)
from mvtrace.registry.reading import Ask, entries, statement
from mvtrace.registry.refs import Ref

MAX_VERSIONS: Final = 50
"""Other versions of an eval, and of training data, that are compared: the newest."""
MAX_NAMED: Final = 200
"""Other versions that are named."""
TOO_MANY: Final = f"only the newest {MAX_VERSIONS} versions are compared"
SUITE: Final = "suite"


@dataclass(frozen=True, slots=True)
class Side:
    """What somebody named: a path, or a ref, or a path of which the ref is known."""

    text: str
    path: Path | None = None
    ref: Ref | None = None
    name: str = ""


@dataclass(slots=True)
class Eval:
    """The eval and its earlier versions, read."""

    ref: Ref
    name: str
    path: Path
    versions: list[Ref] = field(default_factory=list)
    """The datasets of their examples, the eval's own first."""
    rows: list[list[bytes]] = field(default_factory=list)
    unread: list[tuple[Ref, str]] = field(default_factory=list)


def read_eval(side: Side, ask: Ask | None) -> Eval:
    """Return the eval with its rows, and its other versions with theirs.

    Raises:
        CheckFailedError: it cannot be read, is not what was registered, or is empty.
        DatasetError: a file that was named is no dataset.
        UsageError: a ref names nothing that has examples.
    """
    if side.path is not None:
        rows, ref = _read(Place(side.path))
        found = Eval(ref, side.name or side.path.name, side.path, [ref], [rows])
        name = _dataset_name(ask, ref)
    elif side.ref is None or ask is None or side.ref.kind not in (DATASET, SUITE):
        raise UsageError(
            f"{side.text!r} names no eval: it is a path, a suite or a dataset.",
            hint="'mvtrace leakage --help' has an example.",
        )
    else:
        found = _registered_eval(ask, side.ref)
        name = found.name
    if not found.rows[0]:
        raise CheckFailedError(
            f"The eval {side.text!r} has no example, so there is nothing to find.",
            hint="Give a file or a suite with examples.",
        )
    if ask is not None and name:
        _add_versions(ask, found, name)
    return found


def training_ref(ask: Ask, ref: Ref) -> Ref:
    """Return *ref*, or the dataset of its examples where it is a suite.

    Raises:
        CheckFailedError: no such suite is registered, or it names no examples.
    """
    if ref.kind != SUITE:
        return ref
    root = _suite(ask, ref)[1]
    if not root:
        raise CheckFailedError(f"The registered {ref} names no examples.")
    return Ref(DATASET, root)


def _suite(ask: Ask, ref: Ref) -> tuple[str, str]:
    """Return the name of a suite, and the root over its examples."""
    entry = entries(ask, SUITE, [f"sha256:{ref.digest}"]).get(f"sha256:{ref.digest}")
    if entry is None:
        raise CheckFailedError(f"No {ref} is registered.")
    return entry.name, examples_root(entry.said)


def _registered_eval(ask: Ask, ref: Ref) -> Eval:
    name, root = _suite(ask, ref) if ref.kind == SUITE else ("", ref.digest)
    one = registered(ask, [root]).get(root) or Registered(root, name, ())
    place = one.place()
    if place.path is None:
        why = place.why if one.bodies else f"no dataset with the root {root} is registered"
        raise CheckFailedError(
            f"The examples of {ref} are not at hand: {why}.",
            hint="Give their file instead: mvtrace leakage FILE …",
        )
    rows, read = _read(place)
    if read.digest != root:
        raise CheckFailedError(
            f"What is at {place.path} is not what {ref} was registered with: its root is "
            f"{read.digest}, registered is {root}.",
            hint="Give the file with the examples, or register the one there is.",
        )
    return Eval(ref, name or one.name, place.path, [read], [rows])


def _add_versions(ask: Ask, found: Eval, name: str) -> None:
    """Add the other versions of a suite, or other datasets of the eval's name."""
    if found.ref.kind == SUITE:
        roots = _suite_roots(ask, name)
        others = registered(ask, roots)
    else:
        others = other_versions(ask, [name], MAX_NAMED)
        roots = list(others)
    for root in dict.fromkeys(roots):
        ref = Ref(DATASET, root)
        if ref in found.versions:
            continue
        rows, why = None, TOO_MANY
        if len(found.versions) <= MAX_VERSIONS:
            rows, why = _version(others.get(root) or Registered(root, name, ()))
        if rows is None:
            found.unread.append((ref, why))
        else:
            found.versions.append(ref)
            found.rows.append(rows)


def _version(one: Registered) -> tuple[list[bytes] | None, str]:
    """Return the rows of a version; none and why, where they cannot be read."""
    place = one.place()
    if place.path is None:
        return None, place.why if one.bodies else "no dataset of its examples is registered"
    try:
        rows, read = _read(place)
    except CheckFailedError as error:
        return None, error.message
    return (
        (rows, "") if read == one.ref else (None, f"what is at {place.path} is another dataset now")
    )


def _suite_roots(ask: Ask, name: str) -> list[str]:
    asked = {"kind": SUITE, "names": [name], "limit": MAX_NAMED}
    found = read_entries(row["body"] for row in ask(statement("leakage_versions"), asked))
    return [root for one in found if (root := examples_root(one.said))]


def _dataset_name(ask: Ask | None, ref: Ref) -> str:
    if ask is None:
        return ""
    one = registered(ask, [ref.digest]).get(ref.digest)
    return one.name if one else ""


def _read(place: Place) -> tuple[list[bytes], Ref]:
    rows = list(place.rows())
    rooted = Rooted()
    rooted(rows)
    return rows, Ref(DATASET, rooted.root())
