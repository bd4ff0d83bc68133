"""``mvtrace eval list`` and ``show``: which suites and scorers there are, and what was scored.

In: nothing, or a suite or scorer by name or digest. Out: the newest of each, or all that one says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.text import aligned, table_text
from mvtrace.cli.words import time_words, version_words
from mvtrace.registry.entries import Entry
from mvtrace.registry.errors import EntryNotFoundError
from mvtrace.registry.evals import scorers, suites
from mvtrace.registry.evals.runs import (
    MOST_RUNS,
    Run,
    known_of,
    runs_of,
    scorer_named,
    suite_named,
    version_named,
)
from mvtrace.registry.reading import Ask, statement

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
_RUNS: Final = ("recorded", "version", "suite", "scorer", "results", "scored", "run", "")
_KINDS: Final = (suites.KIND, scorers.KIND)


@click.command("list", epilog="Example: mvtrace eval list --version 3f2a9c01")
@click.option("--version", "version", metavar="HEX", help="Only what this version was scored on.")
@click.option("--suite", "suite_text", metavar="SUITE", help="Only on this suite.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@JSON
@URL
@STORE
def list_(*, limit: int, as_json: bool, url: str | None, store: str | None, **said: Any) -> None:
    """List suites, scorers and runs, the newest of each first."""
    ask = asker(url, store)
    suite = suite_named(ask, said["suite_text"]) if said["suite_text"] else None
    versions = [version_named(ask, said["version"])] if said["version"] else []
    runs = runs_of(ask, versions, suite=suite.digest.removeprefix("sha256:") if suite else "")
    shown = runs[:limit]
    listed = {f"{kind}s": _listed(ask, kind, limit) for kind in _KINDS}
    if as_json:
        listing.write(json_text({**listed, "runs": [_run(one) for one in shown], "limit": limit}))
        return
    known = known_of(ask, shown)
    parts = [_table(kind, listed[f"{kind}s"]) for kind in _KINDS]
    rows = [
        [
            time_words(_time(one.recorded_ns)),
            version_words(one.composite),
            inert(known.suite_words(one.suite)),
            inert(known.scorer_words(one.scorer)),
            f"{one.results:,}",
            f"{one.scored:,}",
            version_words(one.run),
            "" if one.is_whole else "pieces are missing",
        ]
        for one in shown
    ]
    parts.append(table_text(_RUNS, rows) if rows else "Nothing was scored.\n")
    if len(runs) > limit:
        more = " or more" if len(runs) >= MOST_RUNS else ""
        parts.append(f"(the newest {limit:,} of {len(runs):,}{more} runs; --limit shows more)\n")
    listing.write("\n".join(parts))


@click.command(epilog="Example: mvtrace eval show capitals")
@click.argument("anything")
@JSON
@URL
@STORE
def show(*, anything: str, as_json: bool, url: str | None, store: str | None) -> None:
    """Show all that a suite or a scorer says: ANYTHING is its name, its digest, or name@version."""
    ask = asker(url, store)
    entry = _found(ask, anything)
    said = entry.said
    prompt = _prompt(ask, said)
    if as_json:
        text = {"prompt_text": prompt} if prompt is not None else {}
        listing.write(json_text({"digest": entry.digest, **said, **text}))
        return
    rows = [[path, inert(value)] for path, value in _flat(said)]
    lines = [f"{entry.kind} {inert(entry.name)}", f"  {entry.ref}", ""]
    lines += [f"  {line}" for line in aligned(rows)]
    if prompt is not None:
        lines += ["", "prompt", *(f"  {inert(line)}" for line in prompt.rstrip("\n").split("\n"))]
    listing.write("\n".join(lines) + "\n")


def _found(ask: Ask, text: str) -> Entry:
    if text.startswith(f"{scorers.KIND}:"):
        return scorer_named(ask, text)
    try:
        return suite_named(ask, text)
    except EntryNotFoundError:
        if text.startswith(f"{suites.KIND}:"):
            raise
    try:
        return scorer_named(ask, text)
    except EntryNotFoundError as error:
        raise EntryNotFoundError(
            "suite or scorer", text, hint="'mvtrace eval list' lists those there are."
        ) from error


def _prompt(ask: Ask, said: Mapping[str, Any]) -> str | None:
    """Return a judge's prompt; None where there is none, or its text was never sent."""
    prompt = said.get("prompt")
    content = prompt.get("content") if isinstance(prompt, dict) else None
    found = content.get("pieces") or [content.get("digest")] if isinstance(content, dict) else []
    digests = [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
    if not digests:
        return None
    rows = ask(statement("eval_prompt"), {"digests": digests})
    texts = {row["digest"]: row["content"] for row in rows}
    if set(digests) - texts.keys():
        return None
    return "".join(texts[digest] for digest in digests)


def _listed(ask: Ask, kind: str, limit: int) -> list[dict[str, Any]]:
    rows = ask(statement("entries_of_kind"), {"kind": kind, "limit": limit})
    return [
        {"digest": row["digest"], "name": row["name"], "received_at": row["received"]}
        for row in rows
    ]


def _table(kind: str, listed: list[dict[str, Any]]) -> str:
    if not listed:
        return f"No {kind} is registered.\n"
    rows = [
        [
            inert(one["name"]),
            version_words(one["digest"].removeprefix("sha256:")),
            time_words(one["received_at"]),
        ]
        for one in listed
    ]
    return table_text((kind, "digest", "registered"), rows)


def _run(one: Run) -> dict[str, Any]:
    return {
        "version": one.composite,
        "suite": one.suite,
        "scorer": one.scorer,
        "run": one.run,
        "results": one.results,
        "scored": one.scored,
        "examples": one.examples,
        "is_whole": one.is_whole,
        "recorded_at": _time(one.recorded_ns),
    }


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else inert(key))
        return
    yield path, value


def _time(unix_nano: int) -> str:
    moment = datetime.fromtimestamp(unix_nano // 10**9, UTC)
    return f"{moment.replace(tzinfo=None).isoformat()}Z"
