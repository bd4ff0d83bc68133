"""``mvtrace erase`` and ``mvtrace content``: what was kept of a person goes; what is kept is shown.

In: a subject as the application named it, or a request's id. Out: what an erasure found; the texts
of one request. The name never leaves this process: its keyed digest goes to the collector, made
with the application's own key. Decrypting happens here too, for who has ``MVTRACE_PAYLOAD_KEY``.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from mvtrace.cli import listing
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import json_text
from mvtrace.cli.sources import collector_at
from mvtrace.errors import CheckFailedError

_MAX_NAME: Final = 4096
URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
JSON = click.option("--json", "as_json", is_flag=True)
PROJECT = click.option("--project", metavar="NAME", help="Of which project.  [MVTRACE_PROJECT]")


@click.command(epilog="Example: mvtrace erase --subject customer-4711 --reason 'asked for it'")
@click.option(
    "--subject",
    required=True,
    metavar="ID",
    help="As the application names it with mvtrace.subject(); a request's id where it names none; "
    "- reads it from stdin, out of the process list and the shell's history.",
)
@click.option("--reason", default="", metavar="TEXT", help="Kept for ever: no personal data.")
@URL
@PROJECT
@JSON
def erase(
    *, subject: str, reason: str, url: str | None, project: str | None, as_json: bool
) -> None:
    """Destroy everything that was captured about a subject until now; the evidence stays.

    Needs a key with the scope erase, and the digest key of the applications (MVTRACE_DIGEST_KEY,
    or the one in MVTRACE_SPOOL_DIR): what is stored of a subject is a keyed digest.
    """
    from mvtrace.cli import contents  # noqa: PLC0415 (the capture side)

    name = _from_stdin() if subject == "-" else subject
    asked = {"subject": contents.digest_of_subject(name), "reason": reason}
    found = collector_at(url).post("/api/v1/erasures", asked, _query(project))
    listing.write(json_text(found) if as_json else contents.erased_words(found))


@click.command(epilog="Example: mvtrace content 01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f")
@click.argument("id")
@URL
@PROJECT
@JSON
def content(*, id: str, url: str | None, project: str | None, as_json: bool) -> None:  # noqa: A002
    """Show the texts that are kept of one request; decrypted here, with MVTRACE_PAYLOAD_KEY.

    Exit codes: 0 shown, 1 nothing is kept, or it cannot be read.
    """
    from mvtrace.cli import contents  # noqa: PLC0415 (the capture side)

    found = collector_at(url).get("/api/v1/content", {"id": id, **_query(project)})
    texts = contents.readable(found)
    if as_json:
        listing.write(json_text({**found, "contents": texts}))
    else:
        listing.write(contents.content_words(found, texts))
    if any(one["text"] is None for one in texts):
        raise CheckFailedError(
            "Some of it cannot be read.", hint="MVTRACE_PAYLOAD_KEY is the applications' own key."
        )


def _from_stdin() -> str:
    """Return the one line of stdin; a terminal asks for it without showing it."""
    if sys.stdin.isatty():
        return str(click.prompt("Subject", hide_input=True, err=True))
    lines = sys.stdin.read(_MAX_NAME + 1).splitlines()
    if len(lines) != 1 or not lines[0] or len(lines[0]) >= _MAX_NAME:
        raise CommandLineError(
            "--subject - needs one line on stdin.", hint="printf %s ID | mvtrace erase --subject -"
        )
    return lines[0]


def _query(project: str | None) -> dict[str, str]:
    chosen = project or os.environ.get("MVTRACE_PROJECT")
    return {"project": chosen} if chosen else {}
