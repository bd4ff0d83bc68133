"""What a command writes to stdout: explanations, lists and query results in the form asked for.

In: the JSON a collector sends, or the bytes of a query's result. Out: text, or bytes as they came.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mvtrace.cli.inert import inert, inert_csv, inert_json, inert_lines, json_text
from mvtrace.cli.markdown import report_markdown
from mvtrace.cli.report import report_of
from mvtrace.cli.text import report_text, table_text
from mvtrace.cli.words import duration_words, time_words, version_words

_FORMATS: Final = {
    "table": "JSONCompactEachRowWithNames",
    "csv": "CSV",
    "json": "JSONEachRow",
    "parquet": "Parquet",
}
_COLUMNS: Final = ("request", "time", "route", "status", "took", "version", "arm", "drift")
_GAP_COLUMNS: Final = (
    *("missing", "service", "environment", "after (UTC)", "before (UTC)", "reason", "producer"),
    "numbers",
)
_MAX_RANGES: Final = 3
_SHORT_WAIT_S: Final = 0.05


def explanation_words(explanation: Mapping[str, Any], form: str, *, coloured: bool) -> str:
    """Return an explanation as ``text``, ``json`` or ``markdown``."""
    if form == "json":
        return json_text(explanation)
    report = report_of(explanation)
    return report_markdown(report) if form == "markdown" else report_text(report, coloured=coloured)


def note_wait(explanation: Mapping[str, Any]) -> None:
    """Say on stderr that the answer was waited for, if it was."""
    waited_s = explanation.get("waited_s", 0.0)
    if waited_s > _SHORT_WAIT_S:
        sys.stderr.write(f"(waited {waited_s:.1f} s for accepted data to be stored)\n")


def requests_words(found: Mapping[str, Any], *, as_json: bool) -> str:
    """Return a list of requests."""
    if as_json:
        return json_text(found)
    if not found["requests"]:
        return "No request matches.\n"
    lines = [_request_row(one) for one in found["requests"]]
    return _table(_COLUMNS, lines, found["limit"], "newest")


def gaps_words(found: Mapping[str, Any], *, as_json: bool) -> str:
    """Return a list of gaps."""
    if as_json:
        return json_text(found)
    if not found["gaps"]:
        return "No record is known to be missing.\n"
    lines = [_gap_row(one) for one in found["gaps"]]
    return _table(_GAP_COLUMNS, lines, found["limit"], "latest")


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]], limit: int, which: str) -> str:
    """Return *lines* under *columns*, and that there may be more where they reach the *limit*."""
    table = table_text(columns, lines)
    if len(lines) < limit:
        return table
    return f"{table}\n(the {which} {limit:,}; --limit shows more)\n"


def _gap_row(gap: Mapping[str, Any]) -> list[str]:
    ranges = ", ".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in gap["missing_ranges"][:_MAX_RANGES]
    )
    more = ", …" if len(gap["missing_ranges"]) > _MAX_RANGES else ""
    return [
        f"{gap['missing']:,}",
        inert(gap["service"]),
        inert(gap["environment"]),
        inert((gap["started_after"] or "")[:19]).replace("T", " "),
        inert((gap["started_before"] or "")[:19]).replace("T", " "),
        inert(gap["reason"]),
        inert(gap["producer_id"]),
        ranges + more or "filled",
    ]


def sql_format(form: str, *, header: bool) -> str:
    """Return ClickHouse's name of an output format."""
    return "CSVWithNames" if form == "csv" and header else _FORMATS[form]


def write_result(body: bytes, *, form: str, expected: str, got: str, exact: bool = False) -> None:
    """Write a query's result; one whose statement names a FORMAT is written as it came.

    A terminal gets every line inert, a pipe or file gets the bytes; but of CSV no cell is one that
    a spreadsheet would run, unless *exact*.
    """
    if got.startswith("CSV") and not exact:
        body = inert_csv(body)
    if form == "table" and got == expected:
        text = body.decode(errors="surrogateescape")
        columns, *rows = [json.loads(line) for line in _lines(text)] or [[]]
        write(table_text(columns, [[_cell(value) for value in row] for row in rows]))
    elif form == "json" and got == expected:
        lines = map(inert_json, _lines(body.decode(errors="replace")))
        write("[" + ",\n ".join(lines) + "]\n")
    elif sys.stdout.isatty():
        lines = map(inert, _lines(body.decode(errors="backslashreplace")))
        write("".join(f"{line}\n" for line in lines))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(body)


def write(text: str) -> None:
    """Write *text* to stdout, whatever its encoding can show; nothing in it does more than show.

    What is foreign was made inert where it was put in; here nothing passes that was forgotten.
    """
    sys.stdout.flush()
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.buffer.write(inert_lines(text).encode(encoding, "backslashreplace"))
    sys.stdout.flush()


def _lines(text: str) -> list[str]:
    """Return the lines of *text*; splitlines() would also split at signs that values may hold."""
    return text.removesuffix("\n").split("\n") if text else []


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    # Bytes that are no UTF-8, as an id has them: \xff and the like.
    return str(value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _request_row(request: Mapping[str, Any]) -> list[str]:
    what = " ".join(filter(None, (request["service"], request["method"], request["route"])))
    status = request["status_code"] or request["outcome"] or request["state"]
    return [
        request["request_id"],
        time_words(request["time"]),
        inert(what),
        inert(status),
        duration_words(request["duration_ns"]),
        version_words(request["composite_version"]) if request["composite_version"] else "",
        request["arm"] or "",
        str(request["drift"] or ""),
    ]
