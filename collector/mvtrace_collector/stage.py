"""One segment on its way through the engine: read into temporary tables, judged, stored by SQL.

In: a session of the store and a segment file. Out: the number of rows a table. Requests come
before spans, so that a span finds its trace's request; names come before rows, so that a kill in
between is healed by the same segment loaded again. A segment loaded twice gives the same rows: ids
are made from content, inserts carry tokens, and every table's key is a row's identity.
"""

from __future__ import annotations

import hashlib
import tempfile
from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from mvtrace.content import (
    EVENT_KEPT_KEYS,
    URL_KEYS,
    URL_QUERY_PATTERN,
    URL_USER_PATTERN,
    is_content,
    is_content_event,
    is_event_content,
    is_secret,
)
from mvtrace.errors import MvtraceError, StatementFailedError, UnavailableError
from mvtrace.semconv import EVENT_DEPLOYMENT
from mvtrace.store.session import Rows, Session
from mvtrace_collector import decisions, engine_types
from mvtrace_collector.dialects import NO_CALLS, Columns, columns_of
from mvtrace_collector.evaluations import Evaluations
from mvtrace_collector.failpoints import reach
from mvtrace_collector.foreign_values import ScopeRow, nested_text, scope_row
from mvtrace_collector.lineage import Lineage
from mvtrace_collector.needs import needs_in
from mvtrace_collector.placement import Claim, Known, Placed, place
from mvtrace_collector.poison import LOGS, TRACES, signals_in
from mvtrace_collector.precedence import Sent, Stored, Verdict, judge
from mvtrace_collector.readable import refuse_unreadable
from mvtrace_collector.statements import quoted, statement

MONTHS_PER_INSERT: Final = 50
"""The engine refuses an insert that touches more than 100 partitions."""

_WEEKLY_MONTHS: Final = 15
"""The same for a table that is partitioned by weeks."""
PAYLOAD_DAYS: Final = 30

_STAGES: Final = (
    "spans_stage_create",
    "logs_stage_create",
    "ids_stage_create",
    "scopes_stage_create",
    "values_stage_create",
)
_NO_SPANS: Final[dict[str, Any]] = {
    "scopes": [],
    "attribute_keys": [],
    "event_names": [],
    "nested": [],
    "sound": 0,
    "malformed": 0,
}
_NO_EVENTS: Final[dict[str, Any]] = {
    "events": 0,
    "scores": 0,
    "scopes": [],
    "keys": [],
    "nested": [],
}
"""What the surveys say of an empty stage. A statement costs 5 to 15 ms without a row."""
DATA_CODES: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  # ATTEMPT_TO_READ_AFTER_EOF
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        128,  # TOO_LARGE_ARRAY_SIZE
        131,  # TOO_LARGE_STRING_SIZE
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        241,  # MEMORY_LIMIT_EXCEEDED: half of the segment may fit
        252,  # TOO_MANY_PARTS: too many partitions for one insert
        306,  # TOO_DEEP_RECURSION
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        436,  # PROTOBUF_BAD_CAST
        444,  # UNKNOWN_PROTOBUF_FORMAT: no such message
        636,  # CANNOT_EXTRACT_TABLE_STRUCTURE
        1001,  # STD_EXCEPTION
    }
)
"""Errors that come from the data as far as anyone can tell; all others are the store's."""
PRESSURE_CODES: Final = frozenset({241, 252})
"""Those of them that may pass: a segment is halved, but one batch alone is never given up."""

_REGISTRY: Final = (
    *("contents", "components", "composites"),
    *("lineage_edges", "eval_results", "registry_entries"),
)
"""Its tables. Entries come last: who waits for an entry then finds what is derived from it."""

_EMPTY_SEGMENT: Final = b"\x09\x0a\x07default"
_UNIT: Final = "\x1f"
_INSERT_SETTINGS: Final = (
    "async_insert = 0, insert_deduplicate = 1, max_threads = 1, max_insert_threads = 1, "
    "optimize_on_insert = 0, output_format_json_escape_forward_slashes = 0"
)
"""optimize_on_insert would merge each block before it is written, a third of an insert's time, for
rows that readers and merges tell apart by their keys anyway."""
_NEWER_SETTINGS: Final = {
    "deduplicate_insert": "'enable'",
    "query_plan_join_swap_table": "'false'",
    "query_plan_optimize_join_order_limit": "0",
}
"""For engines that have them. Joined the other way round, rows would leave the stage in the order
of the smaller table, and of two rows of one key the later sent would not always be kept."""

