"""What a comparison reads of a store; and one look at it.

In: an open store or its address, and what is compared. Out: plain values. Everything is read for
one project; which one a collector's key sees is the collector's to say.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from mvtrace.comparing.defaults import MOST_METRICS, SCORE, USER, Facts, is_score
from mvtrace.comparing.errors import NotKeptError
from mvtrace.comparing.events import VERSION, Subject
from mvtrace.comparing.looking import Asked, Look, take
from mvtrace.comparing.reading import Span, now
from mvtrace.comparing.sending import Keep, sender_to
from mvtrace.quality.plan import REQUEST, Plan
from mvtrace.quality.sufficient import HOUR_S, RolledUp
from mvtrace.registry.reading import Ask, entries, statement
from mvtrace.store.asking import ask_of
from mvtrace.store.opening import open_store
from mvtrace.store.quality import Asked as Wanted
from mvtrace.store.quality import Side, read_rollup
from mvtrace.store.quality_behind import check_swept
from mvtrace.store.store import Store

DEFAULT_PROJECT: Final = "default"
FEW_REQUESTS: Final = 1_000
"""Fewer requests of the baseline than that say too little of its slowest."""
STORED_WITHIN_S: Final = 10.0
"""How long a look that the collector accepted is waited for."""
_NOT_YET: Final = (
    "it is accepted and will be stored; a look before that goes on from the one before"
)
_POLL_S: Final = 0.05
_SLOWEST_POLL_S: Final = 1.0
_SCORER: Final = "scorer"
_DIGEST: Final = "sha256:"
_ID_DIGITS: Final = 20


def look_at(  # noqa: PLR0913 (one keyword a condition)
    source: Store | str,
    asked: Asked,
    plan: Plan | None,
    *,
    project: str | None,
    api_key: str | None,
    keep: Keep | None,
    remember: bool,
) -> Look:
    """Take a look; see ``mvtrace.comparing.look``."""
    wanted = remember and asked.until is None
    with opened(source, project=project, api_key=api_key) as place:
        if wanted and keep is None:
            if isinstance(source, Store) or place.store.kind != "collector":
                raise NotKeptError(str(place.store.dsn))
            keep = sender_to(source, project=project, api_key=api_key)
            return _stored(place, take(place, asked, plan, keep=keep))
        return take(place, asked, plan, keep=keep if wanted else None)


def _stored(place: StoreSource, look: Look) -> Look:
    """Return *look* once the collector has it as a row, so that the next look finds it."""
    deadline = time.monotonic() + STORED_WITHIN_S
    sought = {"digest": look.verdict.digest, "since": now() - HOUR_S}
    pause_s = _POLL_S
    while not place.ask(statement("verdict_stored"), sought):
        if time.monotonic() > deadline:
            return replace(look, notes=(*look.notes, _NOT_YET))
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _SLOWEST_POLL_S)
    return look


@contextmanager
def opened(
    source: Store | str, *, project: str | None = None, api_key: str | None = None
) -> Iterator[StoreSource]:
    """Give *source*, an open store or a DSN, as a comparison reads it.

    Raises:
        ConfigurationError: it is no address.
        UnavailableError: nothing answers there.
    """
    chosen = project or os.environ.get("MVTRACE_PROJECT") or None
    if isinstance(source, Store):
        yield StoreSource(source, chosen or DEFAULT_PROJECT)
        return
    key = api_key or os.environ.get("MVTRACE_API_KEY") or None
    is_collector = source.startswith(("http://", "https://"))
    options: dict[str, Any] = {"api_key": key, "project": chosen} if is_collector else {}
    with open_store(source, read_only=True, **options) as store:
        yield StoreSource(store, chosen or _project_seen(store))


def _project_seen(store: Store) -> str:
    """Return the project that a collector binds for the key; of other stores the default one."""
    if store.kind != "collector":
        return DEFAULT_PROJECT
    return str(store.query("SELECT {project:String} AS project").rows[0][0])


class StoreSource:
    """One project of a store; safe for several threads, as the store is."""

    def __init__(self, store: Store, project: str) -> None:
        self.store = store
        self.project = project
        self.ask: Ask = ask_of(store, project)

    def rolled_up(
        self, subject: Subject, metrics: Sequence[str], span: Span, scorers: Mapping[str, str]
    ) -> RolledUp:
        """Return the sums of *metrics*, with ``request``, in *span*; of some by one scorer."""
        by: Side = "arm" if subject.by == "arm" else "version"
        asked = Wanted(
            baseline=subject.baseline, canary=subject.canary, by=by, metrics=tuple(metrics),
            since=span.since, until=span.until, project=self.project,
            environment=subject.environment or None, service=subject.service or None,
            rollout=subject.rollout or None, scorers=tuple(sorted(scorers.items())),
        )  # fmt: skip
        check_swept(self.store, self.project, asked.hours)
        settled = self._settled(subject, span, asked.hours)
        return read_rollup(self.store, replace(asked, settled=settled))

    def _settled(
        self, subject: Subject, span: Span, hours: tuple[int, int]
    ) -> tuple[tuple[str, str], ...]:
        """Return the versions that settled on one of the two, with that one.

        A version that was made of what requests met grows while its process warms up: as long as it
        only lacks parts of what it came to, it is that. A declared one is what it says. And only
        what served beside it, in its service and time, can be on the way to it.
        """
        if subject.by != VERSION or not subject.canary:
            return ()
        said = {**subject.parameters(), "since_hour": hours[0], "until_hour": hours[1]}
        rows = self.ask(statement("comparison_settling"), said)
        found = {str(row["version"]): str(row["settled"]) for row in rows}
        observed = {one for one in set(found.values()) if self._is_observed(one, span)}
        sought = [version for version, settled in found.items() if settled in observed]
        if not sought:
            return ()
        asked = {**_ids(span), "versions": sought}
        rows = self.ask(statement("comparison_observed"), asked)
        return tuple(sorted((str(row["version"]), found[str(row["version"])]) for row in rows))

    def _is_observed(self, version: str, span: Span) -> bool:
        said = {**_ids(span), "version": version}
        rows = self.ask(statement("comparison_basis"), said)
        return bool(rows) and bool(int(rows[0]["is_observed"]))

    def versions(self, subject: Subject, span: Span) -> Mapping[str, Mapping[str, int]]:
        """Return, by arm, the versions that served it, with their requests, those of most first."""
        said = {**subject.parameters(), "since": span.since, "until": span.until}
        found: dict[str, dict[str, int]] = {}
        for row in self.ask(statement("comparison_versions"), said):
            found.setdefault(str(row["side"]), {})[str(row["version"])] = int(row["served"])
        return found

    def first_hours(self, subject: Subject) -> tuple[int | None, int | None]:
        """Return each side's first hour since 1970, by whatever assigned it; None: it has none."""
        sides = [subject.baseline, subject.canary]
        rows = self.ask(statement("comparison_hours"), {**_place(subject), "sides": sides})
        hours = {str(row["side"]): int(row["first_hour"]) for row in rows}
        return hours.get(subject.baseline), hours.get(subject.canary)

    def started(self, subject: Subject, hour: int) -> tuple[int | None, str]:
        """Return when the canary served first in *hour* (since 1970), and what was assigned."""
        span = _ids(Span(hour * HOUR_S, (hour + 1) * HOUR_S))
        said = {**_place(subject), "side": subject.canary, "rollout": subject.rollout, **span}
        [row] = self.ask(statement("comparison_started"), said)
        started = int(row["started"]) if int(row["counted"]) else None
        return started, str(row["unit_kind"]) or REQUEST

    def metrics(self, subject: Subject, since: int) -> Mapping[str, Sequence[str]]:
        """Return the baseline's metrics with their scorers, those of most requests first."""
        said = {**_place(subject), "baseline": subject.baseline, "since": since}
        rows = self.ask(statement("comparison_metrics"), said)
        return {str(row["metric"]): sorted(map(str, row["scorers"])) for row in rows}

    def facts(self, subject: Subject, metrics: Mapping[str, Sequence[str]], span: Span) -> Facts:
        """Return what else a plan is made of; its unit is not among it."""
        names = [name for name in metrics if is_score(name)][:MOST_METRICS]
        called = {name.removeprefix(SCORE): name for name in names}
        said = {
            **_place(subject), **_ids(span), "baseline": subject.baseline, "names": list(called),
        }  # fmt: skip
        rows = self.ask(statement("comparison_scores"), said) if names else []
        declared = {
            name: [one for one in metrics[name] if not one.startswith(USER)] for name in names
        }
        return Facts(
            ranges={called[row["metric"]]: (float(row["low"]), float(row["high"])) for row in rows},
            better=self._better({name: those for name, those in declared.items() if those}),
            scorers={
                name: those[0]
                for name, those in declared.items()
                if len(those) == 1 and those[0].startswith(_DIGEST)
            },
        )

    def thresholds(self, subject: Subject, span: Span) -> Mapping[str, float]:
        """Return the baseline's thresholds, as sources, with the share of its requests above."""
        said = {**_place(subject), "side": subject.baseline, **_ids(span)}
        [row] = self.ask(statement("comparison_thresholds"), said)
        if int(row["counted"]) < FEW_REQUESTS:
            return {}
        cuts = {f"{float(cut):.4g}": 1 - q for q, cut in zip((0.95, 0.99), row["latency_ms"])}  # noqa: B905 (as many as were asked)
        return {f"latency_ms>{cut}": round(share, 2) for cut, share in cuts.items()}

    def _better(self, metrics: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Return which way is better where every scorer of a metric was registered and says so."""
        digests = {one for those in metrics.values() for one in those if one.startswith(_DIGEST)}
        known = entries(self.ask, _SCORER, sorted(digests))
        found = {}
        for name, scorers in metrics.items():
            said = {known[one].said.get("better", "higher") for one in scorers if one in known}
            if len(said) == 1 and all(one in known for one in scorers):
                found[name] = str(said.pop())
        return found


def _place(subject: Subject) -> dict[str, str]:
    return {
        "by": subject.by, "environment": subject.environment, "service": subject.service,
    }  # fmt: skip


def _ids(span: Span) -> dict[str, str]:
    """Return the first and the last request id of *span*: an id begins with its milliseconds."""
    first, last = span.since * 1000, span.until * 1000 - 1
    return {
        "first": f"{max(first, 0):012x}{'0' * _ID_DIGITS}",
        "last": f"{max(last, 0):012x}{'f' * _ID_DIGITS}",
    }
