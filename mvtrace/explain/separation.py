"""Whether the models of a version were trained on what they are tested by: what certificates say.

In: the ancestry graph above a version, and leakage certificates about what is in it. Out: findings,
one for each model and eval: found in it, not found and all was compared, not found as far as was
compared; or one for a model whose recorded data nobody compared with anything. A model of which no
training data is recorded, such as a provider's, has nothing that could be compared: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mvtrace.explain.codes import counted, finding
from mvtrace.explain.explanation import Finding
from mvtrace.registry.entries import Entry
from mvtrace.registry.lineage.merging import short
from mvtrace.registry.lineage.walking import Graph
from mvtrace.registry.refs import Ref

MODELS: Final = ("model/", "embedding_model/")
"""What the roles of components begin with that are trained."""
MAX_EVALS: Final = 5
"""Evals that are told of one model; of more the newest."""
_SHORT: Final = 12


class _Model(NamedTuple):
    """A trained component of a version."""

    slot: str
    ref: Ref
    above: frozenset[str]
    """Everything it was made from, and itself."""
    data: tuple[str, ...]
    """Datasets that it was made from, nearest first."""
    direct: frozenset[str]
    """Those of them that it, or a model it was tuned from, was trained on."""

    @property
    def words(self) -> str:
        """Its slot in words."""
        return self.slot.replace("/", " ", 1)


class _Certificate(NamedTuple):
    """What a certificate says, as far as it is needed here."""

    digest: str
    name: str
    root: str
    examples: int
    train: frozenset[str]
    found: Mapping[str, int]
    """Datasets that were compared -> examples that were found in each."""


def separation_findings(graph: Graph, certificates: Sequence[Entry]) -> Iterator[Finding]:
    """Yield what *certificates*, newest first, say of the models in *graph*."""
    known = [one for one in map(_certificate, certificates) if one is not None]
    for model in _models(graph):
        about = [one for one in known if model.above & (one.train | one.found.keys())]
        if not about:
            yield _unchecked(model)
        by_eval: dict[str, list[_Certificate]] = {}
        for one in about:
            by_eval.setdefault(one.root, []).append(one)
        for same in list(by_eval.values())[:MAX_EVALS]:
            yield _checked(model, same)


def _unchecked(model: _Model) -> Finding:
    others = len(model.data) - 1
    which = _short(model.data[0]) + (f" and {others} more" if others else "")
    return finding(
        "leakage_unchecked",
        f"{model.words} was made from {counted(len(model.data), 'dataset')} ({which}); "
        "no leakage certificate compares any of that with an eval.",
        component=str(model.ref),
        datasets=list(model.data),
    )


def _checked(model: _Model, same: Sequence[_Certificate]) -> Finding:
    """Return what all certificates of one eval say together, the newest of which is the first."""
    newest = same[0]
    found: dict[str, int] = {}
    for one in same:
        for ref, number in one.found.items():
            found.setdefault(ref, number)
    missing = [ref for ref in model.data if ref not in found]
    leaking = {ref: found[ref] for ref in model.data if ref in model.direct and found.get(ref)}
    which = f"certificate {newest.digest[:_SHORT]}"
    what = f"{counted(newest.examples, 'example')} of eval {newest.name}"
    facts: dict[str, Any] = {
        "component": str(model.ref),
        "eval": newest.root,
        "certificates": [one.digest for one in same],
        "datasets": list(model.data),
        "not_compared": missing,
    }
    if leaking:
        ref, number = max(leaking.items(), key=lambda one: one[1])
        return finding(
            "leakage_found",
            f"{model.words} was trained on {number:,} of {what} ({_short(ref)}; {which}).",
            found=leaking,
            **facts,
        )
    if len(missing) == len(model.data):
        text = f"{model.words}: nothing it was made from could be compared with {what} ({which})."
        return finding("leakage_partly", text, **facts)
    code = "leakage_partly" if missing else "leakage_checked"
    text = f"{model.words}: none of {what} was found in its training data; "
    return finding(code, f"{text}{_extent(model, missing)} ({which}).", **facts)


def _extent(model: _Model, missing: Sequence[str]) -> str:
    """Say how much of what a model was made from was compared."""
    made_from = f"{counted(len(model.data), 'dataset')} it was made from"
    if missing:
        return f"of {made_from} {_listed(missing)} could not be compared"
    if len(model.data) > 1:
        return f"all {made_from} were compared"
    return "the dataset it was made from was compared"


def _listed(refs: Sequence[str]) -> str:
    others = len(refs) - 1
    return _short(refs[0]) + (f" and {others} more" if others else "")


def _short(ref: str) -> str:
    return short(Ref.parse(ref))


def _models(graph: Graph) -> Iterator[_Model]:
    """Yield the trained components of the version itself that have recorded data."""
    for edge in graph.next_to(graph.start):
        if not edge.role.startswith(MODELS):
            continue
        above = _reached(graph, edge.parent, passing_data=True)
        data = [ref for ref in above if ref.kind == "dataset"]
        direct = _reached(graph, edge.parent, passing_data=False)
        if data:
            yield _Model(
                edge.role,
                edge.parent,
                frozenset(map(str, above)),
                tuple(map(str, data)),
                frozenset(str(ref) for ref in direct if ref.kind == "dataset"),
            )


def _reached(graph: Graph, start: Ref, *, passing_data: bool) -> list[Ref]:
    """Return *start* and what it was made from, nearest first; beyond datasets or up to them."""
    found = {start}
    waiting = [start]
    while waiting:
        ref = waiting.pop()
        if ref.kind == "dataset" and not passing_data:
            continue
        ahead = {edge.parent for edge in graph.next_to(ref)} - found
        found |= ahead
        waiting.extend(sorted(ahead))
    return sorted(found, key=lambda ref: (graph.depths[ref], ref))


def _certificate(entry: Entry) -> _Certificate | None:
    """Return what *entry* says; None where it is not what this version can read."""
    said = entry.said
    checked, train = said.get("checked"), said.get("train")
    try:
        return _Certificate(
            entry.ref.digest,
            str(said["name"]),
            str(said["root"]),
            int(said["examples"]),
            frozenset(map(str, train if isinstance(train, list) else ())),
            dict(_found(checked if isinstance(checked, list) else ())),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _found(checked: Iterable[Any]) -> Iterator[tuple[str, int]]:
    for one in checked:
        if isinstance(one, dict):
            yield str(one["ref"]), int(one["found"])
