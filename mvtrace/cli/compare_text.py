"""A look at a comparison as text for a terminal: decision first, then what it rests on.

In: a Look. Out: lines; names of metrics and arms are those that somebody else chose, and inert.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from mvtrace.cli.inert import inert, inert_lines
from mvtrace.cli.text import aligned
from mvtrace.cli.words import plural, version_words
from mvtrace.comparing.looking import Look
from mvtrace.quality.gates import PASS
from mvtrace.quality.plan import Metric
from mvtrace.quality.results import MetricResult
from mvtrace.quality.shown import (
    difference_words,
    duration_words,
    harm_words,
    interval_words,
    margin_words,
    value_words,
    within_words,
)
from mvtrace.quality.terminal import Point, interval_plot, point_of
from mvtrace.quality.verdict import EXACT, Verdict

COLUMNS: Final = (
    "metric", "baseline", "canary", "difference", "interval", "allowed", "worse", "no worse", "",
)  # fmt: skip
MOST_PLOTS: Final = 2
MOST_VERSIONS: Final = 3
"""Versions that are named of an arm."""
PLOT_ROWS: Final = 12
_MARGIN: Final = 28
"""What a line of a plot has beside the bars."""
_LEAST_WIDTH: Final = 24
_COLOURS: Final = {"promote": "32", "hold": "33", "revert": "31"}


def look_words(
    look: Look, *, width: int = 100, plots: Sequence[str] | None = None, coloured: bool = False
) -> str:
    """Return *look* as text; *plots* names the metrics to plot, None those that decided."""
    verdict = look.verdict
    parts = [
        _sentence(verdict, coloured=coloured),
        "\n".join(aligned([*_head(look)])),
        "\n".join(aligned(_table(verdict))),
        "\n".join(_gates(verdict)),
        *_plots(look, width=width, plots=plots),
        "\n".join([*_forecast(verdict), *_notes(look)]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def line_words(look: Look) -> str:
    """Return *look* in one line, for a list that grows."""
    verdict = look.verdict
    at = _time(verdict.sufficient.arms.until)
    counts = f"{verdict.sufficient.baseline:,} + {verdict.sufficient.canary:,} requests"
    return f"{at}   {counts}   {inert(verdict.sentence)}\n"


def _sentence(verdict: Verdict, *, coloured: bool) -> str:
    said = inert(verdict.sentence)
    if not coloured:
        return said
    return f"\x1b[1m\x1b[{_COLOURS[verdict.decision]}m{said}\x1b[0m"


def _head(look: Look) -> Iterator[list[str]]:
    verdict, arms = look.verdict, look.verdict.sufficient
    is_arm = look.subject.by == "arm"
    total = max(1, arms.requests)
    for name, side, number in (
        ("baseline", look.baseline, arms.baseline),
        ("canary", look.canary, arms.canary),
    ):
        called = inert(side) if is_arm else version_words(side)
        served = _served(look, side)
        yield [name, called, plural(number, "request"), f"{number / total:.1%}", *served]
    places = ("service", look.service), ("environment", look.environment)
    named = [f"{name} {inert(value)}" for name, value in places if value]
    named += [f"rollout {inert(look.rollout[:12])}"] if look.rollout else []
    if named:
        yield [f"of         {', '.join(named)}"]
    since = f"since {_time(arms.arms.started_at)}, " if arms.canary else ""
    yield [f"for        {since}{duration_words(arms.arms.hours)}; look {verdict.past.looks:,}"]
    digest = verdict.plan.digest.removeprefix("sha256:")
    yield [f"plan       {inert(verdict.plan.name)} ({digest[:12]}), by {inert(verdict.plan.unit)}"]


def _served(look: Look, side: str) -> list[str]:
    """Return which versions an arm was served by."""
    found = look.versions.get(side, {})
    several = len(found) > 1
    shown = [
        f"{version_words(one) or 'no version'}{f' ({number:,})' if several else ''}"
        for one, number in list(found.items())[:MOST_VERSIONS]
    ]
    if len(found) > MOST_VERSIONS:
        shown.append(f"{len(found) - MOST_VERSIONS} more")
    return [f"by {', '.join(shown)}"] if shown else []


def _table(verdict: Verdict) -> list[list[str]]:
    rows = [list(COLUMNS)]
    for metric, result in zip(verdict.plan.metrics, verdict.results, strict=True):
        rows.append(_row(metric, result))
    return rows


def _row(metric: Metric, result: MetricResult) -> list[str]:
    kind = metric.kind
    status = result.status.replace("_", " ")
    if result.dropped > 0.005:  # noqa: PLR2004 (half a percent)
        status += f", {result.dropped:.0%} not counted"
    return [
        inert(result.name),
        value_words("rate" if kind == "event" else kind, result.baseline),
        value_words("rate" if kind == "event" else kind, result.canary),
        difference_words(kind, result.difference),
        interval_words(kind, result.interval),
        margin_words(metric) if metric.is_required else "",
        harm_words(result),
        within_words(result),
        status,
    ]


def _gates(verdict: Verdict) -> Iterator[str]:
    passed = [inert(one.name) for one in verdict.gates if one.state == PASS]
    if passed:
        yield f"gates pass: {', '.join(passed)}"
    for one in verdict.gates:
        if one.state != PASS:
            yield f"! {inert(one.name)} ({one.state}): {inert(one.said)}"


def _plots(look: Look, *, width: int, plots: Sequence[str] | None) -> Iterator[str]:
    looks = [*look.before, look.verdict]
    bars = max(_LEAST_WIDTH, width - _MARGIN)
    for metric in _plotted(look.verdict, plots):
        points = [one for one in (_point(seen, metric.name) for seen in looks) if one is not None]
        yield inert_lines(interval_plot(metric, points, width=bars, rows=PLOT_ROWS))


def _plotted(verdict: Verdict, plots: Sequence[str] | None) -> list[Metric]:
    """Return the metrics to plot: as asked, else those that decided, as far as any is known."""
    if plots is not None:
        return [one for one in verdict.plan.metrics if one.name in plots or "all" in plots]
    known = [one for one in verdict.plan.required if _point(verdict, one.name) is not None]
    return ([one for one in known if one.name in verdict.metrics] or known)[:MOST_PLOTS]


def _point(verdict: Verdict, name: str) -> Point | None:
    return point_of(verdict.result(name), verdict.sufficient.arms.until)


def _forecast(verdict: Verdict) -> Iterator[str]:
    if verdict.decision != "hold":
        level = "at any size" if verdict.guarantee == EXACT else "for large numbers of requests"
        yield f"its chance of error holds {level}, however often it is looked at"
        return
    if verdict.reason == "invalid_gate":
        return
    known = verdict.forecast
    for requests, hours, what in (
        (known.revert_requests, known.revert_hours, "reverted, if the difference stays,"),
        (known.promote_requests, known.promote_hours, "promoted, if the difference stays,"),
        (
            known.promote_if_equal_requests,
            known.promote_if_equal_hours,
            "promoted, if both are equal,",
        ),
        (
            known.promote_if_equal_at_most_requests,
            known.promote_if_equal_at_most_hours,
            "promoted, if both are equal, in 99 of 100 cases",
        ),
    ):
        if requests:
            at = "" if hours is None else f" ({duration_words(hours)})"
            yield f"forecast: {what} after about {plural(requests, 'further request')}{at}"


def _notes(look: Look) -> Iterator[str]:
    for warning in (*look.verdict.warnings, *look.notes):
        yield f"note: {inert(warning)}"
    for result in look.verdict.results:
        for warning in result.warnings:
            yield f"note: {inert(result.name)}: {inert(warning)}"
    if look.is_kept:
        yield f"kept as {look.verdict.digest}"
    else:
        yield "not kept: a later look does not know of this one"


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
