"""What is checked once for the whole store: the registry's digests, damage, gaps, quarantine.

In: a session. Out: tallies. One pass a table, row by row in the engine: no more memory than a row.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mvtrace.digest import COMPONENT_DOMAIN, COMPOSITE_DOMAIN, CONTENT_DOMAIN, ENTRY_DOMAIN
from mvtrace.store.session import Session
from mvtrace_collector.verification.tally import MAX_EXAMPLES, Tally

_SINCE: Final = "received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')"
_HINT: Final = "The stored bytes were changed: compare with a backup, or register the part again."


class _Pass(NamedTuple):
    """A pass over one table: what is *wrong* with a row, and what it is called."""

    name: str
    what: str
    table: str
    wrong: str
    shown: str
    domain: bytes
    derived: str = ""
    """Further columns that *wrong* speaks of."""


_PASSES: Final = (
    _Pass(
        "components",
        "each component's body hashes to its digest and has its kind",
        "components",
        "digest != concat('sha256:', lower(hex(SHA256(concat({domain:String}, body))))) "
        "OR kind != JSONExtractString(body, 'kind')",
        "concat(project, ' ', kind, ' ', digest)",
        COMPONENT_DOMAIN,
    ),
    _Pass(
        "composites",
        "each manifest hashes to its version and lists the components of the row",
        "composites",
        "version != lower(hex(SHA256(concat({domain:String}, manifest)))) "
        "OR toJSONString(tuple(component_kinds, component_names, component_digests)) != "
        "toJSONString(tuple(parts.kind, parts.name, parts.digest))",
        "concat(project, ' ', name, ' ', version)",
        COMPOSITE_DOMAIN,
        ", JSONExtract(manifest, 'components', "
        "'Array(Tuple(kind String, name String, digest String))') AS parts",
    ),
    _Pass(
        "contents",
        "each registered text hashes to its digest",
        "contents",
        "digest != concat('sha256:', lower(hex(SHA256(concat({domain:String}, content)))))",
        "concat(project, ' ', digest)",
        CONTENT_DOMAIN,
    ),
    _Pass(
        "registry entries",
        "each entry's body hashes to its digest and has its kind",
        "registry_entries",
        "digest != concat('sha256:', lower(hex(SHA256(concat({domain:String}, body))))) "
        "OR kind != JSONExtractString(body, 'kind')",
        "concat(project, ' ', kind, ' ', digest)",
        ENTRY_DOMAIN,
    ),
)

_UNREGISTERED: Final = f"""
SELECT concat(project, ' ', version, ' names ', digest) AS shown
FROM
(
    SELECT project, version, arrayJoin(component_digests) AS digest FROM composites WHERE {_SINCE}
)
WHERE (project, digest) NOT IN (SELECT project, digest FROM components)
"""
_PARTS: Final = """
SELECT concat(table, ' ', name, ': ', if(reason = '', 'detached', assumeNotNull(reason))) AS shown
FROM system.detached_parts WHERE database = {database:String}
"""
_GAPS: Final = """
SELECT concat(producer_id_text, ' of ', service, ': ', toString(left), ' of ', toString(first), '-',
    toString(last), ' missing, ', reason) AS shown
FROM
(
    SELECT producer_id_text, first, argMax(last, revision) AS last,
        argMax(service, revision) AS service, argMax(missing, revision) AS left,
        argMax(reason, revision) AS reason, max(changed_at) AS at
    FROM ingest_gaps GROUP BY project, producer_id_text, first
)
WHERE left > 0 AND at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
"""
_QUARANTINE: Final = f"""
SELECT concat(reason, ': ', toString(count()), ', the newest of ', toString(max(received_at)))
FROM quarantine WHERE {_SINCE} GROUP BY reason ORDER BY reason LIMIT {MAX_EXAMPLES}
"""


class StoreCheck:
    """Checks what is not request-keyed."""

    def __init__(self, session: Session, database: str, *, since_ms: int) -> None:
        self._session = session
        self._parameters: dict[str, Any] = {"since_ms": since_ms, "database": database}

    def registry(self) -> list[Tally]:
        """Return the tallies of what is registered, and of what refers to nothing."""
        return [*(self._pass(one) for one in _PASSES), self._unregistered()]

    def damage(self) -> list[Tally]:
        """Return the tallies of detached parts, gaps and quarantine."""
        parts = Tally(
            "detached parts",
            "no part of a table was put aside",
            hint="See system.detached_parts and the engine's log; 'ALTER TABLE … ATTACH PART' "
            "takes a sound one back, DROP DETACHED PART forgets it.",
        )
        self._list(parts, _PARTS)
        gaps = Tally(
            "gaps",
            "each number a producer took has come",
            is_note=True,
            hint="These records were lost before they came here; 'mvtrace find' cannot show them.",
        )
        if self._exists("ingest_gaps"):
            self._list(gaps, _GAPS)
        return [parts, gaps, self._quarantine()]

    def _pass(self, one: _Pass) -> Tally:
        tally = Tally(one.name, one.what, hint=_HINT)
        parameters = {**self._parameters, "domain": one.domain.decode()}
        [(checked, wrong, examples)] = self._session.query(
            f"SELECT count(), countIf({one.wrong}), "
            f"groupArrayIf({MAX_EXAMPLES})({one.shown}, {one.wrong}) "
            f"FROM (SELECT *{one.derived} FROM {one.table}) WHERE {_SINCE}",
            parameters,
        ).rows
        tally.checked = int(checked)
        tally.found(map(str, examples), count=int(wrong))
        return tally

    def _unregistered(self) -> Tally:
        tally = Tally(
            "references",
            "each component that a manifest names is registered",
            is_note=True,
            hint="Explanations of these versions lack the facts of those parts.",
        )
        self._list(tally, _UNREGISTERED)
        return tally

    def _quarantine(self) -> Tally:
        tally = Tally(
            "quarantine",
            "nothing was turned away",
            is_note=True,
            hint="'mvtrace sql \"SELECT reason, subject, detail FROM quarantine\"' tells more.",
        )
        [(tally.wrong,)] = self._session.query(
            f"SELECT count() FROM quarantine WHERE {_SINCE}", self._parameters
        ).rows
        rows = self._session.query(_QUARANTINE, self._parameters).rows
        tally.examples = [str(text) for (text,) in rows]
        tally.checked = tally.wrong
        return tally

    def _list(self, tally: Tally, sql: str) -> None:
        [(count,)] = self._session.query(f"SELECT count() FROM ({sql})", self._parameters).rows
        rows = self._session.query(
            f"SELECT shown FROM ({sql}) ORDER BY shown LIMIT {MAX_EXAMPLES}", self._parameters
        ).rows
        tally.checked += int(count)
        tally.found((str(text) for (text,) in rows), count=int(count))

    def _exists(self, table: str) -> bool:
        rows = self._session.query(
            "SELECT count() FROM system.tables WHERE database = {database:String} "
            "AND name = {table:String}",
            {**self._parameters, "table": table},
        ).rows
        return bool(rows[0][0])
