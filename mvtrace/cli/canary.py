"""``mvtrace canary``: begin a canary, see what came of it, and end it one way or the other.

In: a version, a share, a service and an environment. Out: the decisions that ``mvtrace deploy``
makes, and what is in force of them: shares, requests and units of both sides, the last verdict.
Servers with a ``mvtrace.rollout`` go by it within seconds; nothing is sent to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.deploy import WITHOUT_ARTIFACTS, Share, decide, deciding
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.text import table_text
from mvtrace.cli.words import plural, time_words, version_words
from mvtrace.digest import parse_canonical
from mvtrace.registry.deployments import Decision, Deployment, time_text
from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.rollouts import Rollout, rollouts_of

_MILLISECOND: Final = 1_000_000
_LOOKED_AT: Final = 100
"""Verdicts, the newest, among which one on a rollout is looked for."""
_COLUMNS: Final = ("arm", "version", "requests", "units", "share of units", "planned")
_VERDICT: Final = ("decision", "reason", "sentence", "digest", "at", "by")
URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")


@click.group(epilog="Example: mvtrace canary status --service bot --environment prod")
def canary() -> None:
    """Begin, watch and end a canary: a version that serves a share of the requests.

    Servers whose composite is a mvtrace.rollout without a share go by these decisions.
    """


@canary.command(epilog="Example: mvtrace canary start 8d1e77aa --share 0.05 --service bot")
@click.argument("version")
@click.option(
    "--share",
    type=Share(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Of the units; of a canary that runs, its new share.",
)
@WITHOUT_ARTIFACTS
@deciding
def start(*, version: str, share: float, **options: Any) -> None:
    """Have a registered version serve a share of the units from now on.

    For the canary that runs it changes the share: a larger one keeps all who have it already.

    Exit codes: 0 decided and stored, 1 unknown or partly collected version, or lost race,
    3 not stored.
    """
    decide("canary", {"version": version, "share": share}, **options)


@canary.command(epilog="Example: mvtrace canary promote --service bot --environment prod")
@click.argument("version", required=False)
@WITHOUT_ARTIFACTS
@deciding
def promote(*, version: str | None, **options: Any) -> None:
    """Have the canary serve all requests from now on."""
    decide("promote", {"version": version}, **options)


@canary.command(epilog="Example: mvtrace canary revert --service bot --environment prod")
@click.argument("version", required=False)
@deciding
def revert(*, version: str | None, **options: Any) -> None:
    """End the canary; the stable version serves on."""
    decide("revert", {"version": version}, **options)


@canary.command(epilog="Example: mvtrace canary status --service bot --environment prod --json")
@click.option("--service", envvar="MVTRACE_SERVICE", show_envvar=True)
@click.option("--environment", envvar="MVTRACE_ENVIRONMENT", show_envvar=True)
@click.option("--all", "with_ended", is_flag=True, help="Also canaries that have ended.")
@click.option("--json", "as_json", is_flag=True)
@URL
@STORE
def status(
    *,
    url: str | None,
    store: str | None,
    with_ended: bool,
    as_json: bool,
    **place: str | None,
) -> None:
    """Say which canaries run, what each side has served, and the last verdict.

    Exit code 0 also where none runs.
    """
    ask = asker(url, store)
    found = [
        {**one.to_dict(), "arms": _arms(ask, one), "verdict": _verdict(ask, one)}
        for one in _rollouts(ask, **{name: text or "" for name, text in place.items()})
        if with_ended or one.ended is None
    ]
    if as_json:
        listing.write(json_text({"rollouts": found}))
    else:
        listing.write("\n".join(map(canary_words, found)) or "No canary runs.\n")


def _rollouts(ask: Ask, *, service: str, environment: str) -> list[Rollout]:
    """Return the rollouts of all places that are asked about, the newest first."""
    rows = ask(statement("rollout_decisions"), {"service": service, "environment": environment})
    places: dict[tuple[str, str], list[Deployment]] = {}
    for one in map(_deployment, rows):
        places.setdefault((one.decision.service, one.decision.environment), []).append(one)
    found = [one for decided in places.values() for one in rollouts_of(decided)]
    return sorted(found, key=lambda one: one.since, reverse=True)


def _deployment(row: Mapping[str, Any]) -> Deployment:
    return Deployment(
        event_id=row["event"],
        decision=Decision.from_bytes(row["body"]),
        at=int(row["decided"]),
        seq=int(row["number"]),
        actor=row["actor"],
        actor_label=row["actor_label"],
    )


def _arms(ask: Ask, one: Rollout) -> list[dict[str, Any]]:
    first = f"{max(one.since // _MILLISECOND - 1, 0):012x}" + "0" * 20
    rows = ask(statement("rollout_arms"), {"first": first, "rollout": one.id})
    arms = [
        {"arm": row["side"], "requests": int(row["requests"]), "units": int(row["units"])}
        for row in rows
    ]
    units = sum(arm["units"] for arm in arms)
    return [{**arm, "share": arm["units"] / units if units else None} for arm in arms]


def _verdict(ask: Ask, one: Rollout) -> dict[str, Any] | None:
    """Return the last verdict on *one*, by its versions or its arms, that came since it began.

    One on both versions wherever they serve is meant as well, where there is none on this place.
    """
    for place in ((one.service, one.environment), ("", "")):
        wanted = {"service": place[0], "environment": place[1], "version": "", "decision": ""}
        for row in ask(statement("verdicts_listed"), {**wanted, "digest": "", "limit": _LOOKED_AT}):
            said, at = _body(row["body"]), int(row["at_ms"]) * _MILLISECOND
            if at >= one.since and _is_on(said, one):
                who = row["actor"] + (f" ({row['actor_label']})" if row["actor_label"] else "")
                told = {**said, "at": time_text(at), "by": who}
                return {name: told.get(name) for name in _VERDICT}
    return None


def _is_on(said: Mapping[str, Any], one: Rollout) -> bool:
    """Whether a verdict's body is about *one*."""
    if said.get("service") not in ("", one.service):
        return False
    if said.get("environment") not in ("", one.environment):
        return False
    if said.get("rollout"):
        return bool(said["rollout"] == one.id)
    return bool(said.get("candidate") == one.canary)


