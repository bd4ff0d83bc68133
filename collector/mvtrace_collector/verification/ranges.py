"""Records and aliases of one range of request ids, against what the loader makes of the records.

In: a session and a range. Out: findings in tallies; with *repair*, alias rows as they should be.
The loader's own statements derive columns and aliases from the stored bytes, into temporary tables
in place of the real ones, so that this check and the loader can never disagree about what is right.
A record whose digest is wrong derives nothing: from changed bytes nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from mvtrace.store.session import Session
from mvtrace_collector.statements import quoted, statement
from mvtrace_collector.verification.tally import MAX_EXAMPLES, Tally

DELETED_AT_A_TIME: Final = 500
_STAGES: Final = ("logs_stage_create", "records_stage_create", "verdicts_stage_create")
_DERIVED: Final = {"requests": "derived_requests", "request_aliases": "derived_aliases"}
_EXCEPT: Final = frozenset({"project", "record", "received_at"})
"""Columns of ``requests`` that the record does not say."""
_SETTINGS: Final = "max_threads = 1"
_TEXT_ID: Final = (
    "concat(substring(h, 1, 8), '-', substring(h, 9, 4), '-', substring(h, 13, 4), '-', "
    "substring(h, 17, 4), '-', substring(h, 21, 12))"
)


class Range(NamedTuple):
    """Request ids of one project and month: above *after*, up to *upto*; 32 hex digits each."""

    project: str
    month: str
    """Name of the partition, YYYYMM."""
    after: str
    upto: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The values that the statements take."""
        return self._asdict()


class RangeTallies(NamedTuple):
    """The checks of a range."""

    digests: Tally
    columns: Tally
    missing: Tally
    strays: Tally
    hashes: Tally
    unrecorded: Tally


def new_tallies() -> RangeTallies:
    """Return tallies that have seen nothing."""
    registered = "'mvtrace verify --repair' writes the alias rows anew from the records."
    return RangeTallies(
        Tally(
            "record digests",
            "each record's bytes hash to its digest",
            hint="The stored evidence was changed: compare with a backup; nothing repairs it.",
        ),
        Tally(
            "record columns",
            "each column of requests is what its record says",
            hint="Trust the record, which `mvtrace explain` reads; the columns are derived.",
        ),
        Tally("aliases present", "each id a record or span gives leads to it", hint=registered),
        Tally("aliases derivable", "each alias row follows from stored data", hint=registered),
        Tally("alias hashes", "each alias row is found by its hash", hint=registered),
        Tally(
            "requests without record",
            "each request with spans has a record, unless its sender knows nothing of mvtrace",
            is_note=True,
            hint="Their records were lost or are on the way; see the gaps.",
        ),
    )


