"""``mvtrace leakage``: what of an eval is found in training data, and the certificate of it.

In: an eval and training data: files, folders, datasets, suites, models. Out: what was found, stored
as a certificate; exit code 1 where more was found than is allowed. What compares is an extra and is
imported when it is needed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.certificates import certificates_words, stored_words
from mvtrace.cli.errors import ExtraMissingError
from mvtrace.cli.inert import json_text
from mvtrace.cli.registering import asker
from mvtrace.registry.reading import entry_named, statement

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
CHECK: Final = "check"
_MOST_JOBS: Final = 64


class _Checking(click.Group):
    """A group whose first word may be left out where it is ``check``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read ``EVAL TRAIN…`` as ``check EVAL TRAIN…``."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [CHECK, *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Checking, epilog="Example: mvtrace leakage suite.jsonl train.jsonl --column question"
)
def leakage() -> None:
    """Find what of an eval set is in training data, as in: mvtrace leakage EVAL TRAIN.

    A comparison gives a certificate, stored beside the lineage; 'check' need not be written.
    """


@leakage.command(CHECK, epilog="Example: mvtrace leakage suite.jsonl train.jsonl --allow 3")
@click.argument("eval_", metavar="EVAL")
@click.argument("train", nargs=-1, required=True)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    help="Compare this column of the eval; may be repeated.  [all of text that differ]",
)
@click.option("--allow", type=click.IntRange(0), default=0, show_default=True, metavar="N")
@click.option(
    "--strict",
    is_flag=True,
    help="Fail too where training data, or what it was made from, was not compared or has more.",
)
@click.option("--threshold", type=float, default=0.7, show_default=True, metavar="JACCARD")
@click.option("--shingle", type=int, default=5, show_default=True, metavar="CHARACTERS")
@click.option("--permutations", type=int, default=128, show_default=True, metavar="N")
@click.option("--contained", type=float, default=0.7, show_default=True, metavar="SHARE")
@click.option("--run", type=int, default=8, show_default=True, metavar="TOKENS")
@click.option("--local", is_flag=True, help="Compare the files alone: nothing is asked or stored.")
@click.option("--show", is_flag=True, help="Print the texts that were found, here only.")
@click.option("--jobs", type=click.IntRange(1, _MOST_JOBS), metavar="N", help="Processes.")
@JSON
@URL
def check(**options: Any) -> None:
    """Compare EVAL with all of TRAIN, with what that was made from and with other versions.

    EVAL is a file or folder of rows, a suite or a dataset; TRAIN are such, or models, whose
    recorded training data is meant. Texts are compared as they are, normalized, as near-duplicates
    and as parts of longer texts. Exit codes: 0 at most N examples are in the training data, 1 more,
    or no training data could be read; 2 nothing that is made of data was named.
    """
    try:
        from mvtrace.cli.separating import separate  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ExtraMissingError("leakage", str(error)) from error
    options["jobs"] = options["jobs"] or len(os.sched_getaffinity(0))
    sys.exit(separate(**options))


@leakage.command(epilog="Example: mvtrace leakage show 3f2a9c01d4e5")
@click.argument("certificate")
@JSON
@URL
@STORE
def show(*, certificate: str, as_json: bool, url: str | None, store: str | None) -> None:
    """Show a stored certificate: its digest or the beginning, or the newest of an eval's name."""
    ask = asker(url, store)
    entry = entry_named(ask, "certificate", certificate)
    asked = {"refs": [str(entry.ref)], "limit": 1}
    one = _stored(ask(statement("leakage_certificates"), asked)[0])
    listing.write(json_text(one) if as_json else stored_words(one))


@leakage.command("list", epilog="Example: mvtrace leakage list --limit 5")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@JSON
@URL
@STORE
def list_(*, limit: int, as_json: bool, url: str | None, store: str | None) -> None:
    """List stored certificates, newest first."""
    rows = asker(url, store)(statement("leakage_certificates"), {"refs": [], "limit": limit})
    found = [_stored(row) for row in rows]
    written = json_text({"certificates": found, "limit": limit})
    listing.write(written if as_json else certificates_words(found, limit))


def _stored(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "certificate": row["digest"].removeprefix("sha256:"),
        "received_at": row["received"],
        "by": row["received_by"],
        "said": json.loads(row["body"]),
    }
