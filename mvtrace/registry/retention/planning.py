"""The planner: of every place where an artifact lies, whether it is kept and by which rule. Pure.

In: what the registry knows, a policy, the time. Out: a :class:`Verdict` for each place that is not
collected yet. Rules are tried in the order of RULES; the first that holds tells.

Laws: an artifact that a version needs which serves now, that ever served production, or of which
such a version was made, is not collected, nor is anything that lies where it lies. A place outside
the policy's roots is not collected, nor an artifact that no registered version needs. Beyond that
first need more history never makes fewer artifacts kept, but for time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from mvtrace.registry.deployments import serving_at
from mvtrace.registry.refs import Ref
from mvtrace.registry.retention import values
from mvtrace.registry.retention.tombstones import (
    COLLECT,
    COLLECTED,
    RESTORED,
    Tombstone,
    latest,
    latest_places,
    place_of,
)
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import Known, Place, Policy, Verdict

_SHOWN: Final = 12


def plan(known: Known, policy: Policy, now: int) -> list[Verdict]:
    """Return what is to become of each place, by artifact and URI.

    Raises:
        ValueError: a root of the policy is none.
    """
    return _Planner(known, policy, now).verdicts()


def roots_of(policy: Policy) -> tuple[Where, ...]:
    """Return the roots of *policy*; raises ValueError where one is none."""
    found = []
    for root in policy.roots:
        try:
            found.append(Where.parse(root))
        except ValueError as error:
            raise ValueError(f"{root!r} is no root: {error}") from error
    return tuple(found)


def never_served(known: Known, policy: Policy) -> list[str]:
    """Return the environments named by *policy* in which nothing was ever deployed or seen."""
    found = {one.decision.environment for one in known.deployments}
    found |= {one.environment for one in known.served}
    return [one for one in policy.environments if one not in {*found, *Policy().environments}]


def running(known: Known, now: int) -> dict[str, str]:
    """Return the versions that serve now, and where each does."""
    targets = defaultdict(list)
    for one in known.deployments:
        targets[one.decision.service, one.decision.environment].append(one)
    found: dict[str, str] = {}
    for (service, environment), decisions in sorted(targets.items()):
        state = serving_at(decisions, now)
        for serving in (state.canary, state.stable):
            if serving is not None:
                found[serving.composite] = f"serves {service} in {environment}"
    return found


class _Planner:
    """One planning: the sets that the rules ask for, made once."""

    def __init__(self, known: Known, policy: Policy, now: int) -> None:
        self._known = known
        self._policy = policy
        self._now = now
        self._roots = roots_of(policy)
        self._states = latest(known.tombstones)
        self._ends = latest_places(known.tombstones)
        self._closures: dict[str, frozenset[str]] = {}
        self._made_from: dict[Ref, set[Ref]] = defaultdict(set)
        for child, parent in known.made:
            self._made_from[child].add(parent)
        self._registered = frozenset(one.artifact for one in known.places)
        self._needing = self._versions_by_artifact()
        self._last_use = self._last_uses()
        self._kept = dict(self._kept_artifacts())

    def verdicts(self) -> list[Verdict]:
        living = [one for one in self._known.places if self._is_living(one)]
        found = [self._verdict(one) for one in sorted(set(living))]
        return self._without_overlaps(found)

    def _is_living(self, place: Place) -> bool:
        """Whether its bytes are not known to be gone."""
        state = self._ends.get(place_of(place.artifact, place.uri))
        return state is None or state.action != COLLECTED

    def _verdict(self, place: Place) -> Verdict:
        rule, why = self._rule(place)
        return Verdict(place, rule, why, tuple(sorted(self._needing.get(place.artifact, ()))))

    def _rule(self, place: Place) -> tuple[str, str]:
        where, problem = _where(place.uri)
        state = self._states.get((place.artifact, place.uri))
        if place.artifact in self._kept:
            return self._kept[place.artifact]
        if where is None:
            return values.UNFIT, problem
        if not any(where.is_below(root) for root in self._roots):
            return values.OUTSIDE, "no root of the policy holds it"
        return self._rule_of_unkept(place, state)

    def _rule_of_unkept(self, place: Place, state: Tombstone | None) -> tuple[str, str]:
        """Return the rule of what no version keeps, and what may be collected where it lies."""
        if place.artifact not in self._needing:
            return values.UNKNOWN, "nothing tells what it was for"
        back = state.at if state is not None and state.action == RESTORED else 0
        last = max(self._last_use.get(place.artifact, 0), place.at, back)
        used = f"last used {_day(last)}"
        if last > self._now - self._policy.window_ns:
            return values.WINDOW, used
        if state is not None and state.action == COLLECT:
            return values.UNFINISHED, "its collection was begun and did not end"
        return values.EXPIRED, used

    def _kept_artifacts(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield the artifacts that a version keeps, the strongest rule last."""
        for text in self._policy.keep:
            for artifact in self._artifacts(Ref.parse(text)):
                yield artifact, (values.HELD, f"the policy keeps {text[:40]}")
        production = sorted(self._production().items())
        yield from self._parents(production)
        serving = sorted(running(self._known, self._now).items())
        for rule, found in ((values.PRODUCTION, production), (values.RUNNING, serving)):
            for version, why in found:
                for artifact in self._of_version(version):
                    yield artifact, (rule, f"{version[:_SHOWN]} {why}")

    def _parents(self, production: list[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield the artifacts of what the versions of *production* were made from in one step."""
        for version, why in production:
            for parent in self._parents_of(version):
                for artifact in self._artifacts(parent):
                    yield artifact, (values.PARENT, f"made into {version[:_SHOWN]}, which {why}")

    def _production(self) -> dict[str, str]:
        """Return the versions that ever served production, and when they did last."""
        last: dict[str, tuple[int, str]] = {}
        for one in self._known.deployments:
            environment = one.decision.environment
            if environment in self._policy.environments:
                last[one.composite] = max(last.get(one.composite, (0, "")), (one.at, environment))
        for served in self._known.served:
            if served.environment in self._policy.environments:
                when = (served.last_at, served.environment)
                last[served.version] = max(last.get(served.version, (0, "")), when)
        return {one: f"was in {where} on {_day(at)}" for one, (at, where) in last.items()}

    def _parents_of(self, version: str) -> set[Ref]:
        """Return what *version* or a part of it was made from in one step."""
        parts = {Ref("composite", version)}
        if found := self._known.versions.get(version):
            inner = {one for part in found.components for one in self._mentioned(part)}
            parts |= {Ref("component", one) for one in inner}
            parts |= {Ref("artifact", one) for one in inner}
        return {parent for part in parts for parent in self._made_from.get(part, ())}

    def _artifacts(self, ref: Ref) -> frozenset[str]:
        """Return the artifacts behind anything."""
        if ref.kind == "artifact":
            return frozenset({ref.digest})
        if ref.kind == "component":
            return self._of_component(ref.digest)
        return self._of_version(ref.digest) if ref.kind == "composite" else frozenset()

    def _of_version(self, version: str) -> frozenset[str]:
        found = self._known.versions.get(version)
        parts = found.components if found else ()
        return frozenset(one for part in parts for one in self._of_component(part))

    def _of_component(self, component: str) -> frozenset[str]:
        """Return the artifacts that a component needs, itself or through what it pins."""
        return self._mentioned(component) & self._registered

    def _mentioned(self, component: str) -> frozenset[str]:
        """Return every digest that a component or one that it pins mentions, and its own."""
        if component not in self._closures:
            seen, waiting = {component}, [component]
            while waiting:
                new = self._known.mentions.get(waiting.pop(), frozenset()) - seen
                seen |= new
                waiting.extend(new)
            self._closures[component] = frozenset(seen)
        return self._closures[component]

    def _versions_by_artifact(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for version in self._known.versions:
            for artifact in self._of_version(version):
                found[artifact].add(version)
        return found

    def _last_uses(self) -> dict[str, int]:
        """Return when anything was last done with a version that needs an artifact."""
        uses = [(one.composite, one.at) for one in self._known.deployments]
        uses += [(one.version, one.last_at) for one in self._known.served]
        uses += [(version, one.at) for version, one in self._known.versions.items()]
        found: dict[str, int] = {}
        for version, at in uses:
            for artifact in self._of_version(version):
                found[artifact] = max(found.get(artifact, 0), at)
        return found

    def _without_overlaps(self, found: list[Verdict]) -> list[Verdict]:
        """Return *found*, with what lies in or around something kept kept as well."""
        held = _Held(one.place.uri for one in found if not one.is_collected)
        going = [one for one in found if one.is_collected]
        changed: dict[Place, Verdict] = {}
        is_stable = False
        while not is_stable:
            is_stable = True
            for one in going:
                if one.place not in changed and (near := held.near(one.place.uri)):
                    why = f"it shares its place with {near}, which is kept"
                    changed[one.place] = one._replace(rule=values.OVERLAP, why=why)
                    held.add(one.place.uri)
                    is_stable = False
        return [changed.get(one.place, one) for one in found]


class _Held:
    """The places of what is kept, asked whether another overlaps one of them."""

    def __init__(self, uris: Iterable[str]) -> None:
        self._places: set[Where] = set()
        self._around: dict[Where, Where] = {}
        for uri in uris:
            self.add(uri)

    def add(self, uri: str) -> None:
        where, _ = _where(uri)
        if where is not None:
            self._places.add(where)
            self._around.update(dict.fromkeys(where.ancestors(), where))

    def near(self, uri: str) -> Where | None:
        """Return a kept place that is *uri*, lies within it, or around it."""
        where, _ = _where(uri)
        if where is None:
            return None
        within = next((one for one in (where, *where.ancestors()) if one in self._places), None)
        return within or self._around.get(where)


def _where(uri: str) -> tuple[Where | None, str]:
    try:
        return Where.parse(uri), ""
    except ValueError as error:
        return None, str(error)


def _day(at: int) -> str:
    return datetime.fromtimestamp(at // 10**9, UTC).strftime("%Y-%m-%d") if at else "never"
