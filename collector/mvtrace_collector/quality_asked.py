"""What plans ask the roll-up for beyond what each request has anyway. Pure.

In: the bodies of plans. Out: ``Asked``: which metrics count as bad events, of which scores it is
asked how often they are given, which metrics are made of others, and which are named at all. What
cannot be read, or is too much, is left out: a plan that somebody registered never stops the roll-up
of other metrics. Those that are too much are the last ones, so plans by which verdicts are kept
come before those that anybody who sends data may register.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from mvtrace.quality.sources import (
    BAD_EVENTS,
    FIRST,
    GIVEN,
    MAX_TEXT,
    Asked,
    Made,
    made_of,
    parts_of,
)

MAX_ASKED: Final = 128
"""Of each kind; of more the first are kept."""


def asked_by(bodies: Iterable[str | bytes]) -> Asked:
    """Return what the plans of *bodies* ask for, the most important plan first."""
    events: dict[str, None] = {}
    wanted: dict[str, None] = {}
    sources: dict[Made, None] = {}
    planned: dict[str, None] = {}
    for name, kind in _metrics(bodies):
        planned.update(dict.fromkeys((name.removesuffix(GIVEN), *parts_of(name))))
        if name.endswith(GIVEN):
            wanted[name.removesuffix(GIVEN)] = None
            continue
        made = made_of(name)
        if made is not None:
            sources[made] = None
        if kind == "event":
            events[name] = None
    return Asked(
        events=(*BAD_EVENTS, *[one for one in events if one not in BAD_EVENTS][:MAX_ASKED]),
        wanted=tuple(wanted)[:MAX_ASKED],
        sources=tuple(sources)[:MAX_ASKED],
        planned=tuple(planned)[:MAX_ASKED],
    )


def _metrics(bodies: Iterable[str | bytes]) -> Iterable[tuple[str, str]]:
    """Yield the source and the kind of each metric that can be one."""
    for body in bodies:
        try:
            found = [(_source(one), one["kind"]) for one in orjson.loads(body)["metrics"]]
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        for name, kind in found:
            if type(name) is str and type(kind) is str and 0 < len(name) <= MAX_TEXT:
                yield name.removesuffix(FIRST), kind


def _source(metric: Any) -> Any:
    return metric["name"] if metric.get("source") is None else metric["source"]
