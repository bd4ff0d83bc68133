"""The handler of LangChain's callbacks: which run is which call.

In: the start, pieces and end of each run. Out: the calls. LangChain tells the end of an
asynchronous run in a task of its own, so nothing is current here while a run lasts: a step finds
the one that it belongs to by the ids of the runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from mvtrace.capture.calls import Call
from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import CHAT, COMPLETION
from mvtrace.capture.pipeline import current_tracing
from mvtrace.capture.retrieval_calls import RetrievalCall, retrieval
from mvtrace.capture.step_calls import tool
from mvtrace.integrations import langchain_prompts as prompts
from mvtrace.integrations.call_site import call_site
from mvtrace.integrations.inference import AWAITING
from mvtrace.integrations.langchain import retriever
from mvtrace.integrations.langchain_models import ModelRun
from mvtrace.integrations.open_runs import MAX_RUNS, OpenRuns
from mvtrace.integrations.searches import AWAITING as AWAITING_SEARCHES
from mvtrace.integrations.tool_runs import TOOLS, ToolRun

_GRAPH: Final = "langgraph"
_SCORES: Final = ("score", "relevance_score", "_score")
"""What stores call the score in a document's metadata, where they leave it there."""


class Runs(BaseCallbackHandler):
    """Makes calls of runs."""

    run_inline = True
    """In the caller's own task and thread, so that what is asked beneath finds its run."""

    def __init__(self) -> None:
        self.is_on = True
        self._parents: OpenRuns[UUID | None] = OpenRuns()
        self._templates: OpenRuns[prompts.Template] = OpenRuns()
        self._models: OpenRuns[ModelRun] = OpenRuns()
        self._tools: OpenRuns[ToolRun] = OpenRuns()
        self._searches: OpenRuns[RetrievalCall] = OpenRuns()

    @property
    def ignore_llm(self) -> bool:
        """Whether models are left alone."""
        return not self.is_on

    ignore_chat_model = ignore_chain = ignore_retriever = ignore_agent = ignore_llm
    ignore_custom_event = property(lambda _self: True)
    ignore_retry = property(lambda _self: True)

    # Chains hold others together; a template is one too

    @fail_open
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,  # noqa: ARG002 (the values of a template stay where they are)
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note whose run this is a part of."""
        self._parents.put(run_id, parent_run_id)
        if kwargs.get("run_type") == "prompt" and serialized is not None:
            found = prompts.template_of(serialized)
            if found is not None:
                self._templates.put(run_id, found)

    @fail_open
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """Note what a template was rendered to."""
        self._parents.take(run_id)
        template = self._templates.take(run_id)
        if template is not None:
            prompts.rendered(template, outputs.to_messages())

    @fail_open
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002
        """Forget the run."""
        self._parents.take(run_id)
        self._templates.take(run_id)

    # Models

    @fail_open
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Begin a generation."""
        self._begin(CHAT, serialized, messages[0], run_id, kwargs)

    @fail_open
    def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Begin a generation by a model that completes a text."""
        self._begin(COMPLETION, serialized, prompts[0], run_id, kwargs)

    def _begin(
        self,
        operation: str,
        serialized: Mapping[str, Any],
        said: Sequence[BaseMessage] | str,
        run_id: UUID,
        told: Mapping[str, Any],
    ) -> None:
        metadata = told.get("metadata") or {}
        run = ModelRun(
            operation,
            serialized,
            said,
            {**metadata, "invocation_params": told.get("invocation_params") or {}},
            name=_slot(str(told.get("name") or serialized.get("name") or operation), metadata),
            within=self._step_of(told.get("parent_run_id")),
        )
        self._models.put(run_id, run)
        AWAITING.put(run.inference, is_further=told.get("batch_size", 1) > 1)

    @fail_open
    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002
        """Note a piece of a stream."""
        run = self._models.get(run_id)
        if run is not None:
            run.chunk()

    @fail_open
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """End a generation."""
        run = self._models.take(run_id)
        if run is not None:
            run.end(response)

    @fail_open
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a generation by *error*; by leaving its stream where that is all."""
        run = self._models.take(run_id)
        if run is not None:
            run.failed(error)

    # Tools

    @fail_open
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin the run of a tool."""
        name = str(serialized.get("name") or kwargs.get("name") or "tool")
        given = kwargs.get("inputs")
        call = tool(name, arguments=input_str if given is None else given)
        call.open_within(self._step_of(parent_run_id))
        run = ToolRun(call)
        self._parents.put(run_id, parent_run_id)
        self._tools.put(run_id, run)
        TOOLS.put(run)

    @fail_open
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """End it."""
        self._parents.take(run_id)
        run = self._tools.take(run_id)
        if run is None:
            return
        if getattr(output, "status", None) == "error":
            run.call.failed("tool_error")
        if not run.is_taken:
            run.call.result(getattr(output, "content", output))
        run.close()

    @fail_open
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End it by *error*."""
        self._parents.take(run_id)
        run = self._tools.take(run_id)
        if run is not None:
            run.close(error)

    # Retrievers

    @fail_open
    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,  # noqa: ARG002 (says the class, which the name does too)
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a search."""
        found = retriever.get()
        name = (metadata or {}).get("ls_vector_store_provider") or kwargs.get("name")
        call = retrieval(
            _slot(str(name or "retriever"), metadata or {}),
            index=_index_of(found),
            query=query,
            top_k=(getattr(found, "search_kwargs", None) or {}).get("k"),
        )
        call.open_within(self._step_of(parent_run_id))
        self._parents.put(run_id, parent_run_id)
        self._searches.put(run_id, call)
        AWAITING_SEARCHES.put(call)

    @fail_open
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **_: Any) -> None:
        """End it, with what came back."""
        self._parents.take(run_id)
        call = self._searches.take(run_id)
        if call is not None:
            _give_documents(call, documents)
            call.close()

    @fail_open
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End it by *error*."""
        self._parents.take(run_id)
        call = self._searches.take(run_id)
        if call is not None:
            call.close(error)

    def _step_of(self, run_id: UUID | None) -> Call | None:
        """Return the call within which *run_id* works, if it is one or within one."""
        for _ in range(MAX_RUNS):
            if run_id is None:
                break
            run = self._tools.get(run_id)
            found = self._searches.get(run_id) if run is None else run.call
            if found is not None:
                return found
            run_id = self._parents.get(run_id)
        return None


