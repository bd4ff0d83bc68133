"""``mvtrace plan``: what a comparison is going to ask, fixed before there is data.

In: a baseline that serves, or a file. Out: a file to edit and to commit; what it says; its entry in
the registry, after which its metrics are counted from the next hour's sums on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError, ExtraMissingError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker, register
from mvtrace.cli.text import table_text
from mvtrace.cli.words import plural

if TYPE_CHECKING:
    from mvtrace.quality.plan import Metric, Plan

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
FILE = click.Path(path_type=Path)
_SCORER: Final = 19
"""Signs of a scorer that are shown: of a digest its first 12 digits."""
_COLUMNS: Final = ("metric", "kind", "role", "better", "allowed", "counted as")
_HEAD: Final = (
    "What a comparison asks. Edit it before there is data: afterwards it is another plan.\n"
    "Check it with 'mvtrace plan check FILE', then 'mvtrace plan register FILE'."
)


@click.group("plan", epilog="Example: mvtrace plan new prod@now --service bot > plan.toml")
def plan_() -> None:
    """Write, check and register the plan of a comparison."""


@plan_.command(epilog="Example: mvtrace plan new prod@now --service bot --environment prod")
@click.argument("baseline")
@click.option("--name", default="", metavar="TEXT", help="What people call it.")
@click.option("--service")
@click.option("--environment")
@click.option("--arms", "by_arm", is_flag=True, help="BASELINE is an arm.")
@click.option("--unit", default="", metavar="WORD", help="What is assigned: request, user, …")
@click.option(
    "--unassigned", is_flag=True, help="Somebody else splits the traffic, by no share known here."
)
@click.option("--out", type=FILE, metavar="FILE", help="Write it there, if nothing is there.")
@JSON
@URL
@STORE
def new(*, baseline: str, out: Path | None, as_json: bool, **said: Any) -> None:
    """Print a plan for canaries beside BASELINE, made of what it has had in seven days.

    Its slowest requests are frozen into it: how often 95 % and 99 % were exceeded is counted.
    """
    made, text = _made(baseline, said)
    if out is not None:
        _write(out, text)
    if as_json:
        listing.write(json_text({"digest": made.digest, "plan": made.to_dict()}))
    elif out is None:
        listing.write(text)
    else:
        listing.write(f"plan {inert(made.name)} ({_digits(made)}) is in {inert(out)}.\n")


@plan_.command(epilog="Example: mvtrace plan check plan.toml")
@click.argument("file", type=FILE)
@JSON
def check(*, file: Path, as_json: bool) -> None:
    """Say what the plan in FILE asks. Exit codes: 0 it is a plan, 2 it is none."""
    _tell(_read(file), as_json=as_json)


@plan_.command("register", epilog="Example: mvtrace plan register plan.toml")
@click.argument("file", type=FILE)
@JSON
@URL
def register_(*, file: Path, as_json: bool, url: str | None) -> None:
    """Register the plan in FILE: it can be named then, and what it derives is counted."""
    found = _read(file)
    from mvtrace.comparing.events import entry_of_plan  # noqa: PLC0415 (an extra)

    register([entry_of_plan(found)], url=url)
    if as_json:
        listing.write(json_text({"digest": found.digest, "stored": True, "plan": found.to_dict()}))
        return
    listing.write(
        f"plan {inert(found.name)} ({_digits(found)}, {plural(len(found.metrics), 'metric')}) is "
        f"registered.\n{found.digest}\n"
    )


@plan_.command("list", epilog="Example: mvtrace plan list --json")
@JSON
@URL
@STORE
def list_(*, as_json: bool, url: str | None, store: str | None) -> None:
    """List the registered plans, the newest first."""
    plans = _library("mvtrace.comparing.plans")
    found = [one for _, one in plans.registered_plans(asker(url, store))]
    if as_json:
        told = [{"digest": one.digest, "plan": one.to_dict()} for one in found]
        listing.write(json_text({"plans": told}))
        return
    rows = [
        [_digits(one), one.name, one.unit, ", ".join(metric.name for metric in one.metrics)]
        for one in found
    ]
    listing.write(
        table_text(("plan", "name", "unit", "metrics"), rows)
        if rows
        else "No plan is registered.\n"
    )


def _made(baseline: str, said: dict[str, Any]) -> tuple[Plan, str]:
    looking, stores, plans = (
        _library(f"mvtrace.comparing.{name}") for name in ("looking", "from_store", "plans")
    )
    source = said["store"] or _collector(said["url"])
    with stores.opened(source) as place:
        subject = looking.baseline_of(
            place, baseline, by_arm=said["by_arm"], service=said["service"],
            environment=said["environment"],
        )  # fmt: skip
        wish = looking.Wish(
            name=said["name"], unit=said["unit"], has_shares=not said["unassigned"],
            thresholds=True,
        )  # fmt: skip
        made = looking.made_plan(place, subject, looking.now(), wish)
    comments = {"": _HEAD, **{one.name: plans.meaning(one) for one in made.metrics}}
    return made, plans.plan_text(made, comments=comments)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise CommandLineError(
            f"{path} is there already; a plan is not written over.", hint="Name another --out."
        ) from error
    except OSError as error:
        raise CommandLineError(f"{path} cannot be written: {error.strerror or error}.") from error


def _tell(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        listing.write(json_text({"digest": plan.digest, "plan": plan.to_dict()}))
        return
    shown = _library("mvtrace.quality.shown")
    rows = [
        [
            one.name, one.kind, one.role, one.direction,
            shown.margin_words(one) if one.is_required else "", _counted(plan, one),
        ]
        for one in plan.metrics
    ]  # fmt: skip
    minimum = f"at least {plan.minimum_hours} h"
    until = f", until {plan.deadline_hours} h" if plan.deadline_hours else ""
    listing.write(
        f"plan {inert(plan.name)} ({_digits(plan)}), by {inert(plan.unit)}, {minimum}{until}\n"
        f"chances of error: {plan.alpha_revert:g} to revert, {plan.alpha_promote:g} to promote\n\n"
        + table_text(_COLUMNS, rows)
    )


def _counted(plan: Plan, metric: Metric) -> str:
    """Return what the roll-up calls *metric*, and by whom it is scored where that is said."""
    source = plan.source_of(metric)
    return source if metric.scorer is None else f"{source} by {metric.scorer[:_SCORER]}"


def _read(file: Path) -> Plan:
    found: Plan = _library("mvtrace.quality.plan_file").read_plan(file)
    return found


def _collector(url: str | None) -> str:
    from mvtrace.cli.compare import collector_url  # noqa: PLC0415 (it imports this module's group)

    return collector_url(url)


def _library(name: str) -> Any:
    """Return a module that needs the extra ``quality``."""
    from importlib import import_module  # noqa: PLC0415 (with what it is for)

    try:
        return import_module(name)
    except ImportError as error:
        raise ExtraMissingError("quality", str(error)) from error


def _digits(plan: Plan) -> str:
    return plan.digest.removeprefix("sha256:")[:12]
