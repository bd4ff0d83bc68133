"""``mvtrace drift`` and ``mvtrace affected``: what changed unannounced, and how far it reaches.

In: a filter; or a component, a drift's id or a request's id. Out: a table, one number, the
request ids, or the SQL that lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from mvtrace.cli import listing, sources
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.text import table_text
from mvtrace.cli.words import digest_words, time_words, version_words

SINCE = click.option("--since", metavar="TIME", help="2026-08-22T11:00 (UTC), or 15m, 6h, 7d back.")
UNTIL = click.option("--until", metavar="TIME", help="As --since.")
LIMIT = click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option(
    "--store", metavar="DSN", help="Read this store directly, without a collector."
)

_COLUMNS: Final = (
    *("drift", "service", "environment", "slot", "what", "expected", "observed", "requests"),
    *("first (UTC)", "last (UTC)", "state"),
)
_VERSION_COLUMNS: Final = (
    *("version", "service", "environment", "requests", "first (UTC)", "last (UTC)"),
)
_SHORT: Final = 12


@click.command(epilog="Example: mvtrace drift --since 24h --service support")
@SINCE
@UNTIL
@click.option("--service")
@click.option("--environment")
@click.option("--kind", help="Only slots of this kind: index, model, prompt, router …")
@click.option("--open", "only_open", is_flag=True, help="Only what has not been right again.")
@LIMIT
@click.option("--json", "as_json", is_flag=True)
@URL
@STORE
def drift(
    *, url: str | None, store: str | None, as_json: bool, only_open: bool, **wanted: Any
) -> None:
    """List what was not as declared, or changed unannounced: the one met last first.

    Each line is one slot with one wrong value, from the first request that met it to the last.
    """
    texts = {key: str(value) for key, value in wanted.items() if value is not None}
    texts |= {"open": "1"} if only_open else {}
    found = sources.source_of(url, store).drift(texts)
    listing.write(json_text(found) if as_json else drift_words(found))


@click.command(epilog="Example: mvtrace affected index/docs --since 7d --list")
@click.argument("target")
@SINCE
@UNTIL
@click.option("--list", "is_listed", is_flag=True, help="The ids of the requests, in their order.")
@click.option("--count", "is_counted", is_flag=True, help="Only how many requests there are.")
@click.option("--sql", "as_sql", is_flag=True, help="The statement that lists them all.")
@LIMIT
@click.option("--json", "as_json", is_flag=True)
@URL
@STORE
def affected(  # noqa: PLR0913 (one parameter an option)
    *,
    target: str,
    url: str | None,
    store: str | None,
    as_json: bool,
    as_sql: bool,
    is_listed: bool,
    is_counted: bool,
    **wanted: Any,
) -> None:
    """Say how many requests, users and versions something affected, and when.

    TARGET is a component (kind/name, kind/name@sha256:… or sha256:…), the id of a drift, or an id
    of a request: then all that were answered by the same state count.
    """
    if is_listed + is_counted + as_sql + as_json > 1 and not (is_listed and as_json):
        raise CommandLineError(
            "--list, --count, --sql and --json are four answers.", hint="Ask for one of them."
        )
    texts = {key: str(value) for key, value in wanted.items() if value is not None}
    texts |= {"id": target} | ({"list": "1"} if is_listed else {})
    found = sources.source_of(url, store).affected(texts)
    if as_json:
        listing.write(json_text(found))
    elif as_sql:
        listing.write(found["sql"] + "\n")
    elif is_counted:
        listing.write(f"{found['requests']}\n")
    else:
        listing.write(listed_words(found) if is_listed else affected_words(found))


def drift_words(found: Mapping[str, Any]) -> str:
    """Return a list of episodes."""
    episodes = found["drift"]
    if not episodes:
        return "No drift is known.\n"
    table = table_text(_COLUMNS, [_row(one) for one in episodes])
    if len(episodes) == found["limit"]:
        table += f"\n(the latest {found['limit']:,}; --limit shows more)\n"
    return table


def affected_words(found: Mapping[str, Any]) -> str:
    """Return how far something reaches."""
    head = f"{found['what']} {inert(_name(found))}"
    if not found["requests"]:
        return f"{head} affected no request.\n"
    span = f"{_time(found['first_at'])} to {_time(found['last_at'])} UTC"
    versions = len(found["versions"])
    lines = [
        f"{head} affected {_counted(found['requests'], 'request')} from {span}",
        f"  first   {inert(found['first_request'])}",
        f"  last    {inert(found['last_request'])}",
        f"  users   {_users(found)}",
        f"  ran     {_counted(versions, 'version')} of a service",
    ]
    rows = [_version_row(one) for one in found["versions"]]
    return "\n".join(lines) + "\n\n" + table_text(_VERSION_COLUMNS, rows)


def listed_words(found: Mapping[str, Any]) -> str:
    """Return the ids of requests, one a line, and nothing else but how many there are more."""
    text = "".join(f"{inert(one['request_id'])}\n" for one in found["listed"])
    left = found["requests"] - len(found["listed"])
    if left > 0:
        text += f"\n(the first {len(found['listed']):,} of {found['requests']:,}; --limit)\n"
    return text


def _row(one: Mapping[str, Any]) -> list[str]:
    return [
        one["id"][:_SHORT],
        inert(one["service"]),
        inert(one["environment"]),
        inert(f"{one['kind']}/{one['name']}"),
        inert(one["what"]),
        digest_words(one["expected"]),
        digest_words(one["observed"]),
        f"{one['requests']:,}",
        _time(one["started_at"]),
        _time(one["last_at"]),
        one["state"] if one["basis"] == "declared" else f"{one['state']}, undeclared",
    ]


def _version_row(one: Mapping[str, Any]) -> list[str]:
    return [
        version_words(one["composite_version"]),
        inert(one["service"]),
        inert(one["environment"]),
        f"{one['requests']:,}",
        _time(one["first_at"]),
        _time(one["last_at"]),
    ]


def _name(found: Mapping[str, Any]) -> str:
    name = str(found["name"])
    return name[:_SHORT] if found["what"] == "drift" else name


def _users(found: Mapping[str, Any]) -> str:
    """Return how many users there were, and of how many requests nobody said whose they are."""
    unknown = found["requests"] - found["requests_with_user"]
    if not found["users"]:
        return "not known: no request names a subject"
    more = f"; {_counted(unknown, 'request')} without a subject" if unknown else ""
    return f"{found['users']:,}{more}"


def _counted(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"


def _time(iso: str) -> str:
    return time_words(iso).removesuffix(" UTC")
