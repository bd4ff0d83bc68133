"""``mvtrace retention``: say which artifacts may go, then collect exactly those.

In: a policy; then the plan that was made from it. Out: bytes and costs kept and freed by rule. Only
bytes of artifacts are ever collected: no option removes a version, a score, lineage or evidence.
"""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from mvtrace.cli import listing, sources
from mvtrace.cli import retention_words as words
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.retention_keeper import CollectorKeeper
from mvtrace.errors import CheckFailedError
from mvtrace.registry.retention import policies
from mvtrace.registry.retention.applying import (
    TROUBLES,
    Applying,
    Outcome,
)
from mvtrace.registry.retention.inputs import read_all
from mvtrace.registry.retention.places import ForeignError, Storage, proves
from mvtrace.registry.retention.planning import never_served, roots_of
from mvtrace.registry.retention.planning import plan as planned
from mvtrace.registry.retention.plans import Plan
from mvtrace.registry.retention.tombstones import COLLECTED, RESTORED, Tombstone
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import Policy

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
_MIN_DIGITS: Final = 8


@click.group(epilog="Example: mvtrace retention plan --policy retention.toml --out plan.json")
def retention() -> None:
    """Collect the bytes of artifacts that nothing needs; versions and evidence are kept."""


@retention.command(epilog="Example: mvtrace retention plan --policy retention.toml --out plan.json")
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML with a table [retention]: environments, window, roots, keep, costs.",
)
@click.option(
    "--environment",
    "environments",
    multiple=True,
    metavar="NAME",
    help="What ever served it is kept, beside prod and production; may be repeated.",
)
@click.option("--window", metavar="TIME", help="What was used since is kept: 12h, 30d, 8w.  [90d]")
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="URI",
    help="Only below these is anything collected; may be repeated.  [none]",
)
@click.option(
    "--cost",
    "costs",
    multiple=True,
    metavar="SCHEME=PRICE",
    help="Of 10^9 bytes a month: s3=0.023; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("retention-plan.json"),
    show_default=True,
    metavar="FILE",
    help="Where the plan goes.",
)
@URL
@STORE
@JSON
def plan(
    *,
    policy: Path | None,
    out: Path,
    url: str | None,
    store: str | None,
    as_json: bool,
    **options: Sequence[str] | str | None,
) -> None:
    """Say what would be kept and what collected, and write it down; nothing is removed.

    Exit codes: 0 written, 2 the policy is none or names an environment that nothing ever served,
    3 no collector answers.
    """
    chosen = _policy(policy, options)
    now_ns = time.time_ns()
    known = read_all(asker(url, store))
    if strays := never_served(known, chosen):
        raise CommandLineError(
            f"Nothing ever served {inert(strays[0])!r}, so as an environment it keeps nothing.",
            hint="'mvtrace deployments' lists environments; what is spelled wrong is not kept.",
        )
    verdicts = planned(known, chosen, now_ns)
    made = Plan(
        project=_project(),
        made_at=datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat(),
        policy=chosen,
        verdicts=tuple(verdicts),
    )
    _write(out, made.to_bytes())
    listing.write(json_text(words.plan_dict(made, out)) if as_json else words.plan_words(made, out))


@retention.command(epilog="Example: mvtrace retention apply retention-plan.json")
@click.argument("file", type=click.Path(path_type=Path), metavar="PLAN")
@click.option("--reason", default="", metavar="TEXT", help="Kept for ever.")
@click.option(
    "--host",
    default="",
    metavar="NAME",
    help="This is the host NAME, under another name by now: what it began is ended here.",
)
@URL
@JSON
def apply(*, file: Path, reason: str, host: str, url: str | None, as_json: bool) -> None:
    """Collect what PLAN says, each only if nothing keeps it by now; run again after a stop.

    Exit codes: 0 done, 1 something was left alone or failed, 2 PLAN is none or was changed,
    3 no collector answers.
    """
    made = _read(file)
    keeper = CollectorKeeper(sources.collector_at(url), asker(url, None))
    run = Applying(
        plan=made,
        keeper=keeper,
        storage=Storage(roots_of(made.policy)),
        reason=reason,
        claimed_actor=_user(),
        host=host,
    )
    outcomes: list[Outcome] = []
    if not as_json:
        listing.write(words.policy_words(made.policy))
    try:
        for outcome in run.run():
            outcomes.append(outcome)
            if not as_json:
                listing.write(words.place_words(outcome))
    finally:
        report = words.outcome_dict(made, outcomes)
        listing.write(json_text(report) if as_json else words.outcome_words(made, outcomes))
    sys.exit(1 if any(one.outcome in TROUBLES for one in outcomes) else 0)


