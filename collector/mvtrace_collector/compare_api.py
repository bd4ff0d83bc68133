"""``/api/v1/compare``: the verdict on a comparison, for whoever decides about a rollout.

In: GET from who has the scope ``read``: a look that leaves nothing behind. POST from who has
``govern``: a look that is kept where it is news. ``POST /api/v1/compare/flagger`` is a read too, in
the form of a webhook: 200 opens the gate, 412 does not. Out: 200 with the decision, whatever it is;
an error (4xx, 5xx) never is a decision, so that a slip or a busy collector reverts nothing.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, Final, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mvtrace.errors import MvtraceError, UnavailableError
from mvtrace_collector import flagger
from mvtrace_collector.access import identity_in, small_body
from mvtrace_collector.access_log_entry import begun, filter_words, note_of
from mvtrace_collector.api import error_response, json_response
from mvtrace_collector.compared import Asked, is_full
from mvtrace_collector.comparisons import Comparisons, Kept
from mvtrace_collector.errors import BusyError, ForbiddenError
from mvtrace_collector.looks import Found, Wanted
from mvtrace_collector.receiver import sender_of

PATH: Final = "/api/v1/compare"
FLAGGER_PATH: Final = "/api/v1/compare/flagger"
WAIT_S: Final = 8.0
"""How long an answer is waited for: gates give up after 10 s, and ask again."""
MAX_BODY: Final = 64 * 1024
_GOVERN: Final = "govern"


class State(Protocol):
    """What the routes need of the collector."""

    @property
    def comparisons(self) -> Comparisons[Wanted, Found]: ...

    def project_of(self, request: Request) -> str: ...


class PendingComparisonError(UnavailableError):
    """A comparison takes longer than a gate waits; its answer will be there soon."""

    code = "comparison-pending"

    def __init__(self) -> None:
        super().__init__(
            f"The comparison takes longer than {WAIT_S:.0f} s; it goes on, and its answer is kept.",
            hint="Ask again in a few seconds.",
        )


class CompareApi:
    """Answers gates; comparisons are computed in a thread of their own."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def read(self, request: Request) -> Response:
        """Answer ``GET /api/v1/compare?service=…&environment=…&plan=…`` and the like."""
        return await self._answered(request, keep=False)

    async def kept(self, request: Request) -> Response:
        """Answer the POST of the same: the look is kept where it is news."""
        identity = identity_in(request.scope)
        if not identity.may(_GOVERN):
            raise ForbiddenError(identity.key_id, (_GOVERN,), f"POST {PATH}", of_all=False)
        await small_body(request, MAX_BODY)
        _noted(request, dict(request.query_params))
        await begun(request.scope)
        return await self._answered(request, keep=True)

    async def flagger(self, request: Request) -> Response:
        """Answer a webhook: 200 where the hook passes, 412 where not, text for the event."""
        try:
            body = await small_body(request, MAX_BODY)
            hook, texts = flagger.asked_of(dict(request.query_params), body)
            _noted(request, {"hook": hook, **texts})
            asked = Asked.of(self._state.project_of(request), texts)
            found, _ = await self._found(Wanted(asked))
        except MvtraceError as error:
            return _refused(error)
        note_of(request.scope).rows = 1
        status = 200 if flagger.passes(hook, found.decision) else flagger.CLOSED
        return PlainTextResponse(f"{found.told['sentence']}\n", status)

    async def _answered(self, request: Request, *, keep: bool) -> Response:
        try:
            texts = dict(request.query_params)
            asked = Asked.of(self._state.project_of(request), texts)
            sender = sender_of(identity_in(request.scope)) if keep else None
            found, age_s = await self._found(Wanted(asked, sender))
            told: dict[str, Any] = {**found.told, "age_s": age_s}
            if is_full(texts):
                told["evidence"] = orjson.loads(found.evidence)
        except MvtraceError as error:
            return _refused(error)
        note_of(request.scope).rows = 1
        return json_response(told)

    async def _found(self, wanted: Wanted) -> tuple[Found, float]:
        """Return what was found, and its age in seconds.

        Raises:
            MvtraceError: it could not be found, or not in time.
        """
        comparisons = self._state.comparisons
        pending: Future[Kept[Found]] = comparisons.ask(wanted)
        try:
            async with asyncio.timeout(WAIT_S):
                kept = await asyncio.wrap_future(pending)
        except TimeoutError as error:
            raise PendingComparisonError from error
        if wanted.sender is not None:
            comparisons.forget(Wanted(wanted.asked))
        return kept.answer, round(comparisons.age_of(kept), 1)


def routes(state: State) -> list[Route]:
    """Return the routes, to be mounted by the collector."""
    api = CompareApi(state)
    return [
        Route(PATH, api.read, methods=["GET"]),
        Route(PATH, api.kept, methods=["POST"]),
        Route(FLAGGER_PATH, api.flagger, methods=["POST"]),
    ]


def _noted(request: Request, asked: dict[str, str]) -> None:
    """Note in the access log what a POST asks for; of a GET it is known by its address."""
    note = note_of(request.scope)
    note.asked = filter_words(asked, note.digest)


def _refused(error: MvtraceError) -> Response:
    """Return *error* as an answer, with when to ask again where that is known."""
    response = error_response(error)
    if isinstance(error, BusyError):
        response.headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, PendingComparisonError):
        response.headers["retry-after"] = "5"
    return response
