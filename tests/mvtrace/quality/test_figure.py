"""A verdict as a picture."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rollups import arms_after, plan_of, rolled_up

from mvtrace.quality.deciding import compare
from mvtrace.quality.figure import Figure
from mvtrace.quality.plan import Metric

SVG = "{http://www.w3.org/2000/svg}"
SUCCESS = Metric(name="success", kind="rate", margin=0.03)
ERROR = Metric(name="error", kind="event", direction="lower", role="guardrail", margin=1.5)
FOUND = rolled_up({"success": (0.9, 0.9), "error": (0.02, 0.02)}, requests=1000)


def texts(figure: Figure) -> list[str]:
    """Return all texts of the picture, without what shows when one points at them."""
    return [
        "".join([one.text or "", *(part.tail or "" for part in one)])
        for one in ET.fromstring(figure.svg).iter(f"{SVG}text")
    ]


def test_every_metric_is_a_row_with_its_figures() -> None:
    """
    A row has the metric's name, its difference with interval, and its status.
    """
    verdict = compare(plan_of(SUCCESS, ERROR), FOUND, arms_after(30))

    found = texts(verdict.figure())

    assert found[0].startswith("Promote: success and error are proven")
    assert {"success", "error", "non inferior", "no difference", "allowed"} <= set(found)
    assert any(re.fullmatch(r"x[0-9.]+ \(x[0-9.]+ to x[0-9.]+\)", one) for one in found)


def test_right_is_better_whichever_way_a_metric_counts() -> None:
    """
    A canary with fewer errors is right of no difference, one with more is left of it.
    """
    plan = plan_of(replace(ERROR, role="goal"))
    places = []
    for rate in (0.01, 0.04):
        found = rolled_up({"error": (0.02, rate)}, requests=1000)
        root = ET.fromstring(compare(plan, found, arms_after(30)).figure().svg)
        zero = float(next(root.iter(f"{SVG}line")).get("x1", "0"))
        places.append(float(next(root.iter(f"{SVG}circle")).get("cx", "0")) - zero)

    assert places[0] > 0 > places[1]


def test_looks_before_are_drawn_over_time() -> None:
    """
    With the looks before it, a panel for each metric shows how its interval narrowed.
    """
    plan = plan_of(SUCCESS, ERROR)
    looks = [compare(plan, FOUND, arms_after(hours)) for hours in (10, 20, 30)]

    alone, whole = looks[-1].figure(), looks[-1].figure(looks[:-1])

    panels = list(ET.fromstring(whole.svg).iter(f"{SVG}polygon"))
    assert "polygon" not in alone.svg
    assert len(panels) == 2
    assert all("nan" not in one.get("points", "") for one in panels)
    with pytest.raises(ValueError, match="another plan"):
        looks[-1].figure([compare(plan_of(SUCCESS), FOUND, arms_after(30))])


def test_what_strangers_named_is_text() -> None:
    """
    A name with markup or controls is shown and does nothing, and the picture stays XML.
    """
    name = "<script>alert(1)</script>&\u202e'\""
    plan = plan_of(SUCCESS, replace(SUCCESS, name="<b>" + "x" * 100))
    verdict = compare(plan, FOUND, arms_after(30))

    figure = replace(verdict, sentence=name).figure()

    assert "<script" not in figure.svg
    assert "\u202e" not in figure.svg
    assert texts(figure)[0] == "<script>alert(1)</script>&\ufffd'\""


def test_a_notebook_shows_it_and_a_file_keeps_it(tmp_path: Path) -> None:
    """
    A notebook gets the picture as SVG, within the verdict's own page too; save writes it.
    """
    verdict = compare(plan_of(SUCCESS), FOUND, arms_after(30))
    figure = verdict.figure()

    figure.save(tmp_path / "verdict.svg")

    assert figure._repr_svg_() == figure.svg
    assert (tmp_path / "verdict.svg").read_text() == figure.svg
    assert figure.svg in verdict._repr_html_()


def test_no_data_is_said() -> None:
    """
    A metric without data has a row that says so.
    """
    verdict = compare(plan_of(replace(SUCCESS, name="missing")), FOUND, arms_after(30))

    assert "no data that count" in texts(verdict.figure())
