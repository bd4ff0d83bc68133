"""Which data is to be compared: what was asked for, and what the lineage adds to it.

In: an Ask, and the refs of the eval and of the training data or models that a check is asked about.
Out: :class:`Wanted` datasets, each once, with how it is related; and what has none recorded.

Data a model was trained on counts like data that was asked for, also that of the model it was tuned
from. What training data was itself made from is compared too, but a step in between may have taken
the overlap out: it is told apart. What the eval was made from as well is a shared origin, which
holds both sides by its nature. The version before one, and the experiment that one was tried in,
are no part of it: nothing of that is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mvtrace.registry.leakage.certificates import ANCESTOR, ASKED, SHARED, TRAINED
from mvtrace.registry.lineage.derivations import BASE_ROLES, HISTORY_ROLES, MODEL_ROLES
from mvtrace.registry.lineage.walking import Graph, walk
from mvtrace.registry.reading import Ask
from mvtrace.registry.refs import Ref

DATASET: Final = "dataset"
MADE_OF_DATA: Final = ("artifact", "component")
"""Kinds of things that are trained."""
SYSTEM: Final = "composite"
"""The kind of a version of a system, which has trained parts."""


class Unrecorded(NamedTuple):
    """Something trained of which no training data is recorded, or a walk that was cut."""

    ref: Ref
    why: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The datasets to compare, by ref, and what is known to be missing."""

    relations: dict[Ref, str] = field(default_factory=dict)
    unrecorded: tuple[Unrecorded, ...] = ()
    is_made_of_eval: bool = False
    """Whether the eval itself is among what the training data was made from."""


def wanted(ask: Ask, eval_refs: Iterable[Ref], train: Sequence[Ref]) -> Wanted:
    """Return what is to be compared for a check of *eval_refs* against *train*."""
    graphs = [_above(ask, ref) for ref in train]
    own = set(eval_refs)
    origins = {ref for one in own for ref in _above(ask, one).of_kind(DATASET)} - own
    relations: dict[Ref, str] = {ref: ASKED for ref in train if ref.kind == DATASET}
    for graph in graphs:
        for ref in _trained_on(graph):
            relations.setdefault(ref, TRAINED)
    for graph in graphs:
        for ref in graph.of_kind(DATASET):
            relations.setdefault(ref, SHARED if ref in origins else ANCESTOR)
    unrecorded = {one: None for graph in graphs for one in _unrecorded(graph)}
    is_made_of_eval = any(own & graph.depths.keys() - {graph.start} for graph in graphs)
    return Wanted(relations, tuple(unrecorded), is_made_of_eval)


def _above(ask: Ask, ref: Ref) -> Graph:
    return walk(ask, ref, direction="up", without=HISTORY_ROLES)


def _trained_on(graph: Graph) -> list[Ref]:
    """Return the datasets that a walk from a model meets before any other dataset."""
    if graph.start.kind == DATASET:
        return []
    found: dict[Ref, None] = {}
    seen = {graph.start}
    waiting = [graph.start]
    while waiting:
        for edge in graph.next_to(waiting.pop()):
            if edge.parent.kind == DATASET:
                found[edge.parent] = None
            elif edge.parent not in seen:
                seen.add(edge.parent)
                waiting.append(edge.parent)
    return sorted(found, key=lambda ref: (graph.depths[ref], ref))


def _unrecorded(graph: Graph) -> Iterable[Unrecorded]:
    if graph.cut:
        yield Unrecorded(graph.start, f"its ancestry is larger than is walked ({graph.cut})")
    bases = {edge.parent for edge in graph.edges if edge.role in BASE_ROLES}
    if graph.start.kind in MADE_OF_DATA:
        bases.add(graph.start)
    elif graph.start.kind == SYSTEM:
        parts = graph.next_to(graph.start)
        bases |= {edge.parent for edge in parts if edge.role.startswith(MODEL_ROLES)}
    without = [ref for ref in graph.nodes if ref in bases and not _has_data(graph, ref)]
    if not without and not graph.of_kind(DATASET):
        without = [graph.start]
    for ref in without:
        yield Unrecorded(ref, "no training data of it is recorded")


def _has_data(graph: Graph, start: Ref) -> bool:
    """Whether a dataset is reached from *start* before another model that it was made from."""
    seen, waiting = {start}, [start]
    while waiting:
        for edge in graph.next_to(waiting.pop()):
            if edge.parent.kind == DATASET:
                return True
            if edge.parent not in seen and edge.role not in BASE_ROLES:
                seen.add(edge.parent)
                waiting.append(edge.parent)
    return False
