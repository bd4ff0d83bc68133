"""A report as Markdown for a ticket: every value escaped, so that it is shown and nothing else.

In: inert values. Out: Markdown with tables (GitHub's dialect).
"""

from __future__ import annotations

from collections.abc import Sequence

from mvtrace.cli.inert import markdown_text
from mvtrace.cli.report import Report, Section


def report_markdown(report: Report) -> str:
    """Return *report* as Markdown."""
    head, *rest = report.head
    parts = [f"### {markdown_text(head)}", markdown_text(", ".join([*rest, report.where]))]
    if report.alerts:
        parts.append(
            "\n".join(
                f"- **{alert.severity}**: {markdown_text(alert.text)}" for alert in report.alerts
            )
        )
    parts.extend(_section(section) for section in report.sections)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    title = f"**{markdown_text(section.title)}**"
    width = max(map(len, section.rows), default=0)
    if width <= 1:
        lines = [f"- {markdown_text(row[0])}" for row in section.rows]
        return "\n".join([title, "", *lines])
    blank = _line([""] * width)
    rule = _line(["---"] * width)
    return "\n".join(
        [title, "", blank, rule, *(_line(_escaped(row, width)) for row in section.rows)]
    )


def _escaped(row: Sequence[str], width: int) -> list[str]:
    return [markdown_text(cell.strip()) for cell in row] + [""] * (width - len(row))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
