"""``mvtrace access``: who asked for what, as the collector's access log has it.

In: arguments, and an admin's key in ``MVTRACE_API_KEY``. Out: a table, newest first, or JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import json_text
from mvtrace.cli.sources import collector_at
from mvtrace.cli.text import table_text

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")

_COLUMNS: Final = (
    *("time (UTC)", "actor", "label", "action", "project", "about", "outcome", "rows", "bytes"),
    *("took", "client"),
)
_ABOUT: Final = 60
_SHORT: Final = 27
"""Of a digest: algorithm, key and the first digits."""


@click.command(epilog="Example: mvtrace access --since 7d --action content")
@click.option("--since", metavar="TIME", help="2026-08-22T11:00 (UTC), or 15m, 6h, 7d back.")
@click.option("--until", metavar="TIME", help="As --since.")
@click.option("--actor", metavar="KEY_ID", help="A key's id; open, unknown, local or static.")
@click.option("--action", help="explain, find, sql, content, erase, govern, key-create, …")
@click.option("--outcome", help="ok, refused, not-found, unauthenticated, failed, begun, …")
@click.option(
    "--request",
    metavar="ID",
    help="What was asked for or found: any id, a key's, a subject's digest, a literal of SQL.",
)
@click.option("--project", metavar="NAME", help="Only this one's entries.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@URL
def access(*, url: str | None, as_json: bool, **wanted: Any) -> None:
    """List who explained, listed, queried, read, erased, governed; refusals too. For admins.

    No command changes or deletes an entry, and reading them makes one.
    """
    texts = {key: str(value) for key, value in wanted.items() if value is not None}
    found = collector_at(url).get("/api/v1/access", texts)
    listing.write(access_words(found, as_json=as_json))


def access_words(found: Mapping[str, Any], *, as_json: bool) -> str:
    """Return entries as a table, or as JSON."""
    if as_json:
        return json_text(found)
    entries: Sequence[Mapping[str, Any]] = found["entries"]
    if not entries:
        return "No entry matches.\n"
    table = table_text(_COLUMNS, [_row(entry) for entry in entries])
    if len(entries) == found["limit"]:
        table += f"\n(the newest {found['limit']:,}; --limit shows more)\n"
    return table


def _row(entry: Mapping[str, Any]) -> list[str]:
    moment = datetime.fromtimestamp(entry["time_ms"] / 1000, UTC)
    rows = entry["rows"]
    return [
        f"{moment:%Y-%m-%d %H:%M:%S}",
        entry["actor"],
        entry["label"],
        entry["action"],
        entry["project"],
        _about(entry),
        entry["outcome"],
        "" if rows is None else f"{rows:,}",
        f"{entry['bytes']:,}",
        f"{entry['duration_ms']:.0f} ms",
        entry["client"],
    ]


def _about(entry: Mapping[str, Any]) -> str:
    """Return what an access was about, as far as a column shows it: --json has the whole."""
    asked = entry["asked"]
    text = entry["statement"] or entry["request_id"] or asked
    if text == asked and text.startswith("hmac-sha256:"):
        return f"{text[:_SHORT]}…"
    return text if len(text) <= _ABOUT else f"{text[: _ABOUT - 1]}…"
