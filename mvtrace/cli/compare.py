"""``mvtrace compare``: is the canary worse, no worse, or not yet known; the exit code says it.

In: two versions or arms, or a service whose canary runs; perhaps a plan. Out: decision, reason,
figures, a plot and a forecast; 0 promote, 10 hold, 11 revert. 1, 2 and 3 mean what they mean
everywhere, so that no slip reverts anything.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mvtrace import comparing
from mvtrace.cli import listing, sources
from mvtrace.cli.errors import CommandLineError, ExtraMissingError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.remote import DEFAULT_URL
from mvtrace.comparing.errors import StatisticsMissingError
from mvtrace.errors import CheckFailedError, UnavailableError

if TYPE_CHECKING:
    from mvtrace.comparing.looking import Look
    from mvtrace.quality.plan import Plan

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly; keeps nothing.")
_ARMS: Final = ("stable", "canary")
"""As a rollout calls its sides."""
_DECIDED: Final = ("promote", "revert")
_LEAST_INTERVAL_S: Final = 1.0
_DEFAULT_WIDTH: Final = 100


@click.command(epilog="Example: mvtrace compare 3f2a9c01 8d1e77aa --plan plan.toml --watch")
@click.argument("baseline", required=False)
@click.argument("canary", required=False)
@click.option("--plan", "plan_text", metavar="PLAN", help="A file, or a registered plan.")
@click.option(
    "--arms", "by_arm", is_flag=True, help="They are arms; with --rollout stable and canary."
)
@click.option("--service")
@click.option("--environment")
@click.option("--rollout", metavar="ID", help="Only requests that this rollout assigned.")
@click.option("--since", metavar="TIME", help="2026-08-22T11:00 (UTC), or 6h, 7d back.")
@click.option("--until", metavar="TIME", help="As it was then; such a look is not kept.")
@click.option("--watch", is_flag=True, help="Look again until it is decided.")
@click.option("--interval", metavar="TIME", default="5m", show_default=True)
@click.option("--for", "length", metavar="TIME", help="Watch no longer; then it is hold.")
@click.option("--no-keep", is_flag=True, help="Keep nothing of this look.")
@click.option("--plot", "plots", multiple=True, metavar="METRIC", help="'all', 'none', or names.")
@click.option("--json", "as_json", is_flag=True, help="The verdict; with --watch one a line.")
@URL
@STORE
def compare(*, plan_text: str | None, as_json: bool, **said: Any) -> None:
    """Compare the CANARY with the BASELINE, which serve side by side.

    Both are versions, named as everywhere; without them it is the canary that runs for --service in
    --environment. Each look is kept, and the next goes on from it: looking often costs nothing.
    Without --plan the first look makes one of the metrics there are, and it stands.

    Exit codes: 0 promote, 10 hold, 11 revert; 1 nothing of that name or not kept, 2 wrong use,
    3 unreachable.
    """
    asked = _asked(said)
    plan = _plan(plan_text, said["url"], said["store"])
    every_s, until = _times(said)
    while (look := _looked(said, asked, plan, until - every_s)) is None or not _is_last(
        look, until - every_s
    ):
        if look is not None:
            _write(look, (), as_json=as_json, is_line=True, is_one=False)
            asked |= {"baseline": look.baseline, "canary": look.canary}
        time.sleep(every_s)
    _write(look, said["plots"], as_json=as_json, is_line=False, is_one=not said["watch"])
    sys.exit(look.verdict.exit_code)


def collector_url(url: str | None) -> str:
    """Return the collector's address: *url*, else the one of MVTRACE_URL, else of this host."""
    return url or os.environ.get("MVTRACE_URL") or DEFAULT_URL


