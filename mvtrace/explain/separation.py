"""Whether the models of a version were trained on what they are tested by: what certificates say.

In: the ancestry graph above a version, and leakage certificates about what is in it. Out: findings,
one for each model and eval: found in it, not found and all was compared, not found as far as was
compared or walked; or one for a model whose recorded data nobody compared with anything. A model of
which no training data is recorded, such as a provider's, has nothing that could be compared: none.

What was found once stays told: a newer certificate that found less takes its place only where it
compared the same columns by the same method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mvtrace.digest import canonical_bytes
from mvtrace.explain.codes import counted, finding
from mvtrace.explain.explanation import Finding
from mvtrace.registry.entries import Entry
from mvtrace.registry.lineage.derivations import MODEL_ROLES
from mvtrace.registry.lineage.merging import short
from mvtrace.registry.lineage.walking import Graph
from mvtrace.registry.refs import Ref

MAX_EVALS: Final = 5
"""Evals that are told of one model; of more those that it knows, and then the newest."""
FOUND: Final = "leakage_found"
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
    cut: str
    """Why there may be more of all that; empty where there is not."""

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
    method: bytes
    """How, and by which columns."""
    own: frozenset[str]
    """The eval, and the dataset of its examples."""
    is_made_of_eval: bool
    """Whether the eval was among what some of the training data was made from."""

    def is_about(self, model: _Model) -> bool:
        """Whether *model*, or something it was made from, was compared or was to be."""
        return bool(model.above & (self.train | self.found.keys())) or self.is_in(model)

    def is_in(self, model: _Model) -> bool:
        """Whether the eval itself is among what *model* was made from."""
        is_of_model = bool(self.train) and self.train <= model.above
        return self.is_made_of_eval and (is_of_model or bool(self.own & model.above))


class _Found(NamedTuple):
    """How many examples of an eval were found in a dataset, and what says so."""

    number: int
    by: _Certificate


def separation_findings(graph: Graph, certificates: Sequence[Entry]) -> Iterator[Finding]:
    """Yield what *certificates*, newest first, say of the models in *graph*."""
    known = [one for one in map(_certificate, certificates) if one is not None]
    for model in _models(graph):
        about = [one for one in known if one.is_about(model)]
        if not about:
            yield _unchecked(model)
        by_eval: dict[str, list[_Certificate]] = {}
        for one in about:
            by_eval.setdefault(one.root, []).append(one)
        findings = [_checked(model, same) for same in by_eval.values()]
        yield from sorted(findings, key=lambda one: one.code != FOUND)[:MAX_EVALS]


def _unchecked(model: _Model) -> Finding:
    least = "at least " if model.cut else ""
    return finding(
        "leakage_unchecked",
        f"{model.words} was made from {least}{counted(len(model.data), 'dataset')} "
        f"({_listed(model.data)}); "
        "no leakage certificate compares any of that with an eval.",
        component=str(model.ref),
        datasets=list(model.data),
    )


def _checked(model: _Model, same: Sequence[_Certificate]) -> Finding:
    """Return what all certificates of one eval say together, the newest of which is the first."""
    newest = same[0]
    found = _most(same)
    missing = [ref for ref in model.data if ref not in found]
    leaking = {
        ref: found[ref]
        for ref in model.data
        if ref in model.direct and ref in found and found[ref].number
    }
    made_of = [one for one in same if one.is_in(model)]
    facts: dict[str, Any] = {
        "component": str(model.ref),
        "eval": newest.root,
        "certificates": [one.digest for one in same],
        "datasets": list(model.data),
        "not_compared": missing,
        "made_of_eval": bool(made_of),
        "cut": model.cut or None,
    }
    if leaking:
        ref, (number, by) = max(leaking.items(), key=lambda one: one[1].number)
        text = (
            f"{model.words} was trained on {number:,} of {_what(by)} ({_short(ref)}; {_which(by)})."
        )
        return finding(
            FOUND, text, found={ref: one.number for ref, one in leaking.items()}, **facts
        )
    if made_of:
        text = f"{model.words}: eval {made_of[0].name} itself is among what its training data was "
        return finding(FOUND, f"{text}made from ({_which(made_of[0])}).", found={}, **facts)
    what, which = _what(newest), _which(newest)
    if len(missing) == len(model.data):
        text = f"{model.words}: nothing it was made from could be compared with {what} ({which})."
        return finding("leakage_partly", text, **facts)
    code = "leakage_partly" if missing or model.cut else "leakage_checked"
    text = f"{model.words}: none of {what} was found in its training data; "
    return finding(code, f"{text}{_extent(model, missing)} ({which}).", **facts)


def _most(same: Sequence[_Certificate]) -> dict[str, _Found]:
    """Return the most that was found in each dataset by any method, each as its newest says."""
    newest: dict[tuple[str, bytes], _Found] = {}
    for one in same:
        for ref, number in one.found.items():
            newest.setdefault((ref, one.method), _Found(number, one))
    most: dict[str, _Found] = {}
    for (ref, _), found in newest.items():
        if ref not in most or found.number > most[ref].number:
            most[ref] = found
    return most


def _what(one: _Certificate) -> str:
    return f"{counted(one.examples, 'example')} of eval {one.name}"


def _which(one: _Certificate) -> str:
    return f"certificate {one.digest[:_SHORT]}"


def _extent(model: _Model, missing: Sequence[str]) -> str:
    """Say how much of what a model was made from was compared."""
    number = counted(len(model.data), "dataset")
    made_from = f"{number} it was made from"
    if model.cut:
        where = "its ancestry is larger than is walked here"
        if missing:
            least = f"of at least {made_from} {_listed(missing)} could not be compared"
            return f"{least}, and {where} ({model.cut})"
        return f"what was looked up of it was compared ({number}), but {where} ({model.cut})"
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
        if not edge.role.startswith(MODEL_ROLES):
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
                graph.cut,
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
    checked, train, compared = said.get("checked"), said.get("train"), said.get("compared")
    columns = compared.get("columns") if isinstance(compared, dict) else None
    try:
        return _Certificate(
            entry.ref.digest,
            str(said["name"]),
            str(said["root"]),
            int(said["examples"]),
            frozenset(map(str, train if isinstance(train, list) else ())),
            dict(_found(checked if isinstance(checked, list) else ())),
            canonical_bytes([said.get("method"), columns]),
            frozenset((str(said.get("eval")), f"dataset:{said['root']}")),
            said.get("made_of_eval") is True,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _found(checked: Iterable[Any]) -> Iterator[tuple[str, int]]:
    for one in checked:
        if isinstance(one, dict):
            yield str(one["ref"]), int(one["found"])
