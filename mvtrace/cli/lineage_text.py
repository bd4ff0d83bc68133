"""A walk as text for a terminal, as JSON values, and as a graph for ``dot``.

In: a Graph and what its nodes are called. Out: text. A node is unfolded once; again it is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mvtrace.cli.inert import inert
from mvtrace.cli.words import joined, plural, time_words
from mvtrace.registry.lineage.merging import merges, short
from mvtrace.registry.lineage.naming import Named
from mvtrace.registry.lineage.walking import Edge, Graph, far_end
from mvtrace.registry.refs import Ref

Names = Mapping[Ref, str]

TITLES: Final = {"up": "made from", "down": "made into"}
_MORE: Final = {
    "depth": "There is more beyond this depth: --depth goes further.",
    "nodes": "There is more: the walk ended after {nodes}; --nodes goes further.",
    "edges": "There is more: the walk ended after {edges}; ask about one of these.",
}
_CUT: Final = "There may be more: the walk to the versions ended at its bound on {cut}."
_COLOURS: Final = {"composite": "lightblue", "dataset": "lightyellow", "experiment": "lightgrey"}


def graph_dict(graph: Graph, names: Names) -> dict[str, Any]:
    """Return a walk as plain JSON values."""
    return {
        "nodes": [
            {"ref": str(ref), "name": names.get(ref, ""), "steps": steps}
            for ref, steps in graph.depths.items()
        ],
        "edges": [edge.to_dict() for edge in graph.edges],
        "cut": graph.cut or None,
        "merges": [
            {"child": str(one.child), "parents": [str(parent) for parent in one.parents]}
            for one in merges(graph.edges)
        ],
    }


def head_text(found: Named) -> str:
    """Return the line that says what was meant."""
    note = f"({inert(found.note)})" if found.note else ""
    return joined(str(found.ref), inert(found.name), note) + "\n"


def graph_text(graph: Graph, names: Names) -> str:
    """Return a walk as a tree."""
    lines = [f"{TITLES[graph.direction]}"]
    if len(graph.nodes) == 1:
        what = "nothing that anybody recorded" if graph.direction == "up" else "nothing known"
        lines.append(f"  {what}")
    lines.extend(f"  {line}" for line in _tree(graph, names))
    lines.extend(f"! {inert(one.sentence())}" for one in merges(graph.edges))
    if graph.cut:
        more = _MORE[graph.cut]
        nodes, edges = plural(len(graph.nodes), "node"), plural(len(graph.edges), "edge")
        lines.append(more.format(nodes=nodes, edges=edges))
    return "\n".join(lines) + "\n"


def dot_text(graphs: Sequence[Graph], names: Names) -> str:
    """Return walks as one graph in the language of Graphviz, parents above."""
    nodes = dict.fromkeys(ref for graph in graphs for ref in graph.nodes)
    edges = dict.fromkeys(edge[:3] for graph in graphs for edge in graph.edges)
    lines = ["digraph lineage {", "  node [shape=box, style=filled, fillcolor=white];"]
    for ref in nodes:
        label = joined(short(ref), inert(names.get(ref, "")), by="\\n")
        colour = _COLOURS.get(ref.kind, "white")
        lines.append(f"  {_quoted(str(ref))} [label={_quoted(label)}, fillcolor={colour}];")
    lines.extend(
        f"  {_quoted(str(parent))} -> {_quoted(str(child))} [label={_quoted(inert(role))}];"
        for child, parent, role in edges
    )
    return "\n".join([*lines, "}"]) + "\n"


def answered_text(found: Mapping[str, Any]) -> str:
    """Return how many requests were answered, the newest of them, and how to list all.

    Where the walk to the versions was cut, it is told that others may have answered as well.
    """
    cut = [_CUT.format(cut=found["cut"])] if found["cut"] else []
    if not found["requests"]:
        none = "no request of what was reached" if cut else "no request that is stored"
        return "\n".join(["answered", f"  {none}", *cut]) + "\n"
    least = "at least " if cut else ""
    lines = ["answered", f"  {least}{plural(found['requests'], 'request')}, the newest:"]
    for one in found["newest"]:
        where = joined(inert(one["service"]), inert(one["environment"]), inert(one["route"] or ""))
        version = one["composite_version"][:12]
        lines.append(f"  {one['request_id']}   {time_words(one['time'])}   {version}   {where}")
    lines.append("those that were counted:" if cut else "all of them:")
    lines.extend(f'  mvtrace sql "{sql}"' for sql in found["sql"])
    return "\n".join([*lines, *cut]) + "\n"


def experiments_text(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the experiments that were met, each with the version that won."""
    lines = ["experiments"]
    for one in found:
        what = inert(joined(one["name"], one["branch"], by=" / "))
        lines.append(f"  {what}: {winner_words(one['winner']) or 'no version was promoted'}")
    return "\n".join(lines) + "\n"


def winner_words(won: Mapping[str, Any] | None) -> str:
    """Return which version won, and by what decision; nothing where none did."""
    if won is None:
        return ""
    return inert(
        f"{won['version'][:12]} won: {won['action']} on {time_words(won['time'])} for "
        f"{won['service']} in {won['environment']} by {won['by']}"
    )


def _tree(graph: Graph, names: Names) -> Iterator[str]:
    """Yield the lines of the tree, without recursion: a chain may be long."""
    unfolded = {graph.start}
    waiting = _branches(graph, graph.start, "")
    while waiting:
        edge, indent, is_last = waiting.pop()
        ref = far_end(edge, graph.direction)
        is_again = ref in unfolded and bool(graph.next_to(ref))
        name = inert(names.get(ref, ""))
        again = "(above)" if is_again else ""
        fork = "└─" if is_last else "├─"
        yield f"{indent}{fork} {joined(inert(edge.role), short(ref), name, again)}"
        if ref not in unfolded:
            unfolded.add(ref)
            waiting.extend(_branches(graph, ref, indent + ("   " if is_last else "│  ")))


def _branches(graph: Graph, ref: Ref, indent: str) -> list[tuple[Edge, str, bool]]:
    """Return the edges that lead on from *ref*, the first one at the end."""
    edges = graph.next_to(ref)
    return [(edge, indent, i == len(edges) - 1) for i, edge in enumerate(edges)][::-1]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\\\\n", "\\n")
    return f'"{escaped}"'
