"""A report, a list or an error as plain text for a terminal.

In: inert values. Out: text; colour only where the caller says so (a terminal, and no ``NO_COLOR``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mvtrace.cli.inert import inert
from mvtrace.cli.report import Report
from mvtrace.errors import MvtraceError

_BOLD: Final = "1"
_COLOURS: Final = {"error": "31", "warning": "33"}
_BASES: Final = {"verified": "32", "observed": "36", "missing": "33", "inferred": "33"}
_GAP: Final = "   "
MAX_WIDTH: Final = 64
_LONE: Final = 1
"""A row of one cell is a sentence: it sets no column's width."""


def report_text(report: Report, *, coloured: bool = False) -> str:
    """Return *report* as text."""
    parts = [_painted(_GAP.join(report.head), _BOLD, coloured=coloured) + f"\n{report.where}"]
    if report.alerts:
        parts.append(
            "\n".join(
                _painted(f"! {alert.text}", _COLOURS[alert.severity], coloured=coloured)
                for alert in report.alerts
            )
        )
    for section in report.sections:
        title = _painted(section.title, _BOLD, coloured=coloured)
        parts.append("\n".join([title, *_rows(section.rows, coloured=coloured)]))
    return "\n\n".join(parts) + "\n"


def error_text(error: MvtraceError) -> str:
    """Return *error* as it is shown on stderr."""
    message = "\n".join(inert(line) for line in error.message.split("\n"))
    hint = f"\n\nhint: {inert(error.hint)}" if error.hint else ""
    return f"error: {inert(error.code)}\n\n{message}{hint}\n"


def table_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows under the names of their columns, aligned."""
    cells = [list(map(inert, columns)), *(list(map(inert, row)) for row in rows)]
    return "".join(f"{line}\n" for line in aligned(cells))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return each row as a line with its cells under one another; empty columns take no room."""
    full = [row for row in rows if len(row) > _LONE] or list(rows)
    count = max((len(row) for row in full), default=0)
    widths = [_width([row[i] for row in full if i < len(row)]) for i in range(count)]
    return [
        _GAP.join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=False) if width
        ).rstrip()
        if len(row) > _LONE
        else row[0]
        for row in rows
    ]


def _width(cells: Sequence[str]) -> int:
    """Return the width of a column; a cell of extreme length does not push the others apart."""
    return max((min(len(cell), MAX_WIDTH) for cell in cells), default=0)


def _rows(rows: Sequence[Sequence[str]], *, coloured: bool) -> list[str]:
    return [
        "  " + _basis_painted(line, row, coloured=coloured)
        for line, row in zip(aligned(rows), rows, strict=True)
    ]


def _basis_painted(line: str, row: Sequence[str], *, coloured: bool) -> str:
    """Colour the basis of a component's row."""
    for cell in row:
        if cell in _BASES:
            painted = _painted(cell, _BASES[cell], coloured=coloured)
            head, found, tail = line.rpartition(f"{_GAP}{cell}")
            return f"{head}{_GAP}{painted}{tail}" if found else line
    return line


def _painted(text: str, code: str, *, coloured: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if coloured else text
