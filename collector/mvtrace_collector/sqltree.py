"""Read the text that ``EXPLAIN AST`` prints back into the tree it stands for.

In: the printed lines. Out: a Node. One line is one node; its indent is its depth and the number
it ends with is how many children follow. Where lines, indents and numbers do not agree, the text
is refused: the tree has to be read exactly one way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from mvtrace.errors import QueryRefusedError

_LINE: Final = re.compile(
    r"(?P<indent> *)(?P<kind>[A-Za-z:]+)(?: (?!\(children )(?P<text>.*?))??"
    r"(?: \(children (?P<count>[0-9]+)\))?",
    re.DOTALL,
)
_ALIAS: Final = re.compile(r"(?:^| )\(alias (?P<alias>.*)\)$", re.DOTALL)
_NOT_UNDERSTOOD: Final = "its syntax tree is not understood"


@dataclass
class Node:
    """One node: its *kind* (``Function``), its *name* (``count``), and its children in order."""

    kind: str
    name: str
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[tuple[Node, Node]]:
        """Yield every node below with its parent, top down."""
        pending = [(child, self) for child in reversed(self.children)]
        while pending:
            node, parent = pending.pop()
            yield node, parent
            pending.extend((child, node) for child in reversed(node.children))


def tree_of(printed: str) -> Node:
    """Return the root of the tree in *printed*.

    Raises:
        QueryRefusedError: *printed* is no tree, or could be read two ways.

    """
    root = Node("", "")
    path: list[tuple[Node, int]] = [(root, 1)]
    for line in printed.removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None or len(match["indent"]) > len(path) - 1:
            raise QueryRefusedError(_NOT_UNDERSTOOD)
        _close(path, len(match["indent"]) + 1)
        parent, expected = path[-1]
        if len(parent.children) == expected:
            raise QueryRefusedError(_NOT_UNDERSTOOD)
        node = Node(match["kind"], _name(match["kind"], match["text"] or ""))
        parent.children.append(node)
        path.append((node, int(match["count"] or 0)))
    _close(path, 0)
    return root.children[0]


def _close(path: list[tuple[Node, int]], depth: int) -> None:
    """Leave the nodes below *depth*, each with as many children as it announced."""
    while len(path) > depth:
        node, expected = path.pop()
        if len(node.children) != expected:
            raise QueryRefusedError(_NOT_UNDERSTOOD)


def _name(kind: str, text: str) -> str:
    return text if kind == "Literal" else _ALIAS.sub("", text)


def arguments(node: Node) -> Sequence[Node]:
    """Return the arguments of a Function."""
    first = node.children[0] if node.children else None
    return first.children if first is not None and first.kind == "ExpressionList" else ()
