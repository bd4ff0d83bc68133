"""LangChain's ``with_fallbacks``: which model was to answer, which failed and why, which did.

In: a runnable with fallbacks, as it is invoked, and the runs of models within. Out: one router
decision: the order that is the policy, each model with what became of it. Of an error only its kind
and status are told: its words hold content.

Left out: decisions of streams, whose attempts are calls each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.capture.guard import fail_open
from mvtrace.capture.step_calls import routing
from mvtrace.integrations.call_site import call_site
from mvtrace.integrations.litellm import ANSWERED, NOT_TRIED, kind_of

MAX_DEPTH: Final = 8
"""How far into a chain its model is looked for."""


@dataclass(slots=True)
class Tried:
    """A model that was asked."""

    model: str
    error: str | None = None


class Fallbacks:
    """One use of a runnable with fallbacks."""

    def __init__(self, runnable: Any, *_: Any, **__: Any) -> None:
        self._order = list(_named(_model_of(one) for one in runnable.runnables))
        errors = sorted(error.__name__ for error in runnable.exceptions_to_handle)
        policy = {"order": self._order, "on": errors}
        self._call = routing(call_site("with_fallbacks", within="langgraph"), policy=policy)
        self._call.open()
        self._tried: list[Tried] = []

    def tries(self, model: str) -> Tried:
        """Note that *model* is asked."""
        self._tried.append(Tried(model))
        return self._tried[-1]

    @fail_open
    def enter(self) -> None:
        """Let the runs of models find the decision."""
        self._before = deciding.set(self)
        self._call.attach()

    @fail_open
    def leave(self) -> None:
        """End that."""
        deciding.reset(self._before)
        self._call.detach()

    @fail_open
    def answered(self, _result: Any) -> None:
        """Close the decision: the last one tried has answered."""
        self._tell()
        self._call.close()

    @fail_open
    def failed(self, error: BaseException) -> None:
        """Close the decision: nobody answered."""
        self._tell()
        self._call.close(error)

    @fail_open
    def _tell(self) -> None:
        names = list(_named(one.model for one in self._tried))
        for name in self._order:
            self._call.candidate(name, reason=NOT_TRIED)
        for name, tried in zip(names, self._tried, strict=True):
            if tried.error is not None:
                self._call.fallback(name, reason=f"failed: {tried.error}")
            else:
                self._call.candidate(name, reason=ANSWERED)
                self._call.choose(name, reason=ANSWERED)


deciding: Final[ContextVar[Fallbacks | None]] = ContextVar("mvtrace_fallbacks", default=None)


def tried(model: str) -> Tried | None:
    """Note that *model* is asked, where that is one of several that may be."""
    decision = deciding.get()
    return None if decision is None else decision.tries(model)


def failed(attempt: Tried | None, error: BaseException) -> None:
    """Note why the *attempt* failed."""
    if attempt is not None:
        attempt.error = kind_of(error)


def _named(models: Any) -> Iterator[str]:
    """Yield the names of *models*, numbered from the second of a name on."""
    seen: dict[str, int] = {}
    for model in models:
        seen[model] = seen.get(model, 0) + 1
        yield model if seen[model] == 1 else f"{model} {seen[model]}"


def _model_of(runnable: Any, depth: int = 0) -> str:
    """Return the name of the model that *runnable* asks; where it is none, its own name."""
    for attribute in ("model_name", "model"):
        found = getattr(runnable, attribute, None)
        if isinstance(found, str):
            return found
    inner = getattr(runnable, "bound", None)
    steps = [inner] if inner is not None else list(reversed(getattr(runnable, "steps", None) or ()))
    for step in steps if depth < MAX_DEPTH else ():
        if hasattr(step, "generate_prompt") or hasattr(step, "bound") or hasattr(step, "steps"):
            return _model_of(step, depth + 1)
    return str(runnable.get_name())