def _slot(name: str, metadata: Mapping[str, Any]) -> str:
    """Return where the application asks from: its function, else the node of its graph."""
    node = metadata.get("langgraph_node")
    return call_site(name if node is None else str(node), within=_GRAPH)


def _index_of(found: Any) -> object:
    """Return the index that a retriever searches, where no library beneath will tell it."""
    store = getattr(found, "vectorstore", None)
    is_of_langchain = type(store).__module__.startswith("langchain_core.")
    return getattr(store, "store", None) if is_of_langchain else None  # in memory, by id


@fail_open
def _give_documents(call: RetrievalCall, documents: Sequence[Document]) -> None:
    """Tell what came back, unless a library beneath did and LangChain has no id of its own."""
    if not call.has_documents or any(map(_given_id, documents)):
        call.documents([(_id_of(one), _score_of(one.metadata)) for one in documents])


def _given_id(document: Document) -> str | None:
    given = document.id or document.metadata.get("id")
    return None if given is None else str(given)


def _id_of(document: Document) -> str:
    """Return a document's id; where its store gives none, a keyed digest of its text."""
    return _given_id(document) or current_tracing().keyed_digest(document.page_content)


def _score_of(metadata: Mapping[str, Any]) -> float | None:
    scores = (metadata.get(name) for name in _SCORES)
    return next((float(one) for one in scores if isinstance(one, int | float)), None)
