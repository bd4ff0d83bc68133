"""A metric's interval over time, as lines of text. Pure: looks in, text out; no colour.

A line is a look: its time, the interval as a bar with the estimate in it, and marks for "no
difference" and for the margin. What reaches beyond the scale ends in an arrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from mvtrace.quality.plan import Metric
from mvtrace.quality.results import MetricResult

WIDTH: Final = 60
ROWS: Final = 24
ZERO: Final = "│"
MARGIN: Final = "┊"
BAR: Final = "─"
ESTIMATE: Final = "●"
_EDGE: Final = 1.6
"""How far beyond the margin the scale reaches at least, in margins."""


class Point(NamedTuple):
    """A metric at one look."""

    at: int
    """Unix seconds."""
    difference: float
    low: float | None
    high: float | None
    """None: the interval has no end on this side."""


class _Scale(NamedTuple):
    low: float
    high: float
    width: int

    def place(self, value: float) -> int:
        """Return the column of *value*, which may lie outside."""
        part = (value - self.low) / (self.high - self.low)
        return round(part * (self.width - 1))


def point_of(result: MetricResult, at: int) -> Point | None:
    """Return *result* as a point, on the scale of differences; of events the log of the ratio.

    None where nothing is known yet.
    """
    if result.difference is None:
        return None
    low, high = result.interval if result.interval is not None else (None, None)
    if result.kind != "event":
        return Point(at, result.difference, low, high)
    if result.difference <= 0:
        return None
    bounds = (math.log(one) if one else None for one in (low, high))
    return Point(at, math.log(result.difference), *bounds)


def interval_plot(
    metric: Metric, points: Sequence[Point], *, width: int = WIDTH, rows: int = ROWS
) -> str:
    """Return the looks at *metric* as text, the newest last, evenly thinned out to *rows*."""
    if not points:
        return f"{metric.name}: nothing to show yet"
    shown = _thinned(points, rows)
    limit = -metric.sign * metric.slack
    scale = _scale(shown, limit, width)
    head = [f"{metric.name}: canary less baseline, {_better(metric)}"]
    axis = _marks(scale, limit, ZERO, MARGIN)
    lines = [f"{_time(one.at)} {_line(one, scale, limit)} {one.difference:+.4f}" for one in shown]
    labels = _labels(scale, limit, metric)
    return "\n".join([*head, f"{'':16} {''.join(axis)}".rstrip(), *lines, f"{'':16} {labels}"])


def _thinned(points: Sequence[Point], rows: int) -> list[Point]:
    """Return at most *rows* of *points*, evenly, the last among them."""
    if len(points) <= rows:
        return list(points)
    if rows == 1:
        return [points[-1]]
    last = len(points) - 1
    return [points[round(place * last / (rows - 1))] for place in range(rows)]


def _scale(points: Sequence[Point], limit: float, width: int) -> _Scale:
    """Return a scale that holds no difference, the margin, every estimate and the last interval."""
    last = points[-1]
    values = [0.0, limit * _EDGE, *(one.difference for one in points)]
    values += [one for one in (last.low, last.high) if one is not None]
    low, high = min(values), max(values)
    edge = 0.05 * (high - low)
    return _Scale(low - edge, high + edge, width)


def _marks(scale: _Scale, limit: float, zero: str, margin: str) -> list[str]:
    cells = [" "] * scale.width
    cells[scale.place(limit)] = margin
    cells[scale.place(0.0)] = zero
    return cells


def _line(point: Point, scale: _Scale, limit: float) -> str:
    cells = _marks(scale, limit, ZERO, MARGIN)
    last = scale.width - 1
    low = -1 if point.low is None else scale.place(point.low)
    high = last + 1 if point.high is None else scale.place(point.high)
    for place in range(max(low, 0), min(high, last) + 1):
        cells[place] = BAR if cells[place] == " " else "┼"
    cells[max(low, 0)] = "◂" if low < 0 else "├"
    cells[min(high, last)] = "▸" if high > last else "┤"
    cells[min(max(scale.place(point.difference), 0), last)] = ESTIMATE
    return "".join(cells)


def _labels(scale: _Scale, limit: float, metric: Metric) -> str:
    """Return the line below, that says what the marks are."""
    shown = f"{limit:+.4g}" if not metric.is_ratio_margin else f"x{math.exp(limit):.4g}"
    texts = sorted([(scale.place(0.0), "0"), (scale.place(limit), f"margin {shown}")])
    line = ""
    for place, text in texts:
        start = max(place - len(text) // 2, len(line) + 1 if line else 0)
        line = line.ljust(start) + text
    return line


def _better(metric: Metric) -> str:
    scale = " (logarithm of the ratio)" if metric.is_ratio_margin else ""
    return f"{metric.direction} is better{scale}"


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