_SCHEMA_BEGINS: Final = "format_schema = '"


class ShortLoadError(UnavailableError):
    """Fewer rows are stored than were inserted: a token swallowed them, or a part was lost."""

    code = "short-load"

    def __init__(self, table: str, expected: int, found: int) -> None:
        super().__init__(f"{table} holds {found} of {expected} rows of this segment.")


class UnloadableSegmentError(MvtraceError):
    """Something in the segment cannot be loaded, now or later."""

    code = "unloadable-segment"


class SegmentStage:
    """Loads one segment; made for each try."""

    def __init__(self, session: Session, database: str, *, token: str) -> None:
        self._session = session
        self._database = database
        self._token = token
        self._rows: Counter[str] = Counter()
        self.numbers: list[tuple[Any, ...]] = []
        """After a load: which numbers of which producers its records have (records_numbers.sql)."""
        self.spoken: list[str] = []
        """And which producers said something about themselves, in hex digits."""
        self.scored: list[tuple[str, int]] = []
        """Of which hours' requests it has scores, by project; hours since 1970."""
        self.retention_days = PAYLOAD_DAYS
        """How long content is kept from the request on."""
        self.digest_key = ""
        """Key of the digests of foreign senders' content; none are made without it."""
        self.schema_edition = 0
        """Changed where the engine may have kept the schema by half: it knows it by its text."""

    def load(self, segment: Path) -> Counter[str]:
        """Store everything in *segment* and return the number of rows a table.

        Raises:
            UnloadableSegmentError: the engine cannot take what is in the segment.
            StatementFailedError: the store refuses for another reason.
            UnavailableError: the store does not answer.
            ShortLoadError: rows are missing after the insert.
        """
        try:
            self._load(segment)
        except StatementFailedError as error:
            if error.store_code in DATA_CODES:
                raise UnloadableSegmentError(str(error)) from error
            raise
        return self._rows

    def check_reading(self) -> None:
        """Read a segment of one empty batch; raises where the store cannot read any."""
        with tempfile.NamedTemporaryFile(prefix="mvtrace-") as file:
            file.write(_EMPTY_SEGMENT)
            file.flush()
            self._read(Path(file.name), {TRACES, LOGS})

    def _load(self, segment: Path) -> None:
        signals = signals_in(segment)
        self._read(segment, signals)
        logs = self._store_own_events() if LOGS in signals else _NO_EVENTS
        has_records = bool(logs.get("records"))
        reach("loader.between-tables")
        spans = self._one("spans_survey") if TRACES in signals else _NO_SPANS
        content_keys = [key for key in spans["attribute_keys"] if is_content(key)]
        if spans["malformed"]:
            self._insert("quarantine_spans", content_keys=content_keys)
            self._rows["quarantine"] += spans["malformed"]
        if spans["sound"] or logs["events"]:
            self._decode({*logs["scopes"], *spans["scopes"]}, {*logs["nested"], *spans["nested"]})
            calls = columns_of(spans["attribute_keys"])
            months = self._place(calls)
            if spans["sound"]:
                self._insert_by_month(
                    "spans",
                    months,
                    calls,
                    content_keys=content_keys,
                    **_content_rules(spans),
                    **_digest_rules(content_keys, self.digest_key),
                )
                self._verify("spans", spans["sound"])
            if logs["events"]:
                event_content = _event_content(logs["keys"])
                self._insert_by_month("events", months, event_content=event_content)
                self._verify("events", logs["events"])
        if logs["scores"] or has_records:
            self._store_scores(logs)

    def _read(self, segment: Path, signals: Collection[int]) -> None:
        for name in _STAGES:
            self._session.command(statement(name, self._database))
        for signal, name, structure in (
            (LOGS, "logs_stage", engine_types.LOGS),
            (TRACES, "spans_stage", engine_types.SPANS),
        ):
            if signal in signals:
                text = statement(name, self._database)
                if self.schema_edition:
                    text = text.replace(
                        _SCHEMA_BEGINS, rf"{_SCHEMA_BEGINS}// edition {self.schema_edition}\n"
                    )
                self._session.insert_otlp(text, segment, structure=structure)

    def _store_own_events(self) -> dict[str, Any]:
        """Store what mvtrace itself sent, and return the survey of all log records."""
        logs = self._one("logs_survey")
        if logs["payloads"]:
            self._store_payloads()  # before the records: it may find their requests erased
        if logs["records"]:
            self._store_records(has_erasures=bool(logs["erasures"]))
        if logs["registry"]:
            self._store_registry()
        if logs["producers"]:
            self._store_producers()
        if logs["decisions"]:
            self._store_decisions()
        return logs

    def _store_records(self, *, has_erasures: bool) -> None:
        self._session.command(statement("records_stage_create", self._database))
        self._session.command(statement("verdicts_stage_create", self._database))
        self._session.command(statement("records_stage", self._database))
        sent = [Sent(*row) for row in self._query("records_survey").rows]
        stored = (Stored(*row) for row in self._query("records_known").rows)
        verdicts = list(judge(sent, stored))
        self._session.insert("stage_verdicts", Verdict._fields, verdicts)
        sound = {verdict.row for verdict in verdicts if not verdict.problem}
        months = sorted({record.month for record in sent if record.row in sound})
        if has_erasures:
            self._insert("erasures_records")  # before the names, which it may keep out
            if self._one("names_late")["records"]:
                self._session.command(statement("names_erase", self._database))
        self._insert_by_month("record_aliases", months)
        self._insert_by_month("requests", months)
        requests = {(record.project, record.request) for record in sent if record.row in sound}
        self._verify("requests", len(requests), name="records_verify")
        if sound:
            self.numbers = self._query("records_numbers").rows
        if len(sound) < len(sent):
            self._insert("quarantine_records")
            self._rows["quarantine"] += len(sent) - len(sound)

    def _store_registry(self) -> None:
        self._session.command(statement("registry_stage_create", self._database))
        self._session.command(statement("registry_stage", self._database))
        survey = self._one("registry_survey")
        if survey["registry_entries"] and refuse_unreadable(self._session, self._database):
            survey = self._one("registry_survey")
        lineage = Lineage(self._session, self._database)
        if lineage.judge(survey):
            survey = self._one("registry_survey")  # a derivation that was refused is no entry
        survey["lineage_edges"] = lineage.edges
        for table in _REGISTRY:
            if survey[table]:
                self._insert(table)
                self._verify(table, survey[table])
        if lineage.left_out:
            self._insert("quarantine_lineage")
            self._rows["quarantine"] += lineage.left_out
        if survey["refused"]:
            self._insert("quarantine_registry")
            self._rows["quarantine"] += survey["refused"]

    def _store_payloads(self) -> None:
        days = self.retention_days
        self._session.command(statement("payloads_stage_create", self._database))
        self._session.command(statement("payloads_stage", self._database), {"retention_days": days})
        survey = self._one("payloads_survey")
        months = sorted(survey["months"])
        for first in range(0, len(months), _WEEKLY_MONTHS):
            part = months[first : first + _WEEKLY_MONTHS]
            self._insert("payloads", suffix=f":{part[0]}", months=part, retention_days=days)
        self._verify("payloads", survey["sound"])
        if survey["erased"]:
            self._insert("erasures_late")
        if survey["refused"]:
            self._insert("quarantine_payloads")
            self._rows["quarantine"] += survey["refused"]

    def _store_producers(self) -> None:
        self._session.command(statement("producers_stage_create", self._database))
        self._session.command(statement("producers_stage", self._database))
        survey = self._one("producers_survey")
        self.spoken = list(survey["producers"])
        if survey["sound"]:
            self._insert("producers")
            self._verify("producers", survey["sound"])
        if survey["refused"]:
            self._insert("quarantine_producers")
            self._rows["quarantine"] += survey["refused"]

    def _store_decisions(self) -> None:
        sent = [decisions.Sent(*row) for row in self._query("decisions_survey").rows]
        stored = (decisions.Stored(*row) for row in self._query("decisions_known").rows)
        said = (decisions.Said(*row) for row in self._query("retention_known").rows)
        judged = list(decisions.judge(sent, stored, said, needs_in(self._session)))
        self._session.command(statement("decisions_stage_create", self._database))
        self._session.insert("stage_decisions", decisions.Judged._fields, judged)
        sound = {(one.name, one.project, one.event_id) for one in judged if not one.problem}
        deployed = sum(name == EVENT_DEPLOYMENT for name, _, _ in sound)
        for table, expected in (
            ("deployments", deployed),
            ("governance_events", len(sound) - deployed),
        ):
            if expected:
                self._insert(table)
                self._verify(table, expected)
        if refused := sum(bool(one.problem) for one in judged):
            self._insert("quarantine_decisions")
            self._rows["quarantine"] += refused

    def _store_scores(self, logs: dict[str, Any]) -> None:
        evaluations = Evaluations(self._session, self._database)
        evaluations.find(logs)
        if logs["scores"]:
            self._store_given()
        self.scored += evaluations.settle()

    def _store_given(self) -> None:
        self._session.command(statement("scores_stage_create", self._database))
        self._session.command(statement("scores_stage", self._database))
        survey = self._one("scores_survey")
        self._insert_by_month("scores", sorted(survey["months"]))
        self._verify("scores", survey["sound"])
        if survey["sound"]:
            self.scored = [(str(of), int(hour)) for of, hour in self._query("scores_hours").rows]
        if survey["refused"]:
            self._insert("quarantine_scores")
            self._rows["quarantine"] += survey["refused"]

    def _decode(self, scopes: Iterable[tuple[str, str]], nested: Iterable[str]) -> None:
        """Bring into the stage what only Python can read; it came as base64 text."""
        rows = [
            scope_row(b64decode(resource), b64decode(scope))._replace(digest_key=self.digest_key)
            for resource, scope in scopes
        ]
        self._session.insert("stage_scopes", ScopeRow._fields, rows)
        raws = [(text[0], b64decode(text[1:])) for text in nested]
        texts = [(kind.encode() + raw, nested_text(kind, raw)) for kind, raw in raws]
        if texts:
            self._session.insert("stage_values", ("raw", "json"), texts)

    def _place(self, calls: Columns) -> list[int]:
        """Give each trace its request, store what is new, and return the months they are in."""
        claims = [Claim(*row) for row in self._query("ids_survey").rows]
        known = [Known(*row) for row in self._query("ids_known").rows]
        placed = list(place(claims, known))
        self._session.insert("stage_ids", Placed._fields, placed)
        months = sorted({row.month for row in placed})
        if any(row.is_new for row in placed):
            self._insert_by_month("trace_aliases", months)
        if calls.response_id:
            self._insert_by_month("answer_aliases", months, calls)
        return months

    def _verify(self, table: str, expected: int, *, name: str = "") -> None:
        """Count what the table holds of this segment: an insert's success is not enough."""
        ((found,),) = self._query(name or f"{table}_verify").rows
        if found < expected:
            raise ShortLoadError(table, expected, found)
        if expected:
            self._rows[table] += expected

    def _insert_by_month(
        self, name: str, months: Sequence[int], calls: Columns = NO_CALLS, **parameters: Any
    ) -> None:
        for first in range(0, len(months), MONTHS_PER_INSERT):
            part = list(months[first : first + MONTHS_PER_INSERT])
            self._insert(name, calls, suffix=f":{part[0]}", months=part, **parameters)

    def _insert(
        self, name: str, calls: Columns = NO_CALLS, *, suffix: str = "", **parameters: Any
    ) -> None:
        settings = f"{_INSERT_SETTINGS}, insert_deduplication_token = " + quoted(
            f"{self._token}:{name}{suffix}"
        )
        for key, value in _NEWER_SETTINGS.items():
            if self._session.knows_setting(key):
                settings += f", {key} = {value}"
        text = calls.put_into(statement(name, self._database))
        text = text.replace("{insert_settings}", settings)
        reach("loader.during-insert")
        self._session.command(text, parameters)

    def _one(self, name: str) -> dict[str, Any]:
        return next(self._query(name).dicts())

    def _query(self, name: str) -> Rows:
        return self._session.query(statement(name, self._database))


def _content_rules(spans: dict[str, Any]) -> dict[str, Any]:
    """Return what spans.sql asks for beside the content keys, as far as the segment has it."""
    return {
        "content_events": [name for name in spans["event_names"] if is_content_event(name)],
        "event_kept_keys": sorted(EVENT_KEPT_KEYS),
        "url_keys": sorted(URL_KEYS.intersection(spans["attribute_keys"])),
        "url_user": URL_USER_PATTERN,
        "url_query": URL_QUERY_PATTERN,
    }


def _digest_rules(content_keys: Sequence[str], key: str) -> dict[str, Any]:
    """Return which content gets a digest (no secrets), and how one is made and written."""
    key_id = hashlib.sha256(key.encode()).hexdigest()[:8]
    return {
        "digest_prefix": f"hmac-sha256:{key_id}:",
        "digested_keys": [one for one in content_keys if not is_secret(one)] if key else [],
    }


def _event_content(keys: Iterable[tuple[str, str]]) -> list[str]:
    """Return which keys of which events are content, as events.sql asks for them."""
    return [event + _UNIT + key for event, key in keys if is_event_content(event, key)]
