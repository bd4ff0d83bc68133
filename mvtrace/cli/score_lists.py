"""``mvtrace scores list`` and ``pending``: what was given, and what waits for its request.

In: a time, a name, a request. Out: the latest score of each request, name and scorer with the
version that answered; a score whose request is not stored is said to be pending.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.report import delay_words
from mvtrace.cli.text import table_text
from mvtrace.cli.words import digest_words, number_words, plural, time_words, version_words
from mvtrace.ids import UUID7_PATTERN
from mvtrace.registry.pin.naming import moment_ms
from mvtrace.registry.scored import MAX_MS, ScoreFilter, scores_listed, scores_pending

SINCE = click.option(
    "--since", metavar="TIME", default="30d", show_default=True,
    help="Given then or later: 2026-08-22T11:00 (UTC), or 15m, 6h, 7d back.",
)  # fmt: skip
UNTIL = click.option("--until", metavar="TIME", help="As --since.")
NAME = click.option("--name", default="", help="Only scores of this name.")
LIMIT = click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
JSON = click.option("--json", "as_json", is_flag=True)
URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")

_COLUMNS: Final = (
    "request",
    "given",
    "name",
    "value",
    "label",
    "scorer",
    "delay",
    "version",
    "arm",
)
_PENDING: Final = "pending"


@click.command("list", epilog="Example: mvtrace scores list --name thumbs --since 24h")
@SINCE
@UNTIL
@NAME
@click.option("--request", "request_id", default="", metavar="ID", help="Only of this request.")
@LIMIT
@JSON
@URL
@STORE
def list_(*, as_json: bool, url: str | None, store: str | None, **said: Any) -> None:
    """List scores, the latest given first, with the version and arm that answered.

    Of each request, name and scorer the one that holds. Without a stored request it is pending.
    """
    wanted = _wanted(said)
    found = scores_listed(asker(url, store), wanted)
    if as_json:
        listing.write(json_text({"scores": found, "limit": wanted.limit}))
        return
    listing.write(_table(found, wanted.limit) or "No score matches.\n")


@click.command("pending", epilog="Example: mvtrace scores pending --since 7d --json")
@SINCE
@UNTIL
@NAME
@LIMIT
@JSON
@URL
@STORE
def pending(*, as_json: bool, url: str | None, store: str | None, **said: Any) -> None:
    """List scores that wait for their request: none of it is stored yet.

    They count from the moment it is; nothing has to be sent again. A score that waits for long
    names a request that was lost, is another project's, or never was.
    """
    wanted = _wanted(said, only_pending=True)
    ask = asker(url, store)
    waiting = scores_pending(ask, wanted)
    found = scores_listed(ask, wanted) if waiting["scores"] else []
    if as_json:
        listing.write(json_text({**waiting, "listed": found, "limit": wanted.limit}))
        return
    if not waiting["scores"]:
        listing.write("No score is pending.\n")
        return
    listing.write(f"{_waiting(waiting)}\n\n{_table(found, wanted.limit)}")


def _wanted(said: Mapping[str, Any], *, only_pending: bool = False) -> ScoreFilter:
    request_id = str(said.get("request_id") or "").lower()
    if request_id and not UUID7_PATTERN.fullmatch(request_id):
        raise CommandLineError(
            f"{said['request_id']!r} is no request id.",
            hint="'mvtrace find' lists ids of requests; 'mvtrace explain' takes any id of one.",
        )
    now_ms = time.time_ns() // 1_000_000
    return ScoreFilter(
        since_ms=moment_ms(said["since"], now_ms),
        until_ms=moment_ms(said["until"], now_ms) if said["until"] else MAX_MS,
        name=said["name"],
        request_id=request_id,
        only_pending=only_pending,
        limit=said["limit"],
    )


def _waiting(waiting: Mapping[str, Any]) -> str:
    verb = "waits" if waiting["scores"] == 1 else "wait"
    requests = plural(waiting["requests"], "request")
    scores, since = plural(waiting["scores"], "score"), time_words(waiting["oldest"])
    return f"{scores} {verb} for {requests}; the first came {since}."


def _table(found: list[dict[str, Any]], limit: int) -> str:
    if not found:
        return ""
    table = table_text(_COLUMNS, [_row(one) for one in found])
    return table if len(found) < limit else f"{table}\n(the latest {limit:,}; --limit shows more)\n"


def _row(one: Mapping[str, Any]) -> list[str]:
    return [
        inert(one["request_id"]),
        time_words(one["scored_at"]).removesuffix(" UTC"),
        inert(one["name"]),
        number_words(one["value"]),
        inert(one["label"] or ""),
        digest_words(one["scorer"]) if one["is_declared"] else inert(one["scorer"]),
        delay_words(one["delay_ms"]),
        _PENDING if one["is_pending"] else version_words(one["composite_version"]),
        inert(one["arm"] or ""),
    ]
