"""A look as it is kept: the event ``mvtrace.verdict``, and back. Pure.

In: a verdict, what it is about, and the looks it went on from. Out: the body of its event,
canonical JSON: the verdict's own fields, and beside them its digest and what was compared. Laws:
``read_body(body_of(verdict, …)) == verdict``; and ``recomputed`` makes the same verdict of a body's
plan and sufficient statistics and of the looks before it, to the last byte.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.digest import canonical_bytes, digest_of, parse_canonical
from mvtrace.errors import CheckFailedError, MvtraceError, UsageError
from mvtrace.otlp import LogEvent
from mvtrace.quality.deciding import decide
from mvtrace.quality.joining import joined
from mvtrace.quality.plan import Plan
from mvtrace.quality.verdict import SCHEMA_VERSION, VERDICT_DOMAIN, Verdict
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.semconv import EVENT_VERDICT

MOST_BYTES: Final = 240_000
"""What an event may take, with what relays add."""
PLAN: Final = "plan"
"""The kind of a plan's entry in the registry."""
VERSION: Final = "version"
ARM: Final = "arm"
_BESIDE: Final = frozenset(
    {
        *("baseline", "candidate", "by", "service", "environment", "rollout", "since"),
        *("digest", "before"),
    }
)
"""What a body has beside the verdict's own fields."""


class VerdictSizeError(UsageError):
    """A verdict is too large to be kept: its plan asks about too much."""

    code = "verdict-size"

    def __init__(self, size: int, metrics: int) -> None:
        super().__init__(
            f"The verdict on {metrics:,} metrics takes {size:,} bytes, and at most "
            f"{MOST_BYTES:,} are kept; nothing was decided.",
            hint="Name fewer metrics in the plan; each of them takes about 1,400 bytes.",
        )


class LookFormError(ValueError):
    """A body is what its digest says, and of a form that this version does not know."""


class RecomputeError(CheckFailedError):
    """What is stored of a verdict makes another verdict."""

    code = "verdict-differs"

    def __init__(self, digest: str, problem: str) -> None:
        super().__init__(
            f"Verdict {digest} is not what its statistics make: {problem}.",
            hint="Do not decide by it; 'mvtrace verdicts' shows whose key it came under.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is compared; empty texts stand for any."""

    baseline: str
    canary: str
    by: str = VERSION
    """Whether they are versions or arms."""
    service: str = ""
    environment: str = ""
    rollout: str = ""
    since: int = 0
    """Unix seconds: only what was exposed from then on. Another window is another comparison."""

    def parameters(self) -> dict[str, str | int]:
        """Return it as the parameters of a statement."""
        return {
            "baseline": self.baseline,
            "candidate": self.canary,
            "by": self.by,
            "service": self.service,
            "environment": self.environment,
            "rollout": self.rollout,
            "since": self.since,
        }


def body_of(verdict: Verdict, subject: Subject, last: Sequence[Verdict]) -> dict[str, Any]:
    """Return the body of the event; *last* are the looks that *verdict* went on from.

    Raises:
        VerdictSizeError: it is too large for an event.
    """
    said = {
        **verdict.to_dict(),
        **subject.parameters(),
        "digest": verdict.digest,
        "before": sorted(one.digest for one in last),
    }
    size = len(canonical_bytes(said))
    if size > MOST_BYTES:
        raise VerdictSizeError(size, len(verdict.plan.metrics))
    return said


def event_of(body: Mapping[str, Any], *, now_ns: int | None = None) -> LogEvent:
    """Return the event that carries *body*."""
    at = time.time_ns() if now_ns is None else now_ns
    return LogEvent(EVENT_VERDICT, at, canonical_bytes(dict(body)).decode(), {})


def read_body(body: bytes | str) -> Verdict:
    """Return the verdict of a stored *body*.

    Raises:
        LookFormError: it is one, but of a form that another version of mvtrace writes.
        ValueError: it is none, or not the one that its digest says.
    """
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    said = parse_canonical(raw)
    if not isinstance(said, dict):
        raise ValueError("it is no verdict: it is no object")  # noqa: TRY004 (of a text)
    version = said.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        raise LookFormError(f"its schema_version is {version}")
    fields = {key: value for key, value in said.items() if key not in _BESIDE}
    try:
        digest = digest_of(VERDICT_DOMAIN, canonical_bytes(fields))
    except MvtraceError as error:
        raise ValueError(f"it is no verdict: {error}") from error
    if digest != said.get("digest"):
        raise ValueError(f"its digest is {digest}, not {said.get('digest')}")
    return _verdict_of(said, digest)


def _verdict_of(said: Mapping[str, Any], digest: str) -> Verdict:
    try:
        verdict = Verdict.from_dict(said)
        made = verdict.digest
    except (KeyError, TypeError, AttributeError, ValueError, MvtraceError) as error:
        raise LookFormError(f"{type(error).__name__}: {error}") from error
    if made != digest:
        raise LookFormError("this version would say it otherwise")
    return verdict


def recomputed(verdict: Verdict, last: Sequence[Verdict]) -> Verdict:
    """Return the verdict that the statistics of *verdict* make; *last*: what it went on from.

    Raises:
        RecomputeError: it is another one.
    """
    try:
        made = decide(verdict.plan, verdict.sufficient, before=joined(last) if last else None)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise RecomputeError(verdict.digest, f"they make none ({error})") from error
    if made.to_bytes() != verdict.to_bytes():
        raise RecomputeError(verdict.digest, f"they make {made.digest}, “{made.sentence}”")
    return made


def entry_of_plan(plan: Plan) -> Entry:
    """Return the registry's entry of *plan*.

    Raises:
        RegistryError: it is too large for one.
    """
    return entry_of(PLAN, plan.to_dict())


def plan_of_entry(entry: Entry) -> Plan:
    """Return the plan of an entry.

    Raises:
        ValueError: it holds none.
    """
    said = {key: value for key, value in entry.said.items() if key != "kind"}
    try:
        return Plan.from_dict(said)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no plan: {error}") from error