@retention.command(epilog="Example: mvtrace retention restore 3f2a9c01ab77")
@click.argument("artifact", metavar="ARTIFACT")
@click.option("--reason", default="", metavar="TEXT", help="Kept for ever.")
@URL
@JSON
def restore(*, artifact: str, reason: str, url: str | None, as_json: bool) -> None:
    """Say that the bytes of a collected ARTIFACT were put back, once they are found to be its own.

    Exit codes: 0 at least one place is restored, 1 none is, 3 no collector answers.
    """
    keeper = CollectorKeeper(sources.collector_at(url), asker(url, None))
    gone = _gone(keeper, artifact)
    told = [(one, _restored(keeper, one, reason)) for one in gone]
    if as_json:
        places = [
            {"artifact": one.artifact, "uri": one.uri, "restored": not problem, "why": problem}
            for one, problem in told
        ]
        listing.write(json_text({"places": places}))
    else:
        for one, problem in told:
            became = f"not restored: {inert(problem)}" if problem else "restored"
            listing.write(f"{one.artifact[:12]}  {inert(one.uri)}  {became}\n")
    sys.exit(1 if all(problem for _, problem in told) else 0)


def _gone(keeper: CollectorKeeper, text: str) -> list[Tombstone]:
    """Return the tombstones of the one artifact that *text* begins."""
    digits = text.lower().removeprefix("artifact:").removeprefix("sha256:")
    gone = [
        one
        for one in keeper.states().values()
        if one.action == COLLECTED and one.artifact.startswith(digits)
    ]
    if len(digits) < _MIN_DIGITS or len({one.artifact for one in gone}) != 1:
        raise CheckFailedError(
            f"{inert(text[:80])!r} names no artifact that was collected, or several.",
            hint=f"Give {_MIN_DIGITS} hex digits or more of one that a tombstone names.",
        )
    return sorted(gone, key=lambda one: one.uri)


def _restored(keeper: CollectorKeeper, stone: Tombstone, reason: str) -> str:
    """Have it stored that the bytes are back; return what is against it."""
    try:
        where = Where.parse(stone.uri)
        around = next(where.ancestors(), None)
        found = Storage((around,) if around else ()).find(where)
    except (ForeignError, ValueError, OSError) as error:
        return str(error)
    if found is None:
        return "nothing is there, as seen from here"
    if not proves(found.listing, stone.artifact):
        return "its bytes do not have the artifact's digest"
    step = replace(stone, action=RESTORED, reason=reason, plan="", claimed_actor=_user())
    keeper.take(step, policy=Policy(), listing="")
    return ""


def _policy(file: Path | None, options: Mapping[str, Any]) -> Policy:
    try:
        chosen = Policy() if file is None else policies.policy_text(file.read_text("utf-8"))
    except OSError as error:
        raise CommandLineError(
            f"{inert(file)} cannot be read: {error.strerror or error}.",
            hint="A policy is TOML with a table [retention].",
        ) from error
    except ValueError as error:
        raise CommandLineError(
            f"{inert(file)} is no policy: {inert(error)}.",
            hint="'mvtrace retention plan --help' tells what a policy has.",
        ) from error
    said = chosen.to_dict()
    said |= {key: list(options[key]) for key in ("environments", "roots") if options[key]}
    try:
        if options["window"]:
            said["window_s"] = policies.window_ns(options["window"]) // 10**9
        said["costs"] |= dict(map(policies.cost_text, options["costs"]))
        return policies.policy_of(said)
    except ValueError as error:
        raise CommandLineError(
            f"That is no policy: {inert(error)}.",
            hint="'mvtrace retention plan --help' tells what a policy has.",
        ) from error


def _read(file: Path) -> Plan:
    try:
        made = Plan.from_bytes(file.read_bytes())
    except OSError as error:
        raise CommandLineError(
            f"{inert(file)} cannot be read: {error.strerror or error}.",
            hint="'mvtrace retention plan --out FILE' writes a plan.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CommandLineError(
            f"{inert(file)} is not applied: {inert(error)}.",
            hint="Make it anew with 'mvtrace retention plan'; a plan is read, not edited.",
        ) from error
    if made.project != _project():
        raise CommandLineError(
            f"The plan is of project {made.project!r}, and this is {_project()!r}.",
            hint="MVTRACE_PROJECT names the project.",
        )
    return made


def _write(out: Path, body: bytes) -> None:
    """Write *body* whole, or not at all."""
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=out.name, delete=False) as file:
            file.write(body)
        Path(file.name).replace(out)
    except OSError as error:
        raise CheckFailedError(
            f"The plan cannot be written to {inert(out)}: {error.strerror or error}.",
            hint="--out names another file.",
        ) from error


def _project() -> str:
    return os.environ.get("MVTRACE_PROJECT") or "default"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
