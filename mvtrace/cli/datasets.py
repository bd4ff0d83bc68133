"""``mvtrace dataset``: datasets by their content, whatever their files, and claims about them.

In: paths, names, roots. Out: what was registered; whether files at hand are the dataset that
somebody says they are; how many rows differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mvtrace.cli import listing
from mvtrace.cli.dataset_transform import transform
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker, register
from mvtrace.cli.text import aligned, table_text
from mvtrace.cli.words import plural, time_words
from mvtrace.errors import CheckFailedError
from mvtrace.registry.datasets.claims import claim_of
from mvtrace.registry.datasets.columns import Columns, Kind, parse_columns
from mvtrace.registry.datasets.comparing import Difference, compare_datasets
from mvtrace.registry.datasets.errors import DatasetError
from mvtrace.registry.datasets.files import FORMATS
from mvtrace.registry.datasets.finding import dataset_named, verify_dataset
from mvtrace.registry.datasets.hashing import Dataset, hash_dataset
from mvtrace.registry.datasets.running import dataset_name
from mvtrace.registry.entries import Entry, read_entries
from mvtrace.registry.reading import Ask, statement

_Command = TypeVar("_Command", bound=Callable[..., Any])
_COLUMNS: Final = ("registered (UTC)", "dataset", "name", "rows", "format")
_MOST_SHOWN: Final = 20
_DIFFERENT: Final = 1

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
_READING: Final = (
    click.option("--format", type=click.Choice(FORMATS), help="Where no suffix says it."),
    click.option(
        "--columns",
        metavar="NAME:TYPE,…",
        help="What texts stand for (id:int,at:timestamp), or @FILE of JSON. CSV is text without.",
    ),
    click.option("--split", metavar="NAME", help="Of a saved DatasetDict."),
)


def _reading(command: _Command) -> _Command:
    for option in reversed(_READING):
        command = option(command)
    return command


@click.group(epilog="Example: mvtrace dataset add ./tickets.jsonl --name tickets")
def dataset() -> None:
    """Name datasets by their rows, and check what is claimed of them.

    JSONL, CSV, TSV, Parquet, Arrow, Feather, folders of them, folders saved by Hugging Face's
    'datasets'. The root is the same in whatever order and format the rows lie.
    """


@dataset.command(epilog="Example: mvtrace dataset add ./tickets.csv --columns id:int")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="What people call it, by default as its file.")
@click.option("--uri", metavar="URI", help="Where its bytes are kept.")
@click.option("--dry-run", is_flag=True, help="Hash it, register nothing.")
@_reading
@JSON
@URL
def add(
    *, path: Path, name: str | None, uri: str | None, dry_run: bool, as_json: bool,
    url: str | None, **reading: Any,
) -> None:  # fmt: skip
    """Hash the dataset at PATH and register it; the command returns when it is stored.

    Exit codes: 0 done, 1 it is no dataset, 2 wrong use, 3 not stored.
    """
    found = hash_dataset(path, **_read_as(reading))
    if not found.rows:
        raise DatasetError(path, "it holds no rows, and every empty dataset is the same.")
    entry = found.entry(name or dataset_name(path), uri=uri)
    if not dry_run:
        register([entry], url=url)
    said = {**entry.said, "dataset": str(found.ref), "passed_over": list(found.passed_over)}
    if as_json:
        listing.write(json_text({**said, "registered": not dry_run}))
        return
    done = "would be registered" if dry_run else "is stored"
    listing.write(f"{found.ref} {inert(entry.name)} {done}: {_size(found)}.\n")
    if found.passed_over:
        names = ", ".join(map(inert, found.passed_over[:_MOST_SHOWN]))
        rest = len(found.passed_over) - _MOST_SHOWN
        listing.write(f"Passed over: {names}{f' and {rest:,} more' if rest > 0 else ''}.\n")


@dataset.command(epilog="Example: mvtrace dataset show tickets")
@click.argument("ref")
@JSON
@URL
@STORE
def show(*, ref: str, as_json: bool, url: str | None, store: str | None) -> None:
    """Show the dataset REF: a name, dataset:…, or 8 digits of its root or more."""
    found = dataset_named(asker(url, store), ref)
    if as_json:
        listing.write(json_text(found.to_dict()))
        return
    rows = [["dataset", str(found.ref)], ["name", inert(found.name)]]
    for name, value in (("rows", found.rows), ("distinct", found.distinct), ("bytes", found.bytes)):
        rows += [] if value is None else [[name, f"{value:,}"]]
    for name, text in (("format", found.format), ("uri", found.uri)):
        rows += [] if text is None else [[name, inert(text)]]
    rows += [["column", f"{inert(name)}: {_kind(kind)}"] for name, kind in found.columns.items()]
    listing.write("\n".join(aligned(rows)) + "\n")


@dataset.command(epilog="Example: mvtrace dataset verify ./tickets.parquet tickets")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("ref")
@_reading
@JSON
@URL
@STORE
def verify(
    *, path: Path, ref: str, as_json: bool, url: str | None, store: str | None, **reading: Any
) -> None:
    """Check that the rows at PATH are the dataset REF, whatever file they lie in.

    Exit codes: 0 they are, 1 they are not.
    """
    claimed = dataset_named(asker(url, store), ref)
    given = _read_as(reading)
    given["columns"] = given["columns"] or None
    found = verify_dataset(str(path), claimed, **given)
    if as_json:
        listing.write(json_text({"dataset": str(found.ref), "name": claimed.name, "same": True}))
        return
    listing.write(f"{inert(path)} is {found.ref} {inert(claimed.name)}: {_size(found)}.\n")


@dataset.command(epilog="Example: mvtrace dataset diff ./monday.jsonl ./tuesday.parquet")
@click.argument("a")
@click.argument("b")
@click.option("--columns", metavar="NAME:TYPE,…", help="Of both, as 'mvtrace dataset add' has it.")
@JSON
@URL
@STORE
def diff(
    *, a: str, b: str, columns: str | None, as_json: bool, url: str | None, store: str | None
) -> None:
    """Count the rows that only one of A and B has; of a registered name, root and rows compare.

    Exit codes: 0 they are the same, 1 they differ.
    """
    if _is_path(a) and _is_path(b):
        kinds = _columns(columns)
        found = compare_datasets(a, b, columns=(kinds, kinds))
        listing.write(json_text(found.to_dict()) if as_json else _diff_words(found, a, b))
        is_same = found.is_same
    else:
        one, other = _known(asker(url, store), a, b, _columns(columns))
        is_same = one["root"] == other["root"]
        said = {"a": one, "b": other, "same": is_same}
        listing.write(json_text(said) if as_json else _known_words(one, other, a, b))
    if not is_same:
        raise click.exceptions.Exit(_DIFFERENT)


@dataset.command(name="list", epilog="Example: mvtrace dataset list --json")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@JSON
@URL
@STORE
def list_(*, limit: int, as_json: bool, url: str | None, store: str | None) -> None:
    """List registered datasets, the newest first."""
    rows = asker(url, store)(statement("entries_of_kind"), {"kind": "dataset", "limit": limit})
    found = [_listed(row, one) for row in rows for one in read_entries([row["body"]])]
    unreadable = len(rows) - len(found)
    if as_json:
        listing.write(json_text({"datasets": found, "unreadable": unreadable}))
    elif not found:
        listing.write("No dataset is registered.\n")
    else:
        listing.write(table_text(_COLUMNS, [*map(_row, found)]))
    if unreadable and not as_json:
        listing.write(f"Left out: {plural(unreadable, 'row')} that cannot be read.\n")


dataset.add_command(transform)


def _read_as(reading: Mapping[str, Any]) -> dict[str, Any]:
    return {**reading, "columns": _columns(reading["columns"])}


def _columns(text: str | None) -> dict[str, Kind]:
    if not text:
        return {}
    try:
        said = Path(text[1:]).read_text("utf-8") if text.startswith("@") else text
        return parse_columns(said)
    except OSError as error:
        raise CommandLineError(f"--columns {text!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CommandLineError(
            f"--columns: {error}.", hint="For example id:int,score:float,at:timestamp."
        ) from error


def _known(ask: Ask, a: str, b: str, columns: Columns) -> list[dict[str, Any]]:
    """Return root and rows of both; the texts of a path are of the types registered of the name."""
    claims = {text: dataset_named(ask, text) for text in (a, b) if not _is_path(text)}
    kinds = columns or next((claim.typed for claim in claims.values()), {})
    found = [claims.get(text) or hash_dataset(text, columns=kinds) for text in (a, b)]
    return [{"root": one.root, "rows": one.rows} for one in found]


def _is_path(text: str) -> bool:
    return os.path.exists(text)  # noqa: PTH110 (a name may be no path at all)


def _diff_words(found: Difference, a: str, b: str) -> str:
    if found.is_same:
        return f"The same dataset: dataset:{found.roots[0]}, {plural(found.rows[0], 'row')}.\n"
    return (
        f"{plural(found.common, 'row')} in both, {found.only[0]:,} only in {inert(a)}, "
        f"{found.only[1]:,} only in {inert(b)}.\n"
    )


def _known_words(one: Mapping[str, Any], other: Mapping[str, Any], a: str, b: str) -> str:
    if one["root"] == other["root"]:
        return f"The same dataset: dataset:{one['root']}, {_rows(one)}.\n"
    return (
        f"Not the same: {inert(a)} is dataset:{one['root']} with {_rows(one)}, {inert(b)} "
        f"dataset:{other['root']} with {_rows(other)}. Rows are counted where both are files at "
        "hand.\n"
    )


def _rows(said: Mapping[str, Any]) -> str:
    return "rows that nobody counted" if said["rows"] is None else plural(said["rows"], "row")


def _listed(row: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """Return an entry as it is listed, also one that says of no dataset."""
    try:
        said = claim_of(entry).to_dict()
    except CheckFailedError:
        said = {"root": None, "name": entry.name, "rows": None, "format": None}
    return {**said, "registered_at": row["received"]}


def _row(said: Mapping[str, Any]) -> list[str]:
    return [
        time_words(said["registered_at"]).removesuffix(" UTC"),
        said["root"][:12] if said["root"] else "none",
        inert(said["name"]),
        "" if said["rows"] is None else f"{said['rows']:,}",
        inert(said["format"] or ""),
    ]


def _size(found: Dataset) -> str:
    files = plural(len(found.sources), "file")
    return f"{plural(found.rows, 'row')} ({found.distinct:,} distinct) in {files}"


def _kind(kind: Kind) -> str:
    if isinstance(kind, list):
        return f"list of {_kind(kind[0])}"
    if isinstance(kind, dict):
        members = ", ".join(f"{inert(name)}: {_kind(inner)}" for name, inner in kind.items())
        return "{" + members + "}"
    return inert(kind)
