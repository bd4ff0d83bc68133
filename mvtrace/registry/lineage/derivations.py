"""A derivation: one thing was made from others, each in a role, by a transformation or by hand.

In: the refs of a child and its parents. Out: the entry that says so, and back to its edges. Each
edge of the ancestry graph that no digest proves comes from one of these.

A child is none of its own parents. That no longer way leads back to it either is seen where all
edges are known: where a derivation is registered, and where it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from mvtrace.registry.entries import MAX_NAME, Entry, entry_of
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.refs import Ref

KIND: Final = "derivation"
HOW: Final = "how"
"""The role of the edge to the transformation."""
BASE_ROLES: Final = ("base", "merge")
"""Roles of the parents that a model's weights come from."""
MODEL_ROLES: Final = ("model/", "embedding_model/")
"""What the roles of the components of a version begin with that are trained."""
EXPERIMENT_ROLE: Final = "experiment"
PREVIOUS_ROLE: Final = "previous"
"""The role of the version that a version was made from."""
HISTORY_ROLES: Final = (EXPERIMENT_ROLE, PREVIOUS_ROLE)
"""Roles of what came before, or what something was tried for: nothing of that is in the child."""
MAX_PARENTS: Final = 1_000
MAX_REASON: Final = 2_000

NODE_KINDS: Final = (
    "artifact",
    "component",
    "composite",
    "dataset",
    "experiment",
    "scorer",
    "suite",
    "transformation",
)
"""What can be made, or be made from."""
_DEFAULT_ROLES: Final = {
    "artifact": "base",
    "component": "base",
    "composite": "base",
    "dataset": "dataset",
    "experiment": EXPERIMENT_ROLE,
    "transformation": HOW,
}
ROLE_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_RUN_KEYS: Final = ("started_at", "ended_at", "host")


class Made(NamedTuple):
    """One edge: *child* was made from *parent*, which was its *role*."""

    child: Ref
    parent: Ref
    role: str


def derivation(
    child: Ref,
    parents: Sequence[tuple[Ref, str]],
    *,
    how: Ref | None = None,
    name: str = "",
    reason: str = "",
    run: Mapping[str, str] | None = None,
) -> Entry:
    """Return the entry that says that *child* was made from *parents*, pairs of ref and role.

    Roles are words: dataset, base (the model that was tuned), merge, data, config, prompt, code.
    *how* is the ref of a transformation. *run* says when and where: ``started_at``, ``ended_at``
    (ISO 8601) and ``host``.

    Raises:
        RegistryError: the child is a parent of itself, there are no parents or too many, or a ref,
            a role or a text is none.
    """
    pairs = sorted({(Ref(*parent), _role(role)) for parent, role in parents})
    _check(child, pairs, how)
    said: dict[str, Any] = {
        "child": str(child),
        "parents": [{"ref": str(parent), "role": role} for parent, role in pairs],
        "how": None if how is None else str(how),
    }
    if len(reason) > MAX_REASON:
        raise _error(f"its reason has {len(reason):,} characters; it has at most {MAX_REASON:,}.")
    said |= {key: text for key, text in (("name", name), ("reason", reason)) if text}
    if run:
        said["run"] = _run(run)
    return entry_of(KIND, said)


def default_role(parent: Ref, child: Ref) -> str:
    """Return the role of a parent of *child* of which none is said."""
    if parent.kind == child.kind == "composite":
        return PREVIOUS_ROLE
    return _DEFAULT_ROLES.get(parent.kind, "data")


def edges_of(entry: Entry) -> list[Made]:
    """Return the edges that a derivation says, the one to its transformation last.

    Raises:
        ValueError: the entry is no derivation that derivation() could have made.
    """
    said = entry.said
    child = Ref.parse(_text(said.get("child"), "child"))
    listed = said.get("parents")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError("parents is no list of objects")
    pairs = [
        (Ref.parse(_text(one.get("ref"), "ref")), _text(one.get("role"), "role")) for one in listed
    ]
    how = None if said.get("how") is None else Ref.parse(_text(said["how"], "how"))
    try:
        _check(child, [(parent, _role(role)) for parent, role in pairs], how)
    except RegistryError as error:
        raise ValueError(error.message) from error
    edges = [Made(child, parent, role) for parent, role in pairs]
    return edges if how is None else [*edges, Made(child, how, HOW)]


def _check(child: Ref, pairs: Sequence[tuple[Ref, str]], how: Ref | None) -> None:
    for ref in (child, *(parent for parent, _ in pairs), *((how,) if how else ())):
        if ref.kind not in NODE_KINDS:
            raise _error(
                f"{ref} is of kind {ref.kind}; made things are of kind {', '.join(NODE_KINDS)}.",
                hint="Requests are answered by a composite: record what that was made from.",
            )
        if Ref.parse(str(ref)) != ref:
            raise _error(f"{ref} is no ref.")
    if not pairs:
        raise _error(f"{child} has no parents.", hint="Give at least one, with its role.")
    if len(pairs) > MAX_PARENTS:
        raise _error(
            f"{child} has {len(pairs):,} parents; a derivation has at most {MAX_PARENTS:,}.",
            hint="Record it in steps: first the parts, then the whole from them.",
        )
    if child in {parent for parent, _ in pairs} or child == how:
        raise _error(
            f"{child} is a parent of itself.",
            hint="What a step leaves as it was has not been derived: record nothing.",
        )
    if how is not None and how.kind != "transformation":
        raise _error(f"how is {how}; it is a transformation, or nothing.")


def _role(role: str) -> str:
    if not (isinstance(role, str) and ROLE_PATTERN.fullmatch(role)):
        raise _error(
            f"the role {str(role)[:80]!r} is no word.",
            hint="A role is lower-case letters and digits, such as base, dataset or config.",
        )
    return role


def _run(run: Mapping[str, str]) -> dict[str, str]:
    strays = sorted(set(run) - set(_RUN_KEYS))
    if strays:
        raise _error(f"its run says {strays[0]!r}; it says {', '.join(_RUN_KEYS)}.")
    for key, text in run.items():
        if not (isinstance(text, str) and 0 < len(text) <= MAX_NAME and text.isprintable()):
            raise _error(f"{key} of its run is no line of text.")
    return dict(run)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")  # noqa: TRY004 (of the input)
    return value


def _error(problem: str, *, hint: str | None = None) -> RegistryError:
    return RegistryError(KIND, problem, hint=hint)
