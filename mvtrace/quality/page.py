"""A verdict as a piece of HTML, for notebooks: strings in, HTML out, everything escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mvtrace.quality.gates import Gate
from mvtrace.quality.results import MetricResult
from mvtrace.quality.shown import difference_words, interval_words, value_words

_HEAD = "metric", "status", "baseline", "canary", "difference", "interval", "requests", "p of harm"


def page_of(
    sentence: str, gates: Sequence[Gate], results: Sequence[MetricResult], *, picture: str = ""
) -> str:
    """Return the sentence, *picture* as it is, a table of the metrics, and the gates not passed."""
    rows = "".join(_row(_cells(one)) for one in results)
    head = _row(_HEAD, "th")
    broken = [one for one in gates if one.state != "pass"]
    said = [escape(f"{one.name} ({one.state}): {one.said}") for one in broken]
    listed = "".join(f"<li>{one}</li>" for one in said)
    return (
        f"<div><p><b>{escape(sentence)}</b></p>{picture}"
        f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
        f"{f'<ul>{listed}</ul>' if listed else ''}</div>"
    )


def _cells(one: MetricResult) -> tuple[str, ...]:
    return (
        one.name,
        one.status.replace("_", " "),
        value_words("rate" if one.kind == "event" else one.kind, one.baseline),
        value_words("rate" if one.kind == "event" else one.kind, one.canary),
        difference_words(one.kind, one.difference),
        "" if one.interval is None else interval_words(one.kind, one.interval),
        f"{one.baseline_requests:,} + {one.canary_requests:,}",
        f"{one.p_harm:.4g}",
    )


def _row(cells: Iterable[str], tag: str = "td") -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(one)}</{tag}>' for one in cells)}</tr>"
