"""``GET /api/v1/rollout``: what is in force for one service, as its servers ask for it.

In: a service and an environment, from who may send their records. Out: the stable version, the
rollout that runs and its share; nothing that such a key's own records could not say. Replicas ask
the same all the time, so an answer stands for FRESH_S: it costs 14 ms of CPU to make.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.store.rollouts import RolloutQuestion, parse_rollout_question, read_rollout
from mvtrace.store.statements import Statements
from mvtrace.store.store import Store

PATH: Final = "/api/v1/rollout"
FRESH_S: Final = 1.0
MAX_KEPT: Final = 1_000


class State(Protocol):
    """What the route needs of the collector."""

    @property
    def store(self) -> Store: ...

    def project_of(self, request: Request) -> str: ...


def routes(state: State) -> list[Route]:
    """Return the route, to be mounted by the collector."""
    answers = Answers()

    async def rollout(request: Request) -> Response:
        pairs = [pair for pair in request.query_params.multi_items() if pair[0] != "project"]
        question = parse_rollout_question(pairs)
        project = state.project_of(request)
        return JSONResponse(await run_in_threadpool(answers.of, state.store, project, question))

    return [Route(PATH, rollout, methods=["GET"])]


class Answers:
    """The last answers, by who asked what; for any thread."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, RolloutQuestion], tuple[float, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def of(self, store: Store, project: str, question: RolloutQuestion) -> dict[str, Any]:
        """Return what is in force in *project*, as it was FRESH_S ago at most.

        Raises:
            MvtraceError: the store does not answer.
        """
        asked_at = time.monotonic()
        known = self._kept.get((project, question))
        if known is not None and asked_at - known[0] < FRESH_S:
            return known[1]
        answer = read_rollout(Statements(store, project), question)
        with self._lock:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[project, question] = (asked_at, answer)
        return answer
