"""A verdict as a picture: intervals beside what is allowed, and how they came to be. Pure; SVG.

In: a plan, the results of its metrics, and those of earlier looks. Out: ``Figure``. All metrics
share one scale, their own margin: 0 is no difference, -1 is worse by all that is allowed, and right
is better whichever way a metric counts. So whether a canary may be promoted is seen at once: every
interval right of the dashed line. Earlier looks are drawn below, a panel a metric, over time.
What strangers named is text; there is no script and nothing is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.quality.plan import Metric, Plan
from mvtrace.quality.results import HARM, NON_INFERIOR, SMALL_REGRESSION, MetricResult
from mvtrace.quality.shown import difference_words, interval_words
from mvtrace.quality.terminal import Point, point_of

WIDTH: Final = 820
ROW: Final = 30
TOP: Final = 64
PANEL: Final = 110
MOST_PANELS: Final = 6
MOST_ROWS: Final = 64
_LEFT, _RIGHT = 170, 500
_REACH: Final = 3.0
"""Margins to either side of "no difference" that are drawn; what is beyond ends in an arrow."""
_LABEL: Final = 24
_COLOURS: Final = {HARM: "#b2182b", SMALL_REGRESSION: "#e08214", NON_INFERIOR: "#2166ac"}
_OTHERWISE: Final = "#636363"
_STYLE: Final = "font-family:sans-serif;font-size:12px"


class Look(NamedTuple):
    """The results of one look, at a time in Unix seconds."""

    at: int
    results: Sequence[MetricResult]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture; a notebook shows it."""

    svg: str = field(repr=False)

    def _repr_svg_(self) -> str:
        """Return it for a notebook."""
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write it to *path*, as SVG."""
        Path(path).write_text(self.svg, encoding="utf-8")


def figure_of(plan: Plan, sentence: str, looks: Sequence[Look]) -> Figure:
    """Return the picture of the last of *looks*, with the earlier ones below it."""
    last = looks[-1]
    rows = list(zip(plan.metrics, last.results, strict=True))[:MOST_ROWS]
    known = [metric for metric, result in rows if point_of(result, last.at) is not None]
    panels = [metric for metric in known if metric.is_required][:MOST_PANELS]
    panels = panels if len(looks) > 1 else []
    base = TOP + ROW * len(rows) + 12
    height = base + 20 + PANEL * len(panels)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'width="{WIDTH}" height="{height}" style="{_STYLE}">'
        ),
        f"<title>{_text(sentence)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-weight="bold">{_text(_short(sentence, 108))}</text>',
        *_scale(base),
        *(
            line
            for place, (metric, result) in enumerate(rows)
            for line in _row(metric, result, TOP + ROW * place + ROW / 2)
        ),
        *(
            line
            for place, metric in enumerate(panels)
            for line in _panel(metric, looks, base + 20 + PANEL * place)
        ),
        "</svg>",
    ]
    return Figure("\n".join(parts))


def _scale(base: float) -> Iterator[str]:
    """Yield the lines of no difference and of the margin, and what they are called."""
    for value, name, dash in ((0.0, "no difference", ""), (-1.0, "allowed", "4 3")):
        x = _x(value)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        yield (
            f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{base:.1f}" '
            f'stroke="#969696"{dashed}/>'
        )
        anchor = "start" if value == 0 else "end"
        shift = 3 if value == 0 else -3
        yield (
            f'<text x="{x + shift:.1f}" y="{TOP - 14}" fill="#636363" text-anchor="{anchor}">'
            f"{name}</text>"
        )
    yield f'<text x="{_RIGHT:.1f}" y="{TOP - 14}" fill="#636363" text-anchor="end">better →</text>'
    yield f'<text x="{_LEFT:.1f}" y="{TOP - 14}" fill="#636363">← worse</text>'


def _row(metric: Metric, result: MetricResult, y: float) -> Iterator[str]:
    colour = _COLOURS.get(result.status, _OTHERWISE)
    yield (
        f'<text x="12" y="{y + 4:.1f}"><title>{_text(result.name)}</title>'
        f"{_text(_short(result.name, _LABEL))}</text>"
    )
    point = point_of(result, 0)
    if point is None:
        place = _RIGHT + 14
        yield f'<text x="{place}" y="{y + 4:.1f}" fill="{_OTHERWISE}">no data that count</text>'
        return
    low, high = _ends(metric, point)
    left, right = _x(low), _x(high)
    yield (
        f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{colour}" '
        f'stroke-width="2"/>'
    )
    for end, x, sign in ((low, left, "◂"), (high, right, "▸")):
        if abs(end) > _REACH:
            shift = -4 if sign == "◂" else 4
            yield (
                f'<text x="{x + shift:.1f}" y="{y + 4:.1f}" fill="{colour}" '
                f'text-anchor="middle">{sign}</text>'
            )
    x = _x(_in_margins(metric, point.difference))
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    said = f"{difference_words(result.kind, result.difference)}"
    told = f"{said} ({interval_words(result.kind, result.interval)})"
    status = result.status.replace("_", " ")
    yield f'<text x="{_RIGHT + 14}" y="{y - 1:.1f}">{_text(_short(told, 42))}</text>'
    yield f'<text x="{_RIGHT + 14}" y="{y + 12:.1f}" fill="{colour}">{_text(status)}</text>'


def _panel(metric: Metric, looks: Sequence[Look], top: float) -> Iterator[str]:
    """Yield how the interval of *metric* narrowed, on the scale of the margin, better above."""
    points = [(look.at, point) for look in looks if (point := _seen(look, metric.name)) is not None]
    low_y, high_y = top + PANEL - 26, top + 8
    yield f'<text x="12" y="{top + 18:.1f}">{_text(_short(metric.name, _LABEL))}</text>'
    if not points:
        return
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    width = WIDTH - 20 - _LEFT

    def place(at: int, value: float) -> tuple[float, float]:
        kept = max(-_REACH, min(_REACH, value))
        x = _LEFT + width * (at - first) / (last - first)
        return x, high_y + (low_y - high_y) * (_REACH - kept) / (2 * _REACH)

    ends = [(at, _ends(metric, point)) for at, point in points]
    edge = [place(at, high) for at, (_, high) in ends]
    edge += [place(at, low) for at, (low, _) in reversed(ends)]
    yield f'<polygon points="{_points(edge)}" fill="#92c5de" fill-opacity="0.5"/>'
    middle = [place(at, _in_margins(metric, point.difference)) for at, point in points]
    yield f'<polyline points="{_points(middle)}" fill="none" stroke="#2166ac" stroke-width="1.5"/>'
    for value, dash in ((0.0, ""), (-1.0, ' stroke-dasharray="4 3"')):
        y = place(first, value)[1]
        yield (
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}" '
            f'stroke="#969696"{dash}/>'
        )
    for at, x, anchor in ((first, _LEFT, "start"), (points[-1][0], WIDTH - 20, "end")):
        yield (
            f'<text x="{x}" y="{top + PANEL - 10:.1f}" fill="#636363" text-anchor="{anchor}">'
            f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}</text>"
        )


def _seen(look: Look, name: str) -> Point | None:
    found = next((one for one in look.results if one.name == name), None)
    return None if found is None else point_of(found, look.at)


def _ends(metric: Metric, point: Point) -> tuple[float, float]:
    """Return the interval in margins, worse first; open ends are infinite."""
    low = -math.inf if point.low is None else _in_margins(metric, point.low)
    high = math.inf if point.high is None else _in_margins(metric, point.high)
    if metric.sign > 0:
        return low, high
    return (
        -math.inf if point.high is None else high,
        math.inf if point.low is None else low,
    )


def _in_margins(metric: Metric, difference: float) -> float:
    return metric.sign * difference / metric.slack


def _x(value: float) -> float:
    kept = max(-_REACH, min(_REACH, value))
    return _LEFT + (_RIGHT - _LEFT) * (kept + _REACH) / (2 * _REACH)


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(text: str) -> str:
    """Return *text* as XML holds it: no markup, and no character that XML has not."""
    return escape("".join(sign if sign.isprintable() else "\ufffd" for sign in text))