def _asked(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a look.

    Raises:
        CommandLineError: they do not fit together.
    """
    baseline, canary = said["baseline"], said["canary"]
    if said["url"] and said["store"]:
        raise CommandLineError("--url and --store name two sources.", hint="Give one of them.")
    if baseline is not None and canary is None:
        raise CommandLineError(
            f"{baseline!r} is compared with nothing.", hint="Name BASELINE and CANARY, or neither."
        )
    if baseline is None and said["by_arm"]:
        if not said["rollout"]:
            raise CommandLineError(
                "--arms without arms.", hint="For example: mvtrace compare stable canary --arms."
            )
        baseline, canary = _ARMS
    if baseline is None:
        baseline, canary = _running(said)
    filters, now_ms = import_module("mvtrace.store.filters"), time.time_ns() // 1_000_000
    times = {
        name: filters.time_of(name, said[name], now_ms, default=-1) for name in ("since", "until")
    }
    return {
        "baseline": baseline,
        "canary": canary,
        "arms": said["by_arm"],
        **{name: said[name] for name in ("service", "environment", "rollout")},
        **{name: None if at < 0 else at // 1000 for name, at in times.items()},
    }


def _running(said: Mapping[str, Any]) -> tuple[str, str]:
    """Return what serves for a service in an environment, and the canary beside it.

    Raises:
        CommandLineError: it is not said which.
        CheckFailedError: no canary runs there.
    """
    places = {name: said[name] or "" for name in ("service", "environment")}
    if not all(places.values()):
        raise CommandLineError(
            "Nothing says what is compared.",
            hint="Name BASELINE and CANARY, or --service and --environment of a canary that runs.",
        )
    found = sources.source_of(said["url"], said["store"]).deployments(places)["serving"]
    serving = found[0] if found else {}
    stable, canary = serving.get("stable"), serving.get("canary")
    if not stable or not canary:
        raise CheckFailedError(
            f"No canary runs for {places['service']!r} in {places['environment']!r}.",
            hint="'mvtrace deployments' shows what serves; or name BASELINE and CANARY.",
        )
    return stable["composite_version"], canary["composite_version"]


def _plan(text: str | None, url: str | None, store: str | None) -> Plan | None:
    """Return the plan in the file *text*, or the registered one of that name."""
    if text is None:
        return None
    path = Path(text)
    looks_like_file = path.suffix in (".toml", ".json") or "/" in text
    try:
        if looks_like_file or path.is_file():
            found: Plan = import_module("mvtrace.quality.plan_file").read_plan(path)
            return found
        plans = import_module("mvtrace.comparing.plans")
    except ImportError as error:
        raise ExtraMissingError("quality", str(error)) from error
    named: Plan = plans.plan_named(asker(url, store), text)
    return named


def _times(said: Mapping[str, Any]) -> tuple[float, float]:
    """Return the interval in seconds, and when watching ends, of the monotonic clock."""
    length_of = import_module("mvtrace.cli.watching").length_of
    every_s = length_of("--interval", said["interval"])
    if every_s < _LEAST_INTERVAL_S:
        raise CommandLineError(f"--interval is {said['interval']!r}; it is 1s or more.")
    if not said["watch"]:
        return every_s, -math.inf
    if said["until"]:
        raise CommandLineError("--watch looks at what comes, --until at what was.")
    length = said["length"]
    return every_s, math.inf if length is None else time.monotonic() + length_of("--for", length)


def _looked(
    said: Mapping[str, Any], asked: Mapping[str, Any], plan: Plan | None, last_at: float
) -> Look | None:
    """Look once; None where nothing answers and there is time to ask again before *last_at*."""
    source = said["store"] or collector_url(said["url"])
    try:
        return comparing.look(
            source, plan=plan, remember=not (said["no_keep"] or said["store"]), **asked
        )
    except UnavailableError as error:
        if isinstance(error, StatisticsMissingError) or time.monotonic() > last_at:
            raise
        sys.stderr.write(f"{inert(error.message)}\n")
        return None


def _is_last(look: Look, last_at: float) -> bool:
    """Whether nothing more is looked at after *look*."""
    is_over = look.verdict.decision in _DECIDED or look.verdict.reason == "expired"
    return is_over or time.monotonic() > last_at


def _write(
    look: Look, plots: tuple[str, ...], *, as_json: bool, is_line: bool, is_one: bool
) -> None:
    """Write *look* as JSON, as a line, or whole; *is_one*: it is all that is written."""
    if as_json:
        told = {**look.to_dict(), "exit_code": look.verdict.exit_code, "is_kept": look.is_kept}
        told |= {"versions": look.versions} if look.versions else {}
        text = json_text({**told, "notes": list(look.notes)}, indent=2 if is_one else None)
        listing.write(text)
        return
    words = import_module("mvtrace.cli.compare_text")
    if is_line:
        listing.write(words.line_words(look))
        return
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns if is_terminal else None
    listing.write(
        words.look_words(
            look,
            width=width or _DEFAULT_WIDTH,
            plots=plots or None,
            coloured=is_terminal and not os.environ.get("NO_COLOR"),
        )
    )