def _body(text: str) -> dict[str, Any]:
    try:
        said = parse_canonical(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def canary_words(one: Mapping[str, Any]) -> str:
    """Return what is told of a rollout: versions, shares, both sides, the last verdict."""
    head = (
        f"{inert(one['service'])} in {inert(one['environment'])}: canary "
        f"{version_words(one['canary'])} beside {version_words(one['stable'])}, "
        f"rollout {inert(one['id'])}\n"
    )
    lines = [head, f"  {_shares(one['phases'])}\n"]
    if one["ended"]:
        ended = one["ended"]
        why = f": {inert(ended['reason'])}" if ended["reason"] else ""
        lines.append(
            f"  ended {time_words(ended['at'])} by {inert(ended['action'])}, "
            f"{inert(ended['by'])}{why}\n"
        )
    lines += [f"  {line}\n" for line in _arm_lines(one)]
    verdict = one["verdict"]
    if verdict is None:
        lines.append("  no verdict yet: mvtrace compare looks\n")
    else:
        lines.append(
            f"  {inert(verdict['decision'] or 'not known')} ({inert(verdict['reason'] or '')}), "
            f"{time_words(verdict['at'])}: {inert(verdict['sentence'] or '')}\n"
        )
    return "".join(lines)


def _shares(phases: Sequence[Mapping[str, Any]]) -> str:
    steps = [f"{one['share']:.3g} since {time_words(one['at'])}" for one in reversed(phases)]
    before = f", before that {', '.join(steps[1:4])}" if steps[1:] else ""
    more = f", {plural(len(steps) - 4, 'share')} earlier" if len(steps) > 4 else ""  # noqa: PLR2004
    return f"share {steps[0]}{before}{more}"


def _arm_lines(one: Mapping[str, Any]) -> list[str]:
    if not one["arms"]:
        return ["no request yet"]
    planned = {"canary": one["share"], "stable": 1 - one["share"]}
    versions = {"canary": one["canary"], "stable": one["stable"]}
    rows = [
        [
            arm["arm"],
            version_words(versions[arm["arm"]]) if versions.get(arm["arm"]) else "",
            f"{arm['requests']:,}",
            f"{arm['units']:,}",
            "" if arm["share"] is None else f"{arm['share']:.3%}",
            f"{planned[arm['arm']]:.3%}" if arm["arm"] in planned else "",
        ]
        for arm in one["arms"]
    ]
    return table_text(_COLUMNS, rows).splitlines()
