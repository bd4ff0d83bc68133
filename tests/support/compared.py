"""A comparison without a store: a roll-up in memory, and looks kept in a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from hourly import COLUMNS, KEY, SUMS, folded
from rollups import STARTED, plan_of, rolled_up

from mvtrace.comparing.defaults import Facts
from mvtrace.comparing.events import Subject, entry_of_plan
from mvtrace.comparing.looking import Asked, take
from mvtrace.comparing.reading import Span
from mvtrace.otlp import LogEvent
from mvtrace.quality.cells import Cell, CellKey, RollUp, Stratum
from mvtrace.quality.plan import Metric
from mvtrace.registry.entries import Entry
from mvtrace.registry.reading import statement
from mvtrace.semconv import EVENT_VERDICT
from mvtrace.store import Store

BASELINE = "a" * 64
CANARY = "b" * 64


@dataclass
class Memory:
    """A source in memory: what served, and the events that were kept."""

    roll_up: RollUp
    """Its arms are called stable and canary."""
    scorers: Mapping[str, Entry] = field(default_factory=dict)
    facts_: Facts = field(default_factory=Facts)
    kept: list[LogEvent] = field(default_factory=list)
    unit: str = "request"
    thresholds_: Mapping[str, float] = field(default_factory=dict)
    versions_: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def keep(self, events: Iterable[LogEvent]) -> None:
        """Keep events as a collector does."""
        self.kept += events

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the verdicts kept, oldest first."""
        return [orjson.loads(one.body) for one in self.kept if one.name == EVENT_VERDICT]

    def ask(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Answer the statements that a comparison asks of the registry."""
        answers: Mapping[str, Callable[..., list[dict[str, Any]]]] = {
            "comparison_looks": self._looks,
            "comparison_bodies": self._bodies,
            "entries": self._entries,
        }
        for name, answer in answers.items():
            if sql == statement(name):
                return answer(parameters)
        raise AssertionError(sql)

    def rolled_up(
        self, subject: Subject, metrics: Sequence[str], span: Span, scorers: Mapping[str, str]
    ) -> RollUp:
        """Return the whole hours of the roll-up that begin before the end."""
        del scorers  # each metric has one here
        names = {"stable": subject.baseline, "canary": subject.canary}
        wanted = {*metrics, "request"}

        def is_within(stratum: Stratum) -> bool:
            return span.since < (stratum.hour + 1) * 3600 and stratum.hour * 3600 < span.until

        return replace(
            self.roll_up,
            cells={
                CellKey(names[key.arm], key.metric, key.stratum, key.bucket): cell
                for key, cell in self.roll_up.cells.items()
                if key.metric in wanted and is_within(key.stratum)
            },
            units={
                (names[arm], stratum): number
                for (arm, stratum), number in self.roll_up.units.items()
                if is_within(stratum)
            },
            deliveries={names[arm]: one for arm, one in self.roll_up.deliveries.items()},
        )

    def versions(self, subject: Subject, span: Span) -> Mapping[str, Mapping[str, int]]:
        """Return what was said of the arms' versions."""
        del subject, span
        return self.versions_

    def first_hours(self, subject: Subject) -> tuple[int | None, int | None]:
        """Return the first hours of both."""
        del subject
        hours = {arm: [] for arm in ("stable", "canary")}  # type: dict[str, list[int]]
        for key in self.roll_up.cells:
            hours[key.arm].append(key.stratum.hour)
        first, second = (min(those, default=None) for those in hours.values())
        return first, second

    def started(self, subject: Subject, hour: int) -> tuple[int | None, str]:
        """Return the beginning of the hour."""
        del subject
        return hour * 3600, self.unit

    def metrics(self, subject: Subject, since: int) -> Mapping[str, Sequence[str]]:
        """Return the metrics of the stable arm."""
        del subject, since
        names = sorted({key.metric for key in self.roll_up.cells if key.arm == "stable"})
        return {name: sorted(self.roll_up.scorers.get(name, ())) for name in names}

    def facts(self, subject: Subject, metrics: Mapping[str, Sequence[str]], span: Span) -> Facts:
        """Return what was said of the scores."""
        del subject, metrics, span
        return self.facts_

    def thresholds(self, subject: Subject, span: Span) -> Mapping[str, float]:
        """Return what was said of the baseline."""
        del subject, span
        return self.thresholds_

    def _looks(self, said: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = []
        for place, body in enumerate(self.bodies):
            until = body.get("sufficient", {}).get("arms", {}).get("until", 0)
            named = ["baseline", "candidate", "by", "service", "environment", "rollout", "since"]
            if all(body.get(name) == said[name] for name in named) and until <= said["until"]:
                heads = {name: body[name] for name in ("digest", "plan_digest", "before")}
                found.append({"event": f"{place:032x}", "until": until, **heads})
        return found

    def _bodies(self, said: Mapping[str, Any]) -> list[dict[str, Any]]:
        texts = [one.body for one in self.kept if one.name == EVENT_VERDICT]
        return [{"event": one, "body": texts[int(one, 16)]} for one in said["events"]]

    def _entries(self, said: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {"digest": one, "body": self.scorers[one].body.decode()}
            for one in said["digests"]
            if one in self.scorers
        ]


def store_rows(
    store: Store,
    roll_up: RollUp,
    *,
    first_hour: int,
    project: str = "default",
    scorers: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
    service: str = "support",
) -> None:
    """Put *roll_up* into the table of the roll-up, its first hour moved to *first_hour*."""
    names = versions or {"stable": BASELINE, "canary": CANARY}
    moved = first_hour - min(key.stratum.hour for key in roll_up.cells)
    metrics = sorted({key.metric for key in roll_up.cells})
    rows = []
    for key, cell in roll_up.cells.items():
        said = [(key.metric, (scorers or {}).get(key.metric, ""), cell)]
        if key.metric == metrics[0]:
            said.append(("request", "", Cell.of_sums(cell.requests, cell.requests, cell.requests)))
        share = roll_up.shares.get(key.stratum)
        for metric, scorer, sums in said:
            place = (project, "production", service, names[key.arm], metric, "r1", key.arm)
            when = (
                datetime.fromtimestamp((key.stratum.hour + moved) * 3600, UTC),
                "" if share is None else str(share),
                scorer,
            )
            named = dict(zip(KEY, (*place, *when), strict=True))
            rows.append({**named, **asdict(sums), "bucket": key.bucket})
    for (arm, stratum), number in roll_up.units.items():
        share = roll_up.shares.get(stratum)
        place = (project, "production", service, names[arm], ">unit", "r1", arm)
        hour = datetime.fromtimestamp((stratum.hour + moved) * 3600, UTC)
        when = (hour, "" if share is None else str(share), "")
        named = dict(zip(KEY, (*place, *when), strict=True))
        rows.append({**named, **dict.fromkeys(SUMS, number), "bucket": 0})
    with store.session() as session:
        session.insert("quality_hourly", COLUMNS, folded(rows))


def a_comparison(name: str, version: str) -> tuple[Entry, bytes]:
    """Return a registered plan and the body of a verdict, both of what is called *name*."""
    plan = plan_of(Metric(name=name, kind="rate", margin=0.1), name=name)
    place = Memory(rolled_up({name: (0.9, 0.9)}, requests=60, hours=1))
    asked = Asked(
        baseline=version, canary=CANARY, service=name, until=(STARTED + 1) * 3600
    )  # fmt: skip
    take(place, asked, plan, keep=place.keep)
    return entry_of_plan(plan), place.kept[-1].body.encode()
