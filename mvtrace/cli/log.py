"""``mvtrace log``: the versions of a system in the order of time, and what changed in each.

In: maybe a service and an environment. Out: a version a paragraph, newest first: against what it is
compared, the slots that changed, its experiments and deployments; as text or as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.words import time_words, version_words
from mvtrace.registry.pin.history import Step, history, history_of_place

_MAX_SLOTS = 8


@click.command(epilog="Example: mvtrace log --service support --environment production")
@click.option("--service", help="Only what served this service.")
@click.option("--environment", help="Only what served this environment.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
@click.option("--store", metavar="DSN", help="Read this store directly.")
def log(
    *,
    service: str | None,
    environment: str | None,
    limit: int,
    as_json: bool,
    url: str | None,
    store: str | None,
) -> None:
    """List versions, newest first, each with what changed against what it was made from.

    With --service or --environment: what served there, each against what served before it.
    """
    ask = asker(url, store)
    if service or environment:
        steps = history_of_place(
            ask, service=service or "", environment=environment or "", limit=limit
        )
    else:
        steps = history(ask, limit=limit)
    if as_json:
        listing.write(json_text({"versions": [one.to_dict() for one in steps], "limit": limit}))
    else:
        listing.write(log_words(steps, limit))


def log_words(steps: Sequence[Step], limit: int) -> str:
    """Return a history as text."""
    if not steps:
        return "No version is known.\n"
    paragraphs = ["\n".join(_paragraph(one.to_dict(), one)) for one in steps]
    more = f"\n(the newest {limit:,}; --limit shows more)\n" if len(steps) == limit else ""
    return "\n\n".join(paragraphs) + "\n" + more


def _paragraph(said: Mapping[str, Any], step: Step) -> list[str]:
    head = f"{version_words(said['version'])}   {time_words(said['at'])}"
    lines = [head + (f"   {inert(said['name'])}" if said["name"] else "")]
    if not said["is_registered"]:
        lines.append("  not registered: what it is made of is not known")
    elif step.against is not None:
        lines.append(f"  {_against(said, step)}")
    lines += [f"  {change:8} {_slots(slots)}" for change, slots in said["changes"].items() if slots]
    if said["experiments"]:
        lines.append(f"  experiment {', '.join(map(inert, said['experiments']))}")
    lines += [f"  {_decision(one)}" for one in said["deployments"]]
    return lines


def _against(said: Mapping[str, Any], step: Step) -> str:
    before = version_words(said["against"])
    if step.against is not None and not step.against.is_known:
        return f"after {before}, which is not registered"
    is_parent = f"composite:{said['against']}" in said["parents"]
    way = f"made from {before}" if is_parent else f"after {before}"
    if said["against"] == said["version"]:
        return way
    return way if any(said["changes"].values()) else f"{way}: the same components"


def _slots(slots: Sequence[str]) -> str:
    shown = ", ".join(map(inert, slots[:_MAX_SLOTS]))
    return shown if len(slots) <= _MAX_SLOTS else f"{shown} and {len(slots) - _MAX_SLOTS} more"


def _decision(one: Mapping[str, Any]) -> str:
    share = "" if one["share"] == 1 else f" for {one['share']:.3g} of the requests"
    place = f"{inert(one['service'])} in {inert(one['environment'])}"
    return f"{inert(one['action'])}{share}, {place}, {time_words(one['at'])}"
