"""A verdict as a piece of HTML, for notebooks: strings in, HTML out, everything escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mvtrace.quality.gates import Gate
from mvtrace.quality.results import MetricResult

_HEAD = "metric", "status", "baseline", "canary", "difference", "interval", "requests", "p of harm"


def page_of(sentence: str, gates: Sequence[Gate], results: Sequence[MetricResult]) -> str:
    """Return the sentence, a table of the metrics, and the gates that do not pass."""
    rows = "".join(_row(_cells(one)) for one in results)
    head = _row(_HEAD, "th")
    broken = [one for one in gates if one.state != "pass"]
    said = [escape(f"{one.name} ({one.state}): {one.said}") for one in broken]
    listed = "".join(f"<li>{one}</li>" for one in said)
    return (
        f"<div><p><b>{escape(sentence)}</b></p>"
        f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
        f"{f'<ul>{listed}</ul>' if listed else ''}</div>"
    )


def _cells(one: MetricResult) -> tuple[str, ...]:
    interval = "" if one.interval is None else " to ".join(_number(end) for end in one.interval)
    return (
        one.name,
        one.status.replace("_", " "),
        _number(one.baseline),
        _number(one.canary),
        _number(one.difference),
        interval,
        f"{one.baseline_requests:,} + {one.canary_requests:,}",
        _number(one.p_harm),
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _row(cells: Iterable[str], tag: str = "td") -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(one)}</{tag}>' for one in cells)}</tr>"
