"""What the version of a request was made from, and what is to be said about that. Pure.

In: the ancestry graph above the version, as far as it was walked, and the leakage certificates
about what is in it. Out: findings: a part that is a merge of models, training data no eval was
compared with. Of a version without a recorded derivation there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mvtrace.explain.codes import finding
from mvtrace.explain.explanation import Finding
from mvtrace.explain.separation import separation_findings
from mvtrace.registry.entries import Entry
from mvtrace.registry.lineage.merging import merges
from mvtrace.registry.lineage.walking import Graph


@dataclass(frozen=True)
class Ancestry:
    """The graph above a version, and certificates about what is in it, newest first."""

    graph: Graph
    certificates: tuple[Entry, ...] = ()


def ancestry_findings(ancestry: Ancestry) -> Iterator[Finding]:
    """Yield what is to be said about what a version was made from."""
    for merge in merges(ancestry.graph.edges):
        yield finding(
            "model_merged",
            merge.sentence(),
            child=str(merge.child),
            parents=[str(parent) for parent in merge.parents],
        )
    yield from separation_findings(ancestry.graph, ancestry.certificates)
