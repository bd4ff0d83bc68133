"""A verdict as a person sees it: in a terminal, and in a notebook."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rollups import STARTED, arms_after, plan_of, rolled_up

from mvtrace.quality.deciding import compare
from mvtrace.quality.plan import Metric
from mvtrace.quality.terminal import Point, interval_plot, point_of

SUCCESS = Metric(name="success", kind="rate", margin=0.03)
HOUR = 3600


def test_looks_at_a_canary_that_gets_worse_by_nothing() -> None:
    """
    Each look is a line with its time and interval; what reaches beyond the scale has an arrow.
    """
    points = [
        Point((STARTED + hours) * HOUR, difference, difference - half, difference + half)
        for hours, difference, half in ((1, -0.01, 0.08), (8, 0.004, 0.03), (30, 0.001, 0.012))
    ]

    plot = interval_plot(SUCCESS, points, width=40)

    assert plot == PLOT


PLOT = """\
success: canary less baseline, higher is better
                             ┊                 │
2024-10-04 01:00 ◂───────────┼───────────●─────┼────────▸ -0.0100
2024-10-04 08:00             ┊  ├──────────────┼─●──────▸ +0.0040
2024-10-05 06:00             ┊          ├──────●──────┤   +0.0010
                       margin -0.03            0"""


def test_long_histories_are_thinned() -> None:
    """
    Of many looks as many are shown as there is room for, the first and the last among them.
    """
    points = [Point(STARTED * HOUR + 60 * look, look / 1e4, None, None) for look in range(200)]

    lines = interval_plot(SUCCESS, points, rows=5).splitlines()

    assert [line[11:16] for line in lines[2:-1]] == ["00:00", "00:50", "01:40", "02:29", "03:19"]
    assert all(len(line) <= 16 + 1 + 60 + 8 for line in lines)


def test_one_row_is_the_last_look() -> None:
    """
    With room for one look it is the newest.
    """
    points = [Point(STARTED * HOUR + 60 * look, 0.0, -0.1, 0.1) for look in range(3)]

    assert "00:02" in interval_plot(SUCCESS, points, rows=1)


def test_nothing_to_show() -> None:
    """
    Before the first request that counts there is a sentence instead.
    """
    assert interval_plot(SUCCESS, []) == "success: nothing to show yet"


def test_points_of_results() -> None:
    """
    A mean is shown by its difference, events by the logarithm of their ratio, unknown by nothing.
    """
    error = Metric(name="error", kind="event", direction="lower", margin=1.5)
    plan = plan_of(SUCCESS, error, replace(SUCCESS, name="missing"))
    found = rolled_up({"success": (0.9, 0.9), "error": (0.02, 0.02)})

    results = compare(plan, found, arms_after(30)).results
    points = [point_of(one, 7) for one in results]

    assert points[0] is not None
    assert points[0][1:] == (results[0].difference, *(results[0].interval or ()))
    assert points[1] is not None
    assert points[1].difference == pytest.approx(0.0, abs=0.5)
    assert points[2] is None
    assert "margin x1.5" in interval_plot(error, [points[1]])


def test_notebook_escapes_what_strangers_named() -> None:
    """
    A metric's name is shown as text in a notebook, whatever it holds, and failed gates are listed.
    """
    plan = plan_of(replace(SUCCESS, name="<script>"))
    verdict = compare(plan, rolled_up({"<script>": (0.9, 0.9)}, served_share=0.3), arms_after(30))

    page = verdict._repr_html_()

    assert "<script>" not in page
    assert "<td>&lt;script&gt;</td>" in page
    assert "<li>sample_ratio (fail): " in page
