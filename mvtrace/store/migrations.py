"""Bring a store's tables to what this version knows: forward only, in the order of file names.

In: an open store and ``schemas/clickhouse/NNNN_verb_thing.sql``, one statement a file, harmless to
repeat. Out: the names that were applied. Each applied file is kept in ``schema_migrations`` with
the SHA-256 of its text; an edited file, or a schema of a newer version, stops everything. A kill
between a statement and its row only makes the statement run again. Nothing is ever undone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.errors import MigrationError, UsageError
from mvtrace.resources import schema_root
from mvtrace.store.store import Store

LEDGER: Final = """
CREATE TABLE IF NOT EXISTS {database}.schema_migrations
(
    name       String,
    checksum   String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""


class Migration(NamedTuple):
    """One file of the schema."""

    name: str
    checksum: str
    statement: str


def migrate(store: Store, folder: Path | None = None) -> list[str]:
    """Apply what is missing, in order, and return the names; again returns an empty list.

    Raises:
        MigrationError: the store's schema is not one that this version may change.

    """
    if store.kind == "collector":
        raise MigrationError(
            str(store.dsn),
            "a collector migrates its own store when it starts",
            hint="Give the DSN of the store itself: chdb:///DIR or clickhouse://HOST:PORT.",
        )
    todo = pending(store, folder)
    if not todo:
        return []
    if not _exists(store, "databases", "name = {database:String}"):
        store.command(f"CREATE DATABASE IF NOT EXISTS {store.database}", use_database=False)
    store.command(LEDGER.replace("{database}", store.database))
    done: list[Migration] = []
    try:
        for migration in todo:
            _apply(store, migration)
            done.append(migration)
    finally:
        _record(store, done)
    return [migration.name for migration in todo]


def pending(store: Store, folder: Path | None = None) -> list[Migration]:
    """Return what ``migrate`` would apply; reads only.

    Raises:
        MigrationError: an applied file was edited, or the schema is of a newer version.

    """
    known = known_migrations(folder)
    applied = applied_migrations(store)
    _check(known, applied)
    return [migration for migration in known if migration.name not in applied]


def known_migrations(folder: Path | None = None) -> list[Migration]:
    """Return the files of *folder* (``schemas/clickhouse``) in their order."""
    source = schema_root() / "clickhouse" if folder is None else folder
    return [
        Migration(path.stem, hashlib.sha256(path.read_bytes()).hexdigest(), path.read_text("utf-8"))
        for path in sorted(source.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]


def applied_migrations(store: Store) -> dict[str, str]:
    """Return name -> checksum of what the store has."""
    if not _exists(store, "tables", "database = {database:String} AND name = 'schema_migrations'"):
        return {}
    rows = store.query(
        "SELECT name, argMax(checksum, applied_at) FROM schema_migrations GROUP BY name"
    )
    return dict(rows.rows)


def _check(known: list[Migration], applied: dict[str, str]) -> None:
    checksums = {migration.name: migration.checksum for migration in known}
    newest = known[-1].name if known else "none"
    for name in sorted(applied):
        if name not in checksums:
            raise MigrationError(
                name,
                f"it is applied to the store but unknown here; the newest known is {newest}",
                hint="This store belongs to a newer version of mvtrace: upgrade mvtrace.",
            )
        if applied[name] != checksums[name]:
            raise MigrationError(
                name,
                f"it was edited after it was applied: SHA-256 {applied[name][:12]} is in the "
                f"store, {checksums[name][:12]} is in the file",
                hint="Restore the file, and write the change as a new migration.",
            )


def _apply(store: Store, migration: Migration) -> None:
    try:
        store.command(migration.statement.replace("{database}", store.database))
    except UsageError as error:
        raise MigrationError(migration.name, f"the store refuses it: {error}") from error


def _record(store: Store, done: Sequence[Migration]) -> None:
    """Note what was applied, in one durable insert: one each was half of the time of a new store.

    What a kill keeps from being noted is applied again, which changes nothing: a test holds that.
    """
    if not done:
        return
    store.command(
        "INSERT INTO schema_migrations (name, checksum, applied_at) SELECT noted.1, noted.2, "
        "now64(3, 'UTC') FROM (SELECT arrayJoin(arrayZip({names:Array(String)}, "
        "{checksums:Array(String)})) AS noted)",
        {"names": [one.name for one in done], "checksums": [one.checksum for one in done]},
    )


def _exists(store: Store, what: str, condition: str) -> bool:
    found = store.query(
        f"SELECT count() FROM system.{what} WHERE {condition}", {"database": store.database}
    )
    return bool(found.rows[0][0])
