"""``mvtrace experiment``: branches of the ancestry graph, and which of their versions won.

In: a name, a branch, versions. Out: entries that are stored when the command returns; a list. The
winner is the version that ``mvtrace promote`` or ``deploy`` had serve all requests.
"""

from __future__ import annotations

from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.lineage import JSON, STORE, URL
from mvtrace.cli.lineage_text import winner_words
from mvtrace.cli.lineage_things import made_thing
from mvtrace.cli.registering import asker, register
from mvtrace.cli.text import table_text
from mvtrace.cli.words import joined, time_words
from mvtrace.registry.lineage.cycles import refuse_cycle
from mvtrace.registry.lineage.experiments import belonging, experiments
from mvtrace.registry.lineage.experiments import experiment as started
from mvtrace.registry.lineage.merging import short
from mvtrace.registry.reading import entry_named
from mvtrace.registry.refs import Ref

_COLUMNS: Final = ("started (UTC)", "experiment", "name", "branch", "base", "versions", "winner")
_REASON = click.option("--reason", default="", metavar="TEXT", help="Kept for ever.")


@click.group(epilog="Example: mvtrace experiment list tone")
def experiment() -> None:
    """Try changes in branches, and see which version won."""


@experiment.command(epilog="Example: mvtrace experiment start tone --branch warm --base 3f2a9c01")
@click.argument("name")
@click.option("--branch", default="", metavar="NAME", help="One of several ways that are tried.")
@click.option("--base", metavar="REF", help="What it starts from: a version, a model.")
@_REASON
@JSON
@URL
def start(
    *, name: str, branch: str, base: str | None, reason: str, as_json: bool, url: str | None
) -> None:
    """Start an experiment, or another branch of it; it is stored when this returns."""
    ref = None if base is None else made_thing(asker(url, None), base)
    entries = started(name, branch=branch, base=ref, reason=reason)
    register(entries, url=url)
    said = {"experiment": entries[0].ref.digest, **entries[0].said}
    text = f"{short(entries[0].ref)} {joined(inert(name), inert(branch), by=' / ')} is stored.\n"
    listing.write(json_text(said) if as_json else text)


@experiment.command(epilog="Example: mvtrace experiment add tone 77e0c1d2")
@click.argument("name")
@click.argument("version")
@_REASON
@JSON
@URL
def add(*, name: str, version: str, reason: str, as_json: bool, url: str | None) -> None:
    """Say that VERSION belongs to an experiment: its newest branch of that NAME, or by digest."""
    ask = asker(url, None)
    to = entry_named(ask, "experiment", name)
    entry = belonging(made_thing(ask, version), to.ref, reason=reason)
    refuse_cycle(ask, entry)
    register([entry], url=url)
    said = {"digest": entry.digest, **entry.said}
    text = f"{short(Ref.parse(said['child']))} belongs to {short(to.ref)} {inert(to.name)}.\n"
    listing.write(json_text(said) if as_json else text)


@experiment.command(name="list", epilog="Example: mvtrace experiment list --json")
@click.argument("name", default="")
@JSON
@URL
@STORE
def list_(*, name: str, as_json: bool, url: str | None, store: str | None) -> None:
    """List experiments with their versions and who won, the newest first."""
    found = [one.to_dict() for one in experiments(asker(url, store), name)]
    if as_json:
        listing.write(json_text({"experiments": found}))
        return
    text = table_text(_COLUMNS, [_row(one) for one in found])
    listing.write(text if found else "No experiment was started.\n")


def _row(one: dict[str, Any]) -> list[str]:
    versions = ", ".join(version["version"][:12] for version in one["versions"])
    return [
        time_words(one["started_at"]).removesuffix(" UTC"),
        one["experiment"][:12],
        inert(one["name"]),
        inert(one["branch"]),
        short(Ref.parse(one["base"])) if one["base"] else "",
        versions,
        winner_words(one["winner"]),
    ]
