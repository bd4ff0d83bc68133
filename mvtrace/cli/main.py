"""``mvtrace``: arguments and exit codes, and nothing else.

Exit codes: 0 done, 1 not found or a check failed, 2 wrong use, 3 store or collector unreachable.
Results go to stdout, errors to stderr. What a command needs beyond this package is imported when it
runs, so that ``mvtrace explain`` starts fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mvtrace.cli import listing, operations, sources
from mvtrace.cli.access import access
from mvtrace.cli.canary import canary
from mvtrace.cli.compare import compare
from mvtrace.cli.datasets import dataset
from mvtrace.cli.deploy import deploy, deployments, promote, revert, rollback
from mvtrace.cli.diff import diff
from mvtrace.cli.drift import affected, drift
from mvtrace.cli.erase import content, erase
from mvtrace.cli.errors import CommandLineError, ExtraMissingError
from mvtrace.cli.evals import evals
from mvtrace.cli.experiment import experiment
from mvtrace.cli.keys import keys
from mvtrace.cli.leakage import leakage
from mvtrace.cli.lineage import lineage
from mvtrace.cli.log import log
from mvtrace.cli.pin import pin
from mvtrace.cli.plans import plan_
from mvtrace.cli.proxy import proxy
from mvtrace.cli.retention import retention
from mvtrace.cli.sbom import sbom
from mvtrace.cli.scores import scores
from mvtrace.cli.show import show
from mvtrace.cli.text import error_text
from mvtrace.cli.verdicts import verdicts
from mvtrace.errors import MvtraceError
from mvtrace.version import __version__

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option(
    "--store", metavar="DSN", help="Read this store directly, without a collector."
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: mvtrace explain 01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f",
)
def cli() -> None:
    """Say which exact system state gave an answer of an AI system."""


@cli.command(epilog="Example: mvtrace explain x-request-id:checkout-4711 --format markdown")
@click.argument("id")
@URL
@STORE
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="Text for a person, JSON for a program, Markdown for a ticket.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0, 5),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a request that is accepted but not yet stored.",
)
def explain(**options: Any) -> None:
    """Say which system state answered a request, what is proven, and what changed since.

    ID is a request id, a trace id, a client's x-request-id or a provider's response id;
    request:, trace:, x-request-id: or response: before it says which.
    """
    source = sources.source_of(options["url"], options["store"])
    explanation = source.explanation(options["id"], wait_s=options["wait"])
    form = "json" if options["as_json"] else options["form"]
    listing.write(listing.explanation_words(explanation, form, coloured=_is_coloured()))
    listing.note_wait(explanation)


@cli.command(epilog="Example: mvtrace find --since 6h --route /ask --error")
@click.option("--since", metavar="TIME", help="2026-08-22T11:00 (UTC), or 15m, 6h, 7d back.")
@click.option("--until", metavar="TIME", help="As --since.")
@click.option("--route", help="Exactly this route.")
@click.option("--service")
@click.option("--environment")
@click.option("--version", metavar="HEX", help="Composite version: its first 8 digits or more.")
@click.option("--error", is_flag=True, help="Only requests that failed.")
@click.option("--conversation", metavar="ID")
@click.option("--arm")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@URL
@STORE
def find(*, url: str | None, store: str | None, as_json: bool, **wanted: Any) -> None:
    """List requests, newest first."""
    texts = {key: str(value) for key, value in wanted.items() if value not in (None, False)}
    texts |= {"error": "1"} if wanted["error"] else {}
    found = sources.source_of(url, store).requests(texts)
    listing.write(listing.requests_words(found, as_json=as_json))


@cli.command(epilog="Example: mvtrace gaps --since 1d --service support")
@click.option("--since", metavar="TIME", help="2026-08-22T11:00 (UTC), or 15m, 6h, 7d back.")
@click.option("--until", metavar="TIME", help="As --since.")
@click.option("--service")
@click.option("--environment")
@click.option("--all", "everything", is_flag=True, help="Also gaps that late records have filled.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@URL
@STORE
def gaps(
    *, url: str | None, store: str | None, as_json: bool, everything: bool, **wanted: Any
) -> None:
    """List records that processes numbered and that never came, the latest first."""
    texts = {key: str(value) for key, value in wanted.items() if value is not None}
    texts |= {"all": "1"} if everything else {}
    found = sources.source_of(url, store).gaps(texts)
    listing.write(listing.gaps_words(found, as_json=as_json))


@cli.command(
    epilog='Example: mvtrace sql "SELECT composite_version, count() FROM requests GROUP BY 1"'
)
@click.argument("query")
@URL
@STORE
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--header", is_flag=True, help="Begin csv with the names of the columns.")
@click.option(
    "--exact", is_flag=True, help="Leave texts of csv as they are that a spreadsheet would run."
)
def sql(
    query: str, url: str | None, store: str | None, form: str, *, header: bool, exact: bool
) -> None:
    """Run one SELECT over the stored tables."""
    if form == "parquet" and sys.stdout.isatty():
        raise CommandLineError("parquet is binary and stdout is a terminal.", hint="Add '> FILE'.")
    body, output = sources.source_of(url, store).sql(query, listing.sql_format(form, header=header))
    listing.write_result(
        body,
        form=form,
        expected=listing.sql_format(form, header=header),
        got=output,
        exact=exact,
    )


@cli.command(epilog="Example: mvtrace status --url http://127.0.0.1:4318")
@URL
@click.option(
    "--spool",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read this spool folder; without --url nothing else.  [MVTRACE_SPOOL_DIR]",
)
@click.option("--json", "as_json", is_flag=True)
def status(*, url: str | None, spool: Path | None, as_json: bool) -> None:
    """Say how the collector and the spool folders of this host are.

    Exit codes: 0 healthy, 1 something is wrong, 3 no collector answers.
    """
    found, code = operations.status(url, spool)
    listing.write(operations.words(found, as_json=as_json))
    sys.exit(code)


@cli.command(epilog="Example: mvtrace verify --since 7d --repair")
@click.option(
    "--since", metavar="TIME", default="", help="Only what is newer: 7d, 2026-08-22T11:00."
)
@click.option("--repair", is_flag=True, help="Write derived rows anew; records never change.")
@click.option("--json", "as_json", is_flag=True)
@URL
@STORE
def verify(**options: Any) -> None:
    """Recompute what is stored: digests, columns, aliases, counts; list gaps and damage.

    Exit codes: 0 everything holds, 1 a check failed, 3 store or collector unreachable.
    """
    url, store = options.pop("url"), options.pop("store")
    text, code = operations.verify(url, store, **options)
    listing.write(text)
    sys.exit(code)


@cli.command(epilog="Example: mvtrace watch --interval 10s --for 10m")
@URL
@click.option("--interval", metavar="TIME", default="10s", show_default=True)
@click.option("--for", "length", metavar="TIME", help="How long; without it until a signal.")
@click.option(
    "--patience",
    metavar="TIME",
    default="60s",
    show_default=True,
    help="A request not explained by then is missing.",
)
@click.option("--project", metavar="NAME", help="Where the requests go.  [mvtrace-watch]")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was sent is remembered here, for later runs.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65_535), metavar="PORT")
@click.option("--json", "as_json", is_flag=True, help="One object a round, then the summary.")
def watch(*, url: str | None, folder: Path | None, **options: Any) -> None:
    """Send requests of its own, have them explained, compare: the continuous self-check.

    What earlier runs sent is looked at again. Exit codes: 0 all is well, 1 it is not.
    """
    sys.exit(operations.watch(url, folder, **options))


@cli.command(epilog="Example: mvtrace migrate --store chdb:///var/lib/mvtrace")
@click.option(
    "--store",
    metavar="DSN",
    envvar="MVTRACE_STORE",
    required=True,
    help="chdb:///DIR or clickhouse://HOST:PORT (MVTRACE_STORE).",
)
def migrate(store: str) -> None:
    """Bring a store's tables up to date; a collector does that by itself when it starts."""
    for name in sources.migrated(store):
        click.echo(f"applied {name}")
    click.echo("The tables are up to date.")


