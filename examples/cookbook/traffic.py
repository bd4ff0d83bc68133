"""The requests of three days, with what was thought of their answers: values, always the same.

Out: a record and its scores for each request. Most are answered by the version that is deployed; a
quarter of the users are on the canary while it runs; for a quarter of an hour the index is not the
declared one, and the answers are worse. One judge is stricter than the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from examples.cookbook.system import (
    FIRST,
    REINDEXED,
    SECOND,
    THIRD,
    THRESHOLD,
    System,
)
from mvtrace.ids import format_uuid7
from mvtrace.records import (
    Assignment,
    Call,
    Candidate,
    Drift,
    IndexSnapshot,
    ObservedComponent,
    PromptUse,
    RequestRecord,
    RetrievedDocument,
    RouterDecision,
    UnixNano,
    Usage,
)
from mvtrace.registry.evals.scorers import Scorer, scorer_entry
from mvtrace.scores import Score

SERVICE: Final = "support"
ENVIRONMENT: Final = "prod"
MONDAY_MS: Final = int(datetime(2026, 8, 3, tzinfo=UTC).timestamp() * 1000)
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
DAYS: Final = 3
HOURLY: Final = 400
REQUESTS: Final = DAYS * HOURLY
"""From ten to eleven o'clock on three days."""
TEN_MS: Final = MONDAY_MS + 10 * HOUR_MS
SECOND_MS: Final = TEN_MS + HOUR_MS // 2
DRIFT_MS: Final = (TEN_MS + DAY_MS + HOUR_MS // 4, TEN_MS + DAY_MS + HOUR_MS // 2)
CANARY_MS: Final = (TEN_MS + 2 * DAY_MS, TEN_MS + 2 * DAY_MS + 5 * HOUR_MS // 6)
SHARE: Final = 0.25
ROLLOUT: Final = "larger-model"
USERS: Final = 64
PRODUCER: Final = format_uuid7(MONDAY_MS - 60_000, 1)


def judge(name: str, model: str) -> Scorer:
    """Return the judge *name*: a model that is asked whether an answer keeps to its passages."""
    return scorer_entry(
        name, judge={"model": model, "prompt": "Does the answer keep to the passages? 0 to 1."}
    )


MILD: Final = judge("faithful-small", "gpt-4o-mini")
STRICT: Final = judge("faithful-large", "gpt-4.1")


@dataclass(frozen=True)
class Asked:
    """One request: when, by whom, and by what it is answered."""

    number: int
    at_ms: int
    user: int
    system: System
    is_canary: bool
    is_drifted: bool

    @property
    def id(self) -> str:
        return format_uuid7(self.at_ms, self.number + 1)

    @property
    def segment(self) -> str:
        """Most users are on the free plan."""
        return ("enterprise", "pro", "pro", "free")[min(self.user % 8, 3)]


def traffic() -> Iterator[tuple[RequestRecord, tuple[Score, ...]]]:
    """Yield each request with its scores."""
    dice = Random(20260803)
    for number in range(REQUESTS):
        day, within = number // HOURLY, number % HOURLY + dice.random()
        at_ms = TEN_MS + day * DAY_MS + int(within * HOUR_MS / HOURLY)
        user = int(dice.random() * USERS)
        is_canary = CANARY_MS[0] <= at_ms < CANARY_MS[1] and user < USERS * SHARE
        deployed = SECOND if at_ms >= SECOND_MS else FIRST
        asked = Asked(
            number,
            at_ms,
            user,
            THIRD if is_canary else deployed,
            is_canary,
            DRIFT_MS[0] <= at_ms < DRIFT_MS[1],
        )
        one = record(asked, dice)
        yield one, tuple(scores(asked, one, dice))


def record(asked: Asked, dice: Random) -> RequestRecord:
    """Return the record of a request."""
    score = round(dice.random(), 4)
    wants_extract = score >= 1 - THRESHOLD
    is_error = dice.random() < (0.03 if asked.is_drifted else 0.015)
    calls, took_ms = steps(asked, dice, wants_extract=wants_extract, is_error=is_error)
    start = asked.at_ms * 1_000_000
    return RequestRecord(
        request_id=asked.id,
        revision=2,
        state="finished",
        producer_id=PRODUCER,
        sequence=asked.number + 1,
        service=SERVICE,
        environment=ENVIRONMENT,
        protocol="http",
        method="POST",
        route="/ask" if dice.random() < 0.8 else "/search",
        started_at=UnixNano(start),
        first_byte_at=UnixNano(start + int(took_ms * 300_000)),
        ended_at=UnixNano(start + int(took_ms * 1_000_000)),
        outcome="error" if is_error else "ok",
        status_code=500 if is_error else 200,
        error_type="TimeoutError" if is_error else None,
        conversation_id=f"c{asked.user:02}-{asked.at_ms // DAY_MS}",
        composite_version=asked.system.version.version,
        composite_name="support-bot",
        router_decisions=(decision(asked, score, "extract" if wants_extract else "writer"),),
        index_snapshots=(snapshot(asked, dice),),
        observed=(ObservedComponent(kind="index", name="faq", digest=index_of(asked)),),
        calls=calls,
        annotations={"segment": asked.segment, "language": ("en", "de")[asked.user % 5 == 0]},
        **arm_of(asked),
        **drift_of(asked),
    )


def arm_of(asked: Asked) -> dict[str, Any]:
    """Return the arm; while a canary runs, also what was drawn for whom."""
    if not CANARY_MS[0] <= asked.at_ms < CANARY_MS[1]:
        return {"arm": "stable"}
    unit = hashlib.sha256(f"user-{asked.user}".encode()).hexdigest()[:32]
    drawn = Assignment(rollout=ROLLOUT, unit=unit, unit_kind="user", share=SHARE)
    return {"arm": "canary" if asked.is_canary else "stable", "assignment": drawn}


def drift_of(asked: Asked) -> dict[str, Any]:
    """Return what the record says where the index is not the declared one."""
    if not asked.is_drifted:
        return {}
    met = {"expected": asked.system.index.digest, "observed": index_of(asked)}
    return {"drift": (Drift(kind="index", name="faq", what="digest", **met),)}


def index_of(asked: Asked) -> str:
    """Return the digest of the index as it was queried."""
    return REINDEXED.digest if asked.is_drifted else asked.system.index.digest


def decision(asked: Asked, score: float, chosen: str) -> RouterDecision:
    """Return how the router chose between quoting a page and writing an answer."""
    rest = round(1 - score, 4)
    return RouterDecision(
        name="route",
        policy_digest=asked.system.router.digest,
        features={"top_score": score},
        candidates=(
            Candidate(
                name="extract", score=score, threshold=1 - THRESHOLD, chosen=chosen == "extract"
            ),
            Candidate(name="writer", score=rest, threshold=THRESHOLD, chosen=chosen == "writer"),
        ),
        chosen=chosen,
        reason="a page is close enough" if chosen == "extract" else "no page is close enough",
        fallbacks=("writer",) if asked.number % 97 == 0 and chosen == "extract" else (),
    )


def snapshot(asked: Asked, dice: Random) -> IndexSnapshot:
    """Return the index as it was queried."""
    best = round((0.55 if asked.is_drifted else 0.7) + 0.25 * dice.random(), 4)
    pages = (asked.number % 40, asked.number % 31, asked.number % 17)
    found = [
        RetrievedDocument(id=f"faq/{page}", score=best - 0.1 * n) for n, page in enumerate(pages)
    ]
    return IndexSnapshot(
        name="faq",
        digest=index_of(asked),
        expected=asked.system.index.digest,
        size=240 if asked.is_drifted else 612,
        metric="cos",
        top_k=3,
        documents=tuple(found),
    )


def steps(
    asked: Asked, dice: Random, *, wants_extract: bool, is_error: bool
) -> tuple[tuple[Call, ...], float]:
    """Return the calls of a request, and how long it took in milliseconds."""
    search_ms = 5 + 20 * dice.random()
    search = Call(
        kind="retrieval", name="faq", component="index/faq", duration_ns=int(search_ms * 1e6)
    )
    if wants_extract:
        return (search,), search_ms + 10 + 60 * dice.random()
    is_large = asked.system is THIRD
    tokens = 40 + int((140 if asked.system is FIRST else 60) * dice.random())
    took_ms = (900 if is_large else 400) + tokens * (14 if is_large else 7) * (0.5 + dice.random())
    took_ms = 10_000.0 if is_error else round(took_ms, 3)
    ended = dice.random()
    reason = "content_filter" if ended < 0.02 else "length" if ended < 0.05 else "stop"
    told: dict[str, Any] = {
        "model_served": asked.system.served,
        "usage": Usage(input_tokens=300 + int(500 * dice.random()), output_tokens=tokens),
        "finish_reason": reason,
        "response_id": f"chatcmpl-{asked.number:05}",
    }
    failed: dict[str, Any] = {"outcome": "error", "error_type": "TimeoutError"}
    generation = Call(
        kind="generation",
        name="answer",
        component="model/writer",
        provider="openai",
        model_requested=asked.system.asked,
        prompt=PromptUse(name="answer", template_digest=asked.system.prompt.digest),
        sampling={"temperature": 0.2},
        duration_ns=int(took_ms * 1e6),
        **(failed if is_error else told),
    )
    return (search, generation), search_ms + took_ms


def scores(asked: Asked, one: RequestRecord, dice: Random) -> Iterator[Score]:
    """Yield what was thought of an answer: two judges of most, votes of some users."""
    quality = {id(FIRST): 0.84, id(SECOND): 0.86, id(THIRD): 0.91}[id(asked.system)]
    quality -= 0.3 if asked.is_drifted else 0.0
    ended_ms = int(one.ended_at or one.started_at) // 1_000_000
    truth = min(1.0, max(0.0, quality + 0.3 * (dice.random() - 0.5)))
    strict = min(1.0, max(0.0, truth - 0.05 - (0.4 if dice.random() < 0.08 else 0.0)))
    vote, delay = dice.random(), int(dice.random() * 8 * HOUR_MS)
    changes_mind = dice.random() < 0.1
    if one.outcome == "error":
        return
    said = {"request_id": asked.id, "source": "judge", "name": "faithful"}
    yield Score(
        **said, value=round(truth, 3), scorer=MILD.digest, at=(ended_ms + 60_000) * 1_000_000
    )
    if asked.number % 2 == 0:
        at = (ended_ms + HOUR_MS) * 1_000_000
        yield Score(**said, value=round(strict, 3), scorer=STRICT.digest, at=at)
    if vote < 0.2:
        is_up = vote < 0.2 * truth
        at = (ended_ms + delay) * 1_000_000
        voted = {"request_id": asked.id, "name": "thumbs", "voter": f"user-{asked.user}"}
        yield Score(**voted, value=float(is_up), at=at)
        if changes_mind:
            yield Score(**voted, value=float(not is_up), at=at + 300_000_000_000)
