"""``mvtrace lineage``: what something was made from, and what was made from it.

In: anything that the registry knows, by any of its names, or a file. Out: the walk up and down the
ancestry graph as text, JSON or dot; and which requests were answered by anything made from it.
``lineage record`` says where something comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import json_text
from mvtrace.cli.lineage_text import (
    answered_text,
    dot_text,
    experiments_text,
    graph_dict,
    graph_text,
    head_text,
)
from mvtrace.cli.lineage_things import made_thing, parent, thing
from mvtrace.cli.registering import asker, register
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.answered import answered
from mvtrace.registry.lineage.cycles import refuse_cycle
from mvtrace.registry.lineage.derivations import HISTORY_ROLES, HOW, derivation
from mvtrace.registry.lineage.experiments import experiments
from mvtrace.registry.lineage.merging import merges
from mvtrace.registry.lineage.naming import Named, names_of
from mvtrace.registry.lineage.sayings import sayings
from mvtrace.registry.lineage.walking import MAX_DEPTH, Direction, Edge, Graph, walk
from mvtrace.registry.reading import Ask
from mvtrace.registry.refs import Ref

MOST_NODES: Final = 20_000
NODES: Final = 500
ANSWERED_BY: Final = "answered by"

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)


class _Showing(click.Group):
    """A group whose command ``show`` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_named or not args else ["show", *args])


@click.group(cls=_Showing, epilog="Example: mvtrace lineage ./train.jsonl --down --requests")
def lineage() -> None:
    """Walk what something was made from, and what was made from it: mvtrace lineage ANYTHING.

    ANYTHING is a request's id, a version, a component (kind/name or digest), an artifact or a
    dataset (digest, name or path), a deployment's id, or kind:digest.
    """


@lineage.command(epilog="Example: mvtrace lineage 3f2a9c01 --up --depth 3")
@click.argument("anything")
@click.option("--up", is_flag=True, help="Only what it was made from.")
@click.option("--down", is_flag=True, help="Only what was made from it.")
@click.option(
    "--depth", type=click.IntRange(1, MAX_DEPTH), default=MAX_DEPTH, show_default=True, metavar="N"
)
@click.option(
    "--nodes", type=click.IntRange(1, MOST_NODES), default=NODES, show_default=True, metavar="N"
)
@click.option("--history", is_flag=True, help="Go on to earlier and later versions as well.")
@click.option("--requests", is_flag=True, help="Which requests anything made from it answered.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--format", "form", type=click.Choice(["text", "json", "dot"]), default="text")
@JSON
@URL
@STORE
def show(*, anything: str, url: str | None, store: str | None, **options: Any) -> None:
    """Show what ANYTHING was made from and made into; the same as without the word show.

    Exit codes: 0 done, 1 nothing or several things are called so, 3 not reached.
    """
    ask = asker(url, store)
    found = thing(ask, anything)
    graphs = [_walked(ask, found, way, options) for way in _ways(options)]
    names = names_of(ask, dict.fromkeys(ref for one in graphs for ref in one.nodes))
    tried = _experiments_met(ask, graphs)
    reached = _reached(ask, found, options["limit"]) if options["requests"] else None
    if options["form"] == "dot":
        listing.write(dot_text(graphs, names))
    elif options["as_json"] or options["form"] == "json":
        said: dict[str, Any] = {"ref": str(found.ref), "name": found.name, "note": found.note}
        said |= {one.direction: graph_dict(one, names) for one in graphs}
        said["experiments"] = tried
        said["derivations"] = sayings(ask, (edge.source for one in graphs for edge in one.edges))
        listing.write(json_text(said if reached is None else {**said, "answered": reached}))
    else:
        parts = [head_text(found), *(graph_text(one, names) for one in graphs)]
        parts += [experiments_text(tried)] if tried else []
        listing.write("\n".join([*parts, *([answered_text(reached)] if reached else [])]))