@cli.command(
    epilog="Example: mvtrace collector --store chdb:///var/lib/mvtrace --listen 127.0.0.1:4318"
)
@click.option("--store", metavar="DSN", help="chdb:///DIR or clickhouse://… (MVTRACE_STORE).")
@click.option("--listen", metavar="HOST:PORT", help="Port 0 takes a free one.  [127.0.0.1:4318]")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the inbox lies, by default beside the store.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Serve HTTPS with this certificate (PEM).  [MVTRACE_TLS_CERT]",
)
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key.")
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Listen on more than loopback without TLS or keys: behind a proxy that has both.",
)
@click.option(
    "--open",
    "is_open",
    is_flag=True,
    help="Be open to this host without keys, also where there were some before.",
)
def collector(**options: Any) -> None:
    """Take OpenTelemetry traces and logs, store them, answer questions."""
    try:
        from mvtrace_collector.app import serve  # noqa: PLC0415 (an extra)
        from mvtrace_collector.config import CollectorConfig  # noqa: PLC0415
    except ImportError as error:
        raise ExtraMissingError("embedded", str(error)) from error
    environ = dict(os.environ)
    for name in ("tls_cert", "tls_key"):
        if path := options.pop(name):
            environ[f"MVTRACE_{name.upper()}"] = str(path)
    if options.pop("is_open"):
        environ["MVTRACE_OPEN"] = "true"
    given = {key: value for key, value in options.items() if value}
    serve(CollectorConfig.from_environ(environ=environ, **given))


@cli.command(epilog="Example: mvtrace demo --requests 100")
@click.option("--requests", type=click.IntRange(2), default=200, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON.")
@click.option("--serve", is_flag=True, help="Leave collector and server running.")
def demo(*, requests: int, as_json: bool, serve: bool) -> None:
    """Run a real small AI system with collector and server, and explain one of its answers."""
    try:
        from mvtrace.demo.run import run  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ExtraMissingError("demo", str(error)) from error
    sys.exit(run(requests=requests, as_json=as_json, serve=serve))


cli.add_command(keys)
cli.add_command(access)
for _decision in (deploy, promote, revert, rollback, deployments):
    cli.add_command(_decision)
cli.add_command(canary)
cli.add_command(drift)
cli.add_command(affected)
cli.add_command(scores)
cli.add_command(erase)
cli.add_command(content)
cli.add_command(sbom)
cli.add_command(proxy)
cli.add_command(leakage)
cli.add_command(lineage)
cli.add_command(evals)
cli.add_command(dataset)
for _of_versions in (pin, show, log, diff):
    cli.add_command(_of_versions)
cli.add_command(experiment)
for _of_comparisons in (compare, plan_, verdicts):
    cli.add_command(_of_comparisons)
cli.add_command(retention)


@cli.command()
def version() -> None:
    """Print the version of mvtrace."""
    click.echo(f"mvtrace {__version__}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        result = cli.main(arguments, prog_name="mvtrace", standalone_mode=False)
    except MvtraceError as error:
        return _failed(error)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mvtrace"
        hint = f"'{command} --help' tells how."
        return _failed(CommandLineError(error.format_message(), hint=hint))
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read stdout has enough; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _failed(error: MvtraceError) -> int:
    sys.stderr.write(error_text(error))
    return error.exit_code


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
