"""``mvtrace deploy``, ``promote``, ``revert``, ``rollback`` and ``deployments``: what serves.

In: a version, a service, an environment. Out: the decision as it is stored; a command returns only
then. Deciding needs a key with the scope govern; the key says who decided.
"""

from __future__ import annotations

import getpass
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from mvtrace.cli import listing, sources
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.looked import Looked
from mvtrace.cli.text import table_text
from mvtrace.cli.words import time_words, version_words


class Share(click.FloatRange):
    """A share of the requests; a NaN, which every comparison lets through, is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number that *value* is."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a valid float.", param, ctx)
        return number


_Command = TypeVar("_Command", bound=Callable[..., Any])
_COLUMNS: Final = ("at", "action", "service", "environment", "version", "share", "by", "reason")

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
WITHOUT_ARTIFACTS = click.option(
    "--without-artifacts",
    is_flag=True,
    help="Also if artifacts of the version were collected: it runs without them.",
)
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
_OPTIONS: Final = (
    click.option("--service", required=True, envvar="MVTRACE_SERVICE", show_envvar=True),
    click.option("--environment", required=True, envvar="MVTRACE_ENVIRONMENT", show_envvar=True),
    click.option("--reason", default="", metavar="TEXT", help="Kept for ever."),
    click.option(
        "--evidence", multiple=True, metavar="TEXT", help="A verdict, a ticket; may be repeated."
    ),
    click.option(
        "--expect",
        metavar="VERSION",
        help="Only if this version serves now; else nothing is decided (exit code 1).",
    ),
    URL,
    JSON,
)


def deciding(command: _Command) -> _Command:
    """Give *command* what every decision is said with."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(epilog="Example: mvtrace deploy 3f2a9c01 --service bot --environment prod")
@click.argument("version")
@click.option(
    "--share",
    type=Share(0, 1, min_open=True),
    default=1.0,
    metavar="SHARE",
    help="Below 1 it is a canary for this share of the requests.",
)
@WITHOUT_ARTIFACTS
@deciding
def deploy(*, version: str, share: float, **options: Any) -> None:
    """Have a registered version serve all requests from now on, or a share of them.

    Exit codes: 0 decided and stored, 1 unknown or partly collected version, or lost race,
    3 not stored.
    """
    action = "deploy" if share == 1 else "canary"
    decide(action, {"version": version, "share": share}, **options)


@click.command(epilog="Example: mvtrace promote --service bot --environment prod")
@click.argument("version", required=False)
@WITHOUT_ARTIFACTS
@deciding
def promote(*, version: str | None, **options: Any) -> None:
    """Have the canary serve all requests from now on; without VERSION the one that is running."""
    decide("promote", {"version": version}, **options)


@click.command(epilog="Example: mvtrace revert --service bot --environment prod --reason 'worse'")
@click.argument("version", required=False)
@deciding
def revert(*, version: str | None, **options: Any) -> None:
    """End the canary; the stable version serves on."""
    decide("revert", {"version": version}, **options)


@click.command(epilog="Example: mvtrace rollback --service bot --environment prod")
@click.argument("version", required=False)
@deciding
def rollback(*, version: str | None, **options: Any) -> None:
    """Have an earlier version serve all requests again; without VERSION the one before this.

    It says which of the version's artifacts no longer exist.
    """
    decide("rollback", {"version": version}, **options)


@click.command(epilog="Example: mvtrace deployments --at 2026-08-22T11:00 --service bot")
@click.option("--at", metavar="TIME", help="2026-08-22T11:00 (UTC), or 15m, 6h, 7d back.")
@click.option("--service")
@click.option("--environment")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@JSON
@URL
@STORE
def deployments(*, url: str | None, store: str | None, as_json: bool, **wanted: Any) -> None:
    """Say what served at a moment, and what was decided up to it, newest first."""
    texts = {key: str(value) for key, value in wanted.items() if value is not None}
    found = sources.source_of(url, store).deployments(texts)
    listing.write(json_text(found) if as_json else deployments_words(found))


def deployments_words(found: Mapping[str, Any]) -> str:
    """Return what served and what was decided."""
    if not found["deployments"]:
        return "Nothing was deployed.\n"
    when = f"at {time_words(found['at'])}" if found["at"] else "now"
    lines = [f"serving {when}"]
    for one in found["serving"]:
        stable, canary = one["stable"], one["canary"]
        words = version_words(stable["composite_version"]) if stable else "nothing"
        if canary:
            words += f", canary {version_words(canary['composite_version'])}"
            words += f" for {canary['share']:.3g} of the requests"
        lines.append(f"  {inert(one['service'])} in {inert(one['environment'])}: {words}")
    return "\n".join(lines) + "\n\n" + table_text(_COLUMNS, [*map(_row, found["deployments"])])


def decide(
    action: str, said: Mapping[str, Any], *, url: str | None, as_json: bool, **options: Any
) -> None:
    """Have a collector take a decision, and say what it has stored."""
    wanted = {**said, **options, "action": action, "evidence": list(options["evidence"])}
    project = os.environ.get("MVTRACE_PROJECT") or None
    done = sources.collector_at(url).post(
        "/api/v1/deploy",
        {**wanted, "claimed_actor": _user()},
        {"project": project} if project else None,
    )
    found = looked_at(done) if action != "revert" else None
    if as_json:
        listing.write(json_text({**done, "looked": found.to_dict() if found else None}))
        return
    share = f" for {done['share']:.3g} of the requests" if done["share"] < 1 else ""
    listing.write(
        f"{done['action']} of {version_words(done['composite_version'])}{share} for "
        f"{inert(done['service'])} in {inert(done['environment'])} is stored: "
        f"{done['event_id']}, {time_words(done['at'])}, by {_who(done)}.\n"
        + (found.words() if found else "")
    )


def looked_at(done: Mapping[str, Any]) -> Looked:
    """Return what is left of the version that a decision is about."""
    return Looked(done.get("artifacts", ()), left_out=done.get("artifacts_left_out", 0))


def _row(one: Mapping[str, Any]) -> list[str]:
    return [
        time_words(one["at"]),
        inert(one["action"]),
        inert(one["service"]),
        inert(one["environment"]),
        version_words(one["composite_version"]),
        "" if one["share"] == 1 else f"{one['share']:.3g}",
        _who(one),
        inert(one["reason"]),
    ]


def _who(one: Mapping[str, Any]) -> str:
    """Return who decided: the key, and what its holder calls himself."""
    key = one["actor"] + (f" ({one['actor_label']})" if one["actor_label"] else "")
    return inert(f"{key}, claiming to be {one['claimed_actor']}" if one["claimed_actor"] else key)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
