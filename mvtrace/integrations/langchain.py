"""LangChain: models, prompt templates, retrievers and tools, by its own callbacks.

In: the runs that ``langchain_core`` announces, in any chain, agent or graph. Out: a generation, a
search or a tool a run, with the template behind a prompt. A model that asks through a client which
is observed too (``openai``, ``litellm``) is recorded once: what the client knows is on the call.

Left out: runs of chains, which only contain others; the values of a template's partial variables
(they are in the digest of the prompt as rendered).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from mvtrace.capture.guard import fail_open
from mvtrace.integrations.hooks import Hook, Installed
from mvtrace.integrations.langchain_fallbacks import Fallbacks

LIBRARY: Final = "langchain_core"

retriever: Final[ContextVar[Any]] = ContextVar("mvtrace_retriever", default=None)
"""The retriever that works, which no callback names."""
_installed: Final[list[Any]] = []
"""The handler: LangChain has a way to add one for all, and none to take it away."""


class Observer:
    """What LangChain's callbacks reach us by."""

    def __init__(self, runs: Any) -> None:
        self._runs = runs
        runs.is_on = True

    def remove(self) -> None:
        """Let every further callback be ignored."""
        self._runs.is_on = False


def install() -> tuple[Installed, ...]:
    """Add our handler to every run, and note what no callback tells."""
    from langchain_core.retrievers import BaseRetriever  # noqa: PLC0415 (only where installed)
    from langchain_core.runnables import RunnableWithFallbacks  # noqa: PLC0415

    begins = {BaseRetriever: Retrieving, RunnableWithFallbacks: Fallbacks}
    hooks = (
        Hook(owner, name, begin)
        for owner, begin in begins.items()
        for name in ("invoke", "ainvoke")
    )
    return (Observer(_handler()), *hooks)


def _handler() -> Any:
    if not _installed:
        from langchain_core.tracers.context import register_configure_hook  # noqa: PLC0415

        from mvtrace.integrations.langchain_runs import Runs  # noqa: PLC0415 (needs LangChain)

        runs = Runs()
        register_configure_hook(ContextVar("mvtrace_langchain", default=runs), inheritable=True)
        _installed.append(runs)
    return _installed[0]


class Retrieving:
    """One use of a retriever."""

    def __init__(self, found: Any, *_: Any, **__: Any) -> None:
        self._found = found

    @fail_open
    def enter(self) -> None:
        """Say which it is."""
        self._before = retriever.set(self._found)

    @fail_open
    def leave(self) -> None:
        """End that."""
        retriever.reset(self._before)

    def answered(self, _result: Any) -> None:
        """The documents are told by a callback."""

    def failed(self, _error: BaseException) -> None:
        """So is an error."""
