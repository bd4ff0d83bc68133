"""The order in which hours are swept."""

from __future__ import annotations

from mvtrace_collector.quality_hours import Hours


def swept(hours: Hours, most: int = 100) -> list[tuple[str, int]]:
    """Return what is swept of *hours*, in order."""
    found = []
    while hours and len(found) < most:
        project, hour = hours.next()
        found.append((project, hour))
        hours.done(project)
    return found


def test_projects_take_turns_and_time_has_its_order() -> None:
    """
    A project with a few hours waits for none of another's thousand, and the next sweep goes on with
    whose turn it is.
    """
    hours = Hours()
    hours.add("flooded", range(1000, 0, -1))
    hours.add("quiet", [7, 5, 7])

    assert swept(hours, 5) == [
        ("flooded", 1),
        ("quiet", 5),
        ("flooded", 2),
        ("quiet", 7),
        ("flooded", 3),
    ]
    assert hours.projects == {"flooded"}
    assert len(list(hours)) == 997

    later = Hours("flooded")
    later.add("flooded", [4])
    later.add("quiet", [9])
    assert swept(later) == [("quiet", 9), ("flooded", 4)]


def test_an_hour_that_is_there_is_not_there_twice() -> None:
    """
    What is added again before it was swept is swept once, and after it once more.
    """
    hours = Hours()
    hours.add("a", [2, 1])
    hours.add("a", [1, 3])
    assert swept(hours) == [("a", 1), ("a", 2), ("a", 3)]

    hours.add("a", [2])
    assert swept(hours) == [("a", 2)]