@lineage.command(epilog="Example: mvtrace lineage record ./tuned --from ./base --from ./a.jsonl")
@click.argument("child")
@click.option(
    "--from", "parents", multiple=True, required=True, metavar="REF[:ROLE]",
    help="What it was made from; may be repeated. Roles: base, merge, previous, dataset, config …",
)  # fmt: skip
@click.option("--how", metavar="REF", help="The transformation, by name or digest.")
@click.option("--name", default="", metavar="TEXT", help="What people call this step.")
@click.option("--reason", default="", metavar="TEXT", help="Kept for ever.")
@JSON
@URL
def record(
    *, child: str, parents: tuple[str, ...], as_json: bool, url: str | None, **texts: Any
) -> None:
    """Record what CHILD was made from; the command returns when it is stored.

    Exit codes: 0 stored, 1 unknown thing or refused, 2 it would be its own ancestor, 3 not stored.
    """
    ask = asker(url, None)
    made = made_thing(ask, child)
    listed = [parent(ask, text, made) for text in parents]
    how = texts.pop("how")
    steps = [ref for ref, role in listed if role == HOW] + ([made_thing(ask, how)] if how else [])
    if len(set(steps)) > 1:
        raise RegistryError("derivation", "it was made by one transformation, and two are given.")
    entry = derivation(
        made,
        [(ref, role) for ref, role in listed if role != HOW],
        how=steps[0] if steps else None,
        **texts,
    )
    refuse_cycle(ask, entry)
    register([entry], url=url)
    said = {"digest": entry.digest, **entry.said}
    if as_json:
        listing.write(json_text(said))
        return
    listing.write(_recorded(said))


def _ways(options: Mapping[str, Any]) -> tuple[Direction, ...]:
    if options["up"] == options["down"]:
        return ("up", "down")
    return ("up",) if options["up"] else ("down",)


def _experiments_met(ask: Ask, graphs: Iterable[Graph]) -> list[dict[str, Any]]:
    """Return the experiments among the nodes, with who won."""
    met = {ref for graph in graphs for ref in graph.of_kind("experiment")}
    return [one.to_dict() for one in (experiments(ask) if met else ()) if one.ref in met]


def _reached(ask: Ask, found: Named, limit: int) -> dict[str, Any]:
    """Return what was answered by anything made from *found*, however far away that is.

    A version is not made from what an earlier one was made from only because it came after it.
    """
    is_experiment = found.ref.kind == "experiment"
    below = walk(
        ask,
        found.ref,
        direction="down",
        max_nodes=MOST_NODES,
        leaves=HISTORY_ROLES if is_experiment else (),
        without=() if is_experiment else HISTORY_ROLES,
    )
    return {**answered(ask, below, limit=limit).to_dict(), "cut": below.cut or None}


def _walked(ask: Ask, found: Named, direction: Direction, options: Mapping[str, Any]) -> Graph:
    """Return the walk; a request has one way: up, to the version that answered it."""
    start = found.composite if found.composite and direction == "up" else found.ref
    graph = walk(
        ask,
        start,
        direction=direction,
        max_depth=options["depth"],
        max_nodes=options["nodes"],
        leaves=() if options["history"] else HISTORY_ROLES,
    )
    if start == found.ref:
        return graph
    depths = {found.ref: 0, **{ref: steps + 1 for ref, steps in graph.depths.items()}}
    edge = Edge(found.ref, start, ANSWERED_BY)
    return Graph(found.ref, direction, depths, (edge, *graph.edges), graph.cut)


def _recorded(said: dict[str, Any]) -> str:
    lines = [f"{said['child']} is recorded as made from"]
    lines.extend(f"  {one['role']}  {one['ref']}" for one in said["parents"])
    if said["how"]:
        lines.append(f"  by  {said['how']}")
    lines.extend(f"! {one.sentence()}" for one in merges(_edges(said)))
    lines.append(f"{said['digest']} is stored.")
    return "\n".join(lines) + "\n"


def _edges(said: dict[str, Any]) -> Iterable[Edge]:
    child = Ref.parse(said["child"])
    return [Edge(child, Ref.parse(one["ref"]), one["role"]) for one in said["parents"]]
