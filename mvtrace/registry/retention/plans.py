"""A plan: what a policy makes of all places, as a file to be read and then applied. Pure.

In: verdicts. Out: a JSON document that names itself by its digest, and back. Who changes a plan
changes its digest, and it is not applied. Costs are for a month, in the policy's own money.

Law: ``Plan.from_bytes(plan.to_bytes()) == plan``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from mvtrace.digest import canonical_bytes, digest_of
from mvtrace.errors import CanonicalFormError
from mvtrace.registry.retention.policies import policy_of
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import GIGABYTE, RULES, Place, Policy, Verdict

PLAN_DOMAIN: Final = b"mvtrace.retention-plan/1\n"
SCHEMA_VERSION: Final = 1
KIND: Final = "retention-plan"
_SHOWN_VERSIONS: Final = 20


class Sum(NamedTuple):
    """What one rule keeps, or frees."""

    rule: str
    artifacts: int
    places: int
    bytes: int
    cost: float | None
    """A month; None where the policy prices no scheme of it."""
    unpriced_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**self._asdict(), "means": RULES[self.rule]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done in *project*, decided at *made_at* (ISO 8601)."""

    project: str
    made_at: str
    policy: Policy
    verdicts: tuple[Verdict, ...]

    @property
    def collected(self) -> list[Verdict]:
        """What is to be collected: what holds others before what lies in it."""
        going = [one for one in self.verdicts if one.is_collected]
        return sorted(going, key=lambda one: (one.place.uri, one.place.artifact))

    @property
    def digest(self) -> str:
        """What names the plan: ``sha256:…`` over all of it."""
        return digest_of(PLAN_DOMAIN, canonical_bytes(self._said()))

    def sums(self, *, collected: bool) -> list[Sum]:
        """Return what is kept, or collected, by rule."""
        wanted = [one for one in self.verdicts if one.is_collected == collected]
        return sums_of(wanted, self.policy.costs)

    def to_bytes(self) -> bytes:
        """Return the plan as a file that people can read."""
        return json.dumps({**self._said(), "digest": self.digest}, indent=1).encode() + b"\n"

    def _said(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "project": self.project,
            "made_at": self.made_at,
            "policy": self.policy.to_dict(),
            "kept": [one.to_dict() for one in self.sums(collected=False)],
            "freed": [one.to_dict() for one in self.sums(collected=True)],
            "verdicts": [_verdict_dict(one) for one in self.verdicts],
        }

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Return the plan of a file.

        Raises:
            ValueError: it is none, or was changed since it was made; the text says what is wrong.
        """
        try:
            said = json.loads(body)
        except ValueError as error:
            raise ValueError(f"it is no JSON: {error}") from error
        if not isinstance(said, dict) or said.get("kind") != KIND:
            raise ValueError("it is no plan of 'mvtrace retention plan'")
        digest = said.pop("digest", None)
        try:
            found = digest_of(PLAN_DOMAIN, canonical_bytes(said))
        except CanonicalFormError as error:
            raise ValueError("it was changed since it was made") from error
        if digest != found:
            raise ValueError(
                f"it was changed since it was made: it says {digest}, its content gives {found}"
            )
        if said.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"its schema_version is not {SCHEMA_VERSION}")
        return cls(
            project=said["project"],
            made_at=said["made_at"],
            policy=policy_of(said["policy"]),
            verdicts=tuple(map(_verdict_of, said["verdicts"])),
        )


def sums_of(verdicts: Iterable[Verdict], costs: Mapping[str, float]) -> list[Sum]:
    """Return the bytes and costs of *verdicts* by rule, in the order of RULES."""
    by_rule: dict[str, list[Verdict]] = {}
    for one in verdicts:
        by_rule.setdefault(one.rule, []).append(one)
    return [_sum(rule, by_rule[rule], costs) for rule in RULES if rule in by_rule]


def cost_of(place: Place, costs: Mapping[str, float]) -> float | None:
    """Return what *place* costs a month; None where nobody said."""
    try:
        scheme = Where.parse(place.uri).scheme
    except ValueError:
        return None
    return place.bytes / GIGABYTE * costs[scheme] if scheme in costs else None


def _sum(rule: str, verdicts: Sequence[Verdict], costs: Mapping[str, float]) -> Sum:
    priced = [(one.place, cost_of(one.place, costs)) for one in verdicts]
    known = [cost for _, cost in priced if cost is not None]
    return Sum(
        rule=rule,
        artifacts=len({one.place.artifact for one in verdicts}),
        places=len(verdicts),
        bytes=sum(one.place.bytes for one in verdicts),
        cost=round(sum(known), 6) if known else None,
        unpriced_bytes=sum(place.bytes for place, cost in priced if cost is None),
    )


def _verdict_dict(one: Verdict) -> dict[str, Any]:
    place = one.place
    return {
        "artifact": place.artifact,
        "uri": place.uri,
        "bytes": place.bytes,
        "registered": str(place.at),
        "rule": one.rule,
        "collect": one.is_collected,
        "why": one.why,
        "versions": list(one.versions[:_SHOWN_VERSIONS]),
        "version_count": len(one.versions),
    }


def _verdict_of(said: Mapping[str, Any]) -> Verdict:
    place = Place(said["artifact"], said["uri"], said["bytes"], int(said["registered"]))
    return Verdict(place, said["rule"], said["why"], tuple(said["versions"]))