class RangeCheck:
    """Checks ranges over one session, whose temporary tables it uses."""

    def __init__(
        self,
        session: Session,
        database: str,
        tallies: RangeTallies,
        *,
        repair: bool,
        settled_ms: int,
    ) -> None:
        self._session = session
        self._database = database
        self._tallies = tallies
        self._repair = repair
        self._settled = {"settled_ms": settled_ms}
        names = session.query(
            "SELECT name FROM system.columns WHERE database = {database:String} "
            "AND table = 'requests' AND default_kind != 'ALIAS'",
            {"database": database},
        )
        self._columns = [str(name) for (name,) in names.rows if name not in _EXCEPT]

    def run(self, one: Range) -> None:
        """Check *one* range."""
        if self._stage(one):
            self._check_digests()
            self._derive("requests", one)
            self._check_columns(one)
        self._derive("record_aliases", one)
        self._check_aliases(one)
        self._count_unrecorded(one)

    def _stage(self, one: Range) -> int:
        """Bring the stored records of the range where the loader has those of a segment."""
        for name in _STAGES:
            self._command(statement(name, self._database))
        for table, derived in _DERIVED.items():
            self._command(f"DROP TEMPORARY TABLE IF EXISTS {derived}")
            self._command(
                f"CREATE TEMPORARY TABLE {derived} AS {self._database}.{table} ENGINE = Memory"
            )
        self._command(
            "INSERT INTO stage_logs (project, received_ms, row, event_name, body, body_kind) "
            "SELECT project, toUnixTimestamp64Milli(received_at), rowNumberInAllBlocks(), "
            f"'mvtrace.request', record, 's' FROM requests WHERE {WITHIN} SETTINGS {_SETTINGS}",
            one.parameters,
        )
        self._command(statement("records_stage", self._database))
        [(count,)] = self._query("SELECT count() FROM stage_records")
        return int(count)

    def _check_digests(self) -> None:
        """Judge the staged records: one that is not what was stored derives nothing."""
        self._command("DROP TEMPORARY TABLE IF EXISTS sound_digests")
        self._command(
            "CREATE TEMPORARY TABLE sound_digests (digest FixedString(32)) ENGINE = Memory"
        )
        self._command(
            "INSERT INTO sound_digests SELECT DISTINCT record_digest FROM requests "
            "WHERE (project, request_id) IN "
            "(SELECT project, toFixedString(request_id, 16) FROM stage_records WHERE flaw = '')"
        )
        self._command(
            "INSERT INTO stage_verdicts SELECT row, if(flaw != '', flaw, "
            "if(digest IN (SELECT digest FROM sound_digests), '', 'digest')) AS problem, "
            "problem = '' FROM stage_records"
        )

    def _derive(self, name: str, one: Range) -> None:
        table = "requests" if name == "requests" else "request_aliases"
        text = statement(name, self._database)
        text = text.replace(f"{self._database}.{table}", _DERIVED[table])
        text = text.replace("{insert_settings}", _SETTINGS)
        self._command(text, {"months": [int(one.month)]})

    def _check_columns(self, one: Range) -> None:
        stored = ", ".join(f"toJSONString(tuple(s.{name}))" for name in self._columns)
        derived = ", ".join(f"toJSONString(tuple(d.{name}))" for name in self._columns)
        names = ", ".join(quoted(name) for name in self._columns)
        key = "sipHash128(project, toUnixTimestamp64Milli(received_at), record)"
        self._command("DROP TEMPORARY TABLE IF EXISTS differing")
        self._command(
            "CREATE TEMPORARY TABLE differing (id String, is_known Bool, digest Bool, "
            "names Array(String)) ENGINE = Memory"
        )
        self._command(
            f"INSERT INTO differing SELECT hex(s.request_id), d.project != '', s.is_sound, "
            f"arrayFilter((n, a, b) -> a != b, [{names}], [{stored}], [{derived}]) FROM "
            f"(SELECT *, {key} AS key, record_digest = {_RECORD_DIGEST} AS is_sound "
            f"FROM requests WHERE {WITHIN}) AS s "
            f"LEFT ANY JOIN (SELECT *, {key} AS key FROM derived_requests) AS d "
            f"ON s.key = d.key SETTINGS {_SETTINGS}",
            one.parameters,
        )
        tallies = self._tallies
        self._note(tallies.digests, "NOT digest", "'digest of its bytes is another'")
        shown = "if(is_known, arrayStringConcat(names, ', '), 'not a record')"
        self._note(tallies.columns, "digest AND (NOT is_known OR notEmpty(names))", shown)

    def _note(self, tally: Tally, condition: str, shown: str) -> None:
        [(checked, wrong)] = self._query(f"SELECT count(), countIf({condition}) FROM differing")
        tally.checked += int(checked)
        if wrong:
            rows = self._query(
                f"SELECT lower(id) AS h, {_TEXT_ID}, {shown} FROM differing WHERE {condition} "
                f"ORDER BY h LIMIT {MAX_EXAMPLES}"
            )
            tally.found((f"{text}: {problem}" for _, text, problem in rows), count=int(wrong))

    def _check_aliases(self, one: Range) -> None:
        """Compare alias rows with those that records, spans and events give."""
        for name, source in (("expected_aliases", _EXPECTED), ("found_aliases", _FOUND)):
            self._command(f"DROP TEMPORARY TABLE IF EXISTS {name}")
            self._command(f"CREATE TEMPORARY TABLE {name} {_ALIAS_COLUMNS} ENGINE = Memory")
            self._command(
                f"INSERT INTO {name} {source} SETTINGS {_SETTINGS}",
                one.parameters,
            )
        tallies = self._tallies
        [(expected,)] = self._query("SELECT count() FROM expected_aliases")
        [(found,)] = self._query("SELECT count() FROM found_aliases")
        tallies.missing.checked += int(expected)
        tallies.strays.checked += int(found)
        tallies.hashes.checked += int(found)
        self._settle(tallies.hashes, _WRONG_HASH, one, is_removed=True)
        self._settle(tallies.missing, _MISSING, one)
        self._settle(tallies.strays, _STRAY, one, is_removed=True)

    def _settle(self, tally: Tally, source: str, one: Range, *, is_removed: bool = False) -> None:
        """Tally the alias rows that *source* finds; with repair, remove or insert them."""
        parameters = {**one.parameters, **self._settled}
        [(count,)] = self._query(f"SELECT count() {source}", parameters)
        if not count:
            return
        listed = f"SELECT lower(hex(request_id)) AS h, {_TEXT_ID}, kind, alias {source}"
        rows = self._query(f"{listed} ORDER BY h, kind, alias LIMIT {MAX_EXAMPLES}", parameters)
        tally.found(
            (f"{kind} {alias} -> {text}" for _, text, kind, alias in rows), count=int(count)
        )
        if not self._repair:
            return
        if is_removed:
            keys = self._query(
                f"SELECT alias_hash, kind, alias, hex(request_id) {source}", parameters
            )
            self._remove(one, keys)
        else:
            self._command(
                "INSERT INTO request_aliases "
                "(project, alias_hash, kind, alias, request_id, received_at) "
                f"SELECT project, alias_hash, kind, alias, request_id, received_at {source}",
                parameters,
            )
        tally.repaired += int(count)

    def _remove(self, one: Range, keys: Sequence[Sequence[Any]]) -> None:
        for first in range(0, len(keys), DELETED_AT_A_TIME):
            listed = ", ".join(map(_literal, keys[first : first + DELETED_AT_A_TIME]))
            self._command(
                "ALTER TABLE request_aliases DELETE WHERE "
                f"project = {quoted(one.project)} AND "
                f"(alias_hash, kind, alias, hex(request_id)) IN ({listed}) "
                "SETTINGS mutations_sync = 1"
            )

    def _count_unrecorded(self, one: Range) -> None:
        [(requests, without)] = self._query(
            "SELECT count(), countIf(NOT is_recorded) FROM (SELECT DISTINCT request_id, "
            f"request_id IN (SELECT request_id FROM requests WHERE {WITHIN}) AS is_recorded "
            f"FROM spans WHERE {WITHIN} AND mapContains(attributes_string, 'mvtrace.request.id'))",
            one.parameters,
        )
        self._tallies.unrecorded.checked += int(requests)
        self._tallies.unrecorded.wrong += int(without)

    def _command(self, sql: str, parameters: dict[str, Any] | None = None) -> None:
        self._session.command(sql, parameters)

    def _query(self, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return self._session.query(sql, parameters).rows


def _literal(key: Iterable[Any]) -> str:
    number, kind, alias, request = key
    return f"({int(number)}, {quoted(str(kind))}, {quoted(str(alias))}, {quoted(str(request))})"


WITHIN: Final = (
    "project = {project:String} AND _partition_id = {month:String} "
    "AND request_id > toFixedString(unhex({after:String}), 16) "
    "AND request_id <= toFixedString(unhex({upto:String}), 16)"
)
_RECORD_DIGEST: Final = "SHA256(concat('mvtrace.record/1\\n', record))"
_ALIAS_COLUMNS: Final = (
    "(project LowCardinality(String), alias_hash UInt64, kind LowCardinality(String), "
    "alias String, request_id FixedString(16), received_at DateTime64(3, 'UTC'))"
)
_FOUND: Final = (
    "SELECT project, alias_hash, kind, alias, request_id, max(received_at) FROM request_aliases "
    f"WHERE {WITHIN} GROUP BY project, alias_hash, kind, alias, request_id"
)
_EXPECTED: Final = f"""
SELECT project, sipHash64(alias), kind, alias, request_id, min(received_at)
FROM
(
    SELECT project, kind, alias, request_id, received_at FROM derived_aliases
    UNION ALL
    SELECT project, 'trace_id', lower(hex(trace_id)), request_id, received_at
    FROM spans WHERE {WITHIN}
    UNION ALL
    SELECT project, 'response_id', assumeNotNull(response_id), request_id, received_at
    FROM spans WHERE {WITHIN} AND response_id IS NOT NULL AND response_id != ''
        AND (project, request_id) NOT IN
        (SELECT project, request_id FROM erasures WHERE reach != 'subject')
    UNION ALL
    SELECT project, 'trace_id', lower(hex(trace_id)), request_id, received_at
    FROM events WHERE {WITHIN} AND trace_id != toFixedString('', 16)
)
GROUP BY project, kind, alias, request_id
"""
_KEY: Final = "kind, alias, request_id"
_WRONG_HASH: Final = "FROM found_aliases WHERE alias_hash != sipHash64(alias)"
_MISSING: Final = (
    f"FROM expected_aliases WHERE ({_KEY}) NOT IN "
    f"(SELECT {_KEY} FROM found_aliases WHERE alias_hash = sipHash64(alias))"
)
_STRAY: Final = (
    "FROM found_aliases WHERE alias_hash = sipHash64(alias) "
    "AND received_at < fromUnixTimestamp64Milli({settled_ms:Int64}, 'UTC') "
    f"AND ({_KEY}) NOT IN "
    f"(SELECT {_KEY} FROM expected_aliases) AND request_id NOT IN "
    f"(SELECT request_id FROM requests WHERE {WITHIN} AND "
    f"(record_digest != {_RECORD_DIGEST} "
    "OR JSONExtractInt(record, 'capture', 'truncated') > 0))"
)
"""A record that was cut, or is damaged, may have had names that are no longer in it."""
