"""``mvtrace scores``: its group, and ``import``: scores of a file, one JSON object a line.

In: lines with request_id, name, value or label, perhaps source, scorer, at. Out: what is wrong with
each line that is none, and otherwise the scores, in batches that a second try does not repeat.
Nothing is sent while a line is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.remote import Collector
from mvtrace.cli.score_lists import list_, pending
from mvtrace.cli.sources import collector_at
from mvtrace.cli.words import plural
from mvtrace.errors import CheckFailedError, UnavailableError
from mvtrace.scores import Score, event_of, read_lines
from mvtrace.semconv import PROJECT, REQUEST_ID

BATCH: Final = 1_000
MOST_TRIES: Final = 20
MOST_WAIT_S: Final = 60.0
_SHOWN: Final = 20
_OK: Final = 200
_RETRIED: Final = frozenset({429, 503})

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")


@click.group(epilog="Example: mvtrace scores import thumbs.jsonl --dry-run")
def scores() -> None:
    """Bring scores of requests in, list them, and see which wait for their request."""


@scores.command("import", epilog="Example: mvtrace scores import thumbs.jsonl --dry-run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Read and check every line, send nothing.")
@URL
@click.option("--json", "as_json", is_flag=True)
def import_(*, file: Path, dry_run: bool, url: str | None, as_json: bool) -> None:
    """Send the scores of FILE, one JSON object a line; a second time changes nothing.

    A line has request_id, name, value (a number) or label (text), and may have source, scorer
    (sha256:…), voter and at (2026-08-22T11:00:00Z). Exit codes: 0 done, 1 a line is none.
    """
    found, problems = read_lines(_lines(file))
    _tell(problems, len(found))
    sent = 0 if dry_run else _sent(collector_at(url), _dated(found, file))
    if as_json:
        listing.write(json_text({"scores": len(found), "sent": sent}, indent=None))
    elif dry_run:
        listing.write(f"{plural(len(found), 'score')} would be sent.\n")
    else:
        listing.write(f"{plural(sent, 'score')} sent.\n")


def _lines(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().split(b"\n")
    except OSError as error:
        raise CommandLineError(
            f"{file} cannot be read: {error.strerror or error}.",
            hint="It is a file with one JSON object a line.",
        ) from error


def _tell(problems: Sequence[tuple[int, str]], sound: int) -> None:
    """Raise where a line is no score, naming the first of them."""
    if not problems:
        return
    listed = "".join(f"\n  line {number}: {inert(said)}" for number, said in problems[:_SHOWN])
    more = f"\n  and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    raise CheckFailedError(
        f"{plural(len(problems), 'line')} of {len(problems) + sound:,} "
        f"{'is' if len(problems) == 1 else 'are'} no score, so nothing was sent:{listed}{more}",
        hint="'mvtrace scores import --help' tells what a line has.",
    )


def _dated(found: Sequence[Score], file: Path) -> Iterator[dict[str, Any]]:
    """Yield the log records of *found*; what has no time of its own has the file's.

    So that the same file gives the same bytes whenever it is sent.
    """
    written_ns = file.stat().st_mtime_ns
    for score in found:
        event = event_of(score, now_ns=written_ns)
        yield {
            "timeUnixNano": str(event.time_unix_nano),
            "eventName": event.name,
            "body": {"stringValue": event.body},
            "attributes": [{"key": REQUEST_ID, "value": {"stringValue": score.request_id}}],
        }


def _sent(collector: Collector, records: Iterator[dict[str, Any]]) -> int:
    """Send *records* in batches; return how many the collector took."""
    project = os.environ.get("MVTRACE_PROJECT")
    named = [{"key": PROJECT, "value": {"stringValue": project}}] if project else []
    taken = 0
    batch: list[dict[str, Any]] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            taken += _accepted(collector, batch, named)
            batch = []
    return taken + (_accepted(collector, batch, named) if batch else 0)


def _accepted(
    collector: Collector, batch: Sequence[dict[str, Any]], named: Sequence[dict[str, Any]]
) -> int:
    logs = {"resource": {"attributes": named}, "scopeLogs": [{"logRecords": batch}]}
    body = json.dumps({"resourceLogs": [logs]}).encode()
    batch_id = hashlib.sha256(body).hexdigest()[:32]
    for _ in range(MOST_TRIES):
        status, headers, answer = collector.export(body, batch_id)
        if status not in _RETRIED:
            break
        time.sleep(min(float(headers.get("retry-after", 1)), MOST_WAIT_S))
    if status != _OK:
        why = inert(answer.get("message") or f"the collector answered {status}")
        kind = UnavailableError if status in _RETRIED else CheckFailedError
        raise kind(f"Scores were not taken: {why}", hint="What was sent before is stored.")
    refused = answer.get("partialSuccess") or {}
    if number := int(refused.get("rejectedLogRecords", 0)):
        raise CheckFailedError(
            f"The collector refused {number:,} of {len(batch):,} scores: "
            f"{inert(refused.get('errorMessage', ''))}"
        )
    return len(batch)


for _command in (list_, pending):
    scores.add_command(_command)
