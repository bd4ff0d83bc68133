"""Ancestry graphs of the story's system, as a walk would have found them."""

from __future__ import annotations

from story import SYSTEM

from mvtrace.explain.ancestry import Ancestry
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.lineage.walking import Edge, Graph
from mvtrace.registry.refs import Ref

MODEL = Ref("component", "3" * 64)
LEFT, RIGHT = Ref("artifact", "a" * 64), Ref("artifact", "b" * 64)
DATA = Ref("dataset", "d" * 64)


def merged(*certificates: Entry) -> Ancestry:
    """A version whose model is a merge of two, one of which was trained on a dataset."""
    version = Ref("composite", SYSTEM.version)
    depths = {version: 0, MODEL: 1, LEFT: 2, RIGHT: 2, DATA: 3}
    edges = (
        Edge(version, MODEL, "model/writer"),
        Edge(MODEL, LEFT, "merge", "sha256:1"),
        Edge(MODEL, RIGHT, "merge", "sha256:1"),
        Edge(LEFT, DATA, "dataset", "sha256:2"),
    )
    return Ancestry(Graph(version, "up", depths, edges), certificates)


def certificate_about(*refs: Ref, found: int = 0, read: bool = True) -> Entry:
    """A certificate that compared an eval with *refs*, or was asked to where none could be *read*.

    In each dataset *found* examples were found.
    """
    checked = [{"ref": str(ref), "found": found} for ref in refs if ref.kind == "dataset" and read]
    said = {
        "name": "qa",
        "eval": f"suite:{'e' * 64}",
        "root": "f" * 64,
        "examples": 40,
        "train": [str(ref) for ref in refs],
        "checked": checked,
    }
    return entry_of("certificate", said)
