"""``mvtrace verdicts``: what comparisons came to, look by look, and whether it still computes.

In: a filter. Out: verdicts, the newest first, each with whose key it came under. With ``--check``
each is computed again from the statistics that are stored with it, and has to be the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import ExtraMissingError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.text import table_text
from mvtrace.cli.words import plural, time_words, version_words

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
_COLUMNS: Final = (
    "at", "decision", "reason", "baseline", "canary", "service", "environment", "requests", "look",
    "plan", "by",
)  # fmt: skip


@click.command(epilog="Example: mvtrace verdicts --service bot --limit 5 --check")
@click.argument("digest", required=False)
@click.option("--service")
@click.option("--environment")
@click.option("--version", metavar="HEX", help="On either side: its first 8 digits or more.")
@click.option("--decision", type=click.Choice(["promote", "hold", "revert"]))
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--check", is_flag=True, help="Compute each again from what is stored with it.")
@click.option("--json", "as_json", is_flag=True)
@URL
@STORE
def verdicts(*, url: str | None, store: str | None, as_json: bool, **said: Any) -> None:
    """List verdicts, the newest first; those whose digest begins with DIGEST.

    Exit codes: 0 done, 1 none is there, or with --check one is not what its statistics make.
    """
    try:
        stored = import_module("mvtrace.comparing.stored")
    except ImportError as error:
        raise ExtraMissingError("quality", str(error)) from error
    wanted = {key: value or "" for key, value in said.items() if key not in ("limit", "check")}
    found = stored.listed(asker(url, store), **wanted, limit=said["limit"])
    problems = stored.problems(asker(url, store), found) if said["check"] else {}
    if as_json:
        listing.write(json_text({"verdicts": [_told(one, problems) for one in found]}))
    else:
        listing.write(_words(found, problems, checked=said["check"]))
    sys.exit(1 if problems or (said["digest"] and not found) else 0)


def _told(one: Mapping[str, Any], problems: Mapping[str, str]) -> dict[str, Any]:
    kept = {key: value for key, value in one.items() if key != "body"}
    return {**kept, "problem": problems.get(one["event_id"])}


def _words(
    found: Sequence[Mapping[str, Any]], problems: Mapping[str, str], *, checked: bool
) -> str:
    if not found:
        return "No verdict matches.\n"
    text = table_text(_COLUMNS, [_row(one) for one in found])
    if not checked:
        return text
    good = len(found) - len(problems)
    lines = [f"\n{plural(good, 'verdict')} computed again to the same bytes.\n"]
    lines += [f"! {one}: {inert(problem)}\n" for one, problem in problems.items()]
    return text + "".join(lines)


def _row(one: Mapping[str, Any]) -> list[str]:
    is_arm = one["by"] == "arm"
    named = str if is_arm else version_words
    sides = [named(one[name]) for name in ("baseline", "candidate")]
    return [
        time_words(one["at"]),
        one["decision"],
        one["reason"],
        *sides,
        one["service"],
        one["environment"],
        f"{one['requests'][0]:,} + {one['requests'][1]:,}",
        f"{one['looks']:,}",
        f"{one['plan_name']} ({one['plan_digest'].removeprefix('sha256:')[:12]})",
        one["actor"] + (f" ({one['actor_label']})" if one["actor_label"] else ""),
    ]
