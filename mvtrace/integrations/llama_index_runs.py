"""LlamaIndex's runs of models, embeddings and retrievers, as calls.

In: the spans and events of its instrumentation, on the caller's own thread or task. Out: the calls.
A stream's run ends when its last piece was told, not when the stream was handed out.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
)
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.event_handlers.base import BaseEventHandler
from llama_index_instrumentation.span_handlers.base import BaseSpanHandler

from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import (
    CHAT,
    COMPLETION,
    EMBEDDINGS,
    Answered,
    AnswerReader,
    Asked,
)
from mvtrace.capture.retrieval_calls import RetrievalCall, retrieval
from mvtrace.integrations.call_site import call_site
from mvtrace.integrations.inference import AWAITING, Inference, is_told
from mvtrace.integrations.open_runs import OpenRuns

_MODEL_METHODS: Final = {
    **dict.fromkeys(("chat", "achat", "stream_chat", "astream_chat"), CHAT),
    **dict.fromkeys(("complete", "acomplete", "stream_complete", "astream_complete"), COMPLETION),
}
_SAMPLING: Final = ("temperature", "top_p", "top_k", "max_tokens", "reasoning_effort", "stop")
_PIECES: Final = (LLMChatInProgressEvent, LLMCompletionInProgressEvent)
_ENDS: Final = (LLMChatEndEvent, LLMCompletionEndEvent)
_EMBEDDING_METHODS: Final = frozenset(
    prefix + name
    for prefix in ("", "a")
    for name in ("get_query_embedding", "get_text_embedding", "get_text_embedding_batch")
)
_DATA: Final = "data"


class Listening:
    """Our two handlers at the root of LlamaIndex's dispatchers."""

    def __init__(self) -> None:
        self._root = get_dispatcher()
        self._spans, self._events = Spans(), Events()
        self._root.add_span_handler(self._spans)
        self._root.add_event_handler(self._events)

    def remove(self) -> None:
        """Take them out."""
        root = self._root
        root.span_handlers = [one for one in root.span_handlers if one is not self._spans]
        root.event_handlers = [one for one in root.event_handlers if one is not self._events]


class ModelRun:
    """One run of a model."""

    def __init__(self, model: Any, operation: str, given: inspect.BoundArguments) -> None:
        arguments = dict(given.arguments)
        more = arguments.pop("kwargs", {})
        asked = Asked(
            operation=operation,
            model=_model_name(model),
            parameters=_parameters(model, more),
            seed=_whole(more.get("seed", getattr(model, "seed", None))),
            tools=more.get("tools") or (),
            content=_content(arguments),
        )
        self._begin(model, asked)

    def _begin(self, model: Any, asked: Asked) -> None:
        self.model = model
        self.inference = Inference(asked, _provider(model))
        AWAITING.put(self.inference)

    def end(self, response: Any) -> None:
        """End the run with what was answered, where no client beneath has told it."""
        self.inference.end(None if self.inference.is_taken else _answered(response))

    @fail_open
    def chunk(self) -> None:
        """Note a piece of a stream, where no client beneath counts them."""
        if not self.inference.is_taken:
            self.inference.chunk()

    def failed(self, error: BaseException) -> None:
        """End the run by *error*; a stream that is left is no error."""
        if isinstance(error, GeneratorExit):
            self.inference.end()
        else:
            self.inference.failed(error)


class EmbeddingRun(ModelRun):
    """One run of an embedding model."""

    def __init__(self, model: Any, given: inspect.BoundArguments) -> None:
        texts = next((given.arguments[key] for key in _TEXTS if key in given.arguments), None)
        dimensions = getattr(model, "dimensions", None)
        parameters = {} if dimensions is None else {"dimensions": dimensions}
        content = [texts] if isinstance(texts, str) else texts
        asked = Asked(EMBEDDINGS, _model_name(model), parameters, content=content)
        self._begin(model, asked)

    def end(self, response: Any) -> None:
        """End the run with the shape of what was made."""
        if self.inference.is_taken or not response:
            self.inference.end()
            return
        is_one = not isinstance(response[0], Sequence)
        vectors, dimension = (1, len(response)) if is_one else (len(response), len(response[0]))
        self.inference.end(Answered(vectors=vectors, dimension=dimension))


_TEXTS: Final = ("query", "text", "texts")


class SearchRun:
    """One search of a retriever."""

    def __init__(self, retriever: Any, given: inspect.BoundArguments) -> None:
        query = next(iter(given.arguments.values()))
        self._call: RetrievalCall = retrieval(
            _slot(retriever),
            index=_live(retriever),
            query=getattr(query, "query_str", query),
            top_k=getattr(retriever, "similarity_top_k", None),
        )
        self._call.open()
        self._call.attach()

    @fail_open
    def end(self, nodes: Any) -> None:
        """End the search with the ids and scores of what was found."""
        self._call.detach()
        self._call.documents((one.node.node_id, one.score) for one in nodes or ())
        self._call.close()

    @fail_open
    def failed(self, error: BaseException) -> None:
        """End the search by *error*."""
        self._call.detach()
        self._call.close(error)


Run = ModelRun | SearchRun
_runs: Final[OpenRuns[Run]] = OpenRuns()


class Spans(BaseSpanHandler[Any]):  # type: ignore[misc]
    """Begins runs, and ends those that return what they have made."""

    def new_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_span_id: str | None = None,
        tags: dict[str, Any] | None = None,  # noqa: ARG002 (the interface's)
        **_: Any,
    ) -> None:
        """Begin the run that the span *id_* is, if it is one."""
        _begin(id_, instance, bound_args, _runs.get(parent_span_id))

    def prepare_to_exit_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,  # noqa: ARG002
        instance: Any | None = None,  # noqa: ARG002
        result: Any | None = None,
        **_: Any,
    ) -> None:
        """End the run, unless a stream of it goes on."""
        if not (hasattr(result, "__next__") or hasattr(result, "__anext__")):
            _end(id_, lambda run: run.end(result))
        elif _runs.get(id_) is not None:
            weakref.finalize(result, _left, id_).atexit = False

    def prepare_to_drop_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,  # noqa: ARG002
        instance: Any | None = None,  # noqa: ARG002
        err: BaseException | None = None,
        **_: Any,
    ) -> None:
        """End the run by *err*."""
        _end(id_, lambda run: run.failed(err or RuntimeError("dropped")))


class Events(BaseEventHandler):  # type: ignore[misc]
    """Follows streams."""

    def handle(self, event: BaseEvent, **_: Any) -> None:
        """Note a piece, or end the run of a stream."""
        if isinstance(event, _PIECES):
            run = _runs.get(event.span_id)
            if isinstance(run, ModelRun):
                run.chunk()
        elif isinstance(event, _ENDS):
            response = event.response
            _end(event.span_id, lambda run: run.end(response))
        elif isinstance(event, ExceptionEvent):
            error = event.exception
            _end(event.span_id, lambda run: run.failed(error))


@fail_open
def _begin(id_: str, instance: Any, given: inspect.BoundArguments, outer: Run | None) -> None:
    method = id_.partition("-")[0].rpartition(".")[2]
    run: Run | None = None
    if isinstance(instance, BaseLLM):
        if method in _MODEL_METHODS and not is_told.get():
            # A model whose class has its method from another, or by another of its own methods.
            is_same = isinstance(outer, ModelRun) and outer.model is instance
            run = outer if is_same else ModelRun(instance, _MODEL_METHODS[method], given)
    elif isinstance(instance, BaseEmbedding):
        is_within = isinstance(outer, EmbeddingRun)
        if method in _EMBEDDING_METHODS and not is_within and not is_told.get():
            run = EmbeddingRun(instance, given)
    elif isinstance(instance, BaseRetriever) and method in {"retrieve", "aretrieve"}:
        run = SearchRun(instance, given)
    if run is not None:
        _runs.put(id_, run)


@fail_open
def _end(id_: object, end: Callable[[Run], object]) -> None:
    run = _runs.take(id_)
    if run is not None:
        end(run)


def _left(id_: str) -> None:
    """End the run of a stream that nobody has read to its end."""
    _end(id_, lambda run: run.failed(GeneratorExit()))


# What LlamaIndex's objects say


def _model_name(model: Any) -> str | None:
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    told = name or getattr(getattr(model, "metadata", None), "model_name", None)
    return None if told in {None, "unknown"} else str(told)


def _provider(model: Any) -> str:
    return str(model.class_name()).lower().removesuffix("_llm").removesuffix("embedding")


def _parameters(model: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: more.get(key, getattr(model, key, None)) for key in _SAMPLING}
    return {key: value for key, value in found.items() if isinstance(value, int | float | str)}


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


def _content(arguments: Mapping[str, Any]) -> object:
    messages = arguments.get("messages")
    if messages is None:
        return arguments.get("prompt")
    return [{"role": one.role.value, "content": one.content} for one in messages]


def _answered(response: Any) -> Answered:
    """Return what is known of a *response*: the provider's own answer, where it is kept."""
    raw: Any = getattr(response, "raw", None)
    if hasattr(raw, "model_dump"):
        raw = raw.model_dump(warnings=False)
    reader = AnswerReader(CHAT, is_stream=False)
    if isinstance(raw, Mapping):
        reader.take(raw)
    found = reader.answered
    told = getattr(response, "additional_kwargs", None) or {}
    found.usage = found.usage or {key: one for key, one in told.items() if type(one) is int}
    message = getattr(response, "message", None)
    text = response.text if message is None else message.content
    if isinstance(text, str) and text:
        found.texts, found.length = [text], len(text)
    return found


def _slot(retriever: Any) -> str:
    """Return the place of a search: where it is called from, and the index's id if it has one."""
    index_id = getattr(getattr(retriever, "index", None), "index_id", None)
    site = call_site("retrieve")
    return site if index_id is None or _is_random(index_id) else f"{site} {index_id}"


def _is_random(index_id: str) -> bool:
    try:
        UUID(index_id)
    except ValueError:
        return False
    return True


@fail_open
def _live(retriever: Any) -> object:
    """Return the index that a retriever searches; of other stores their own library tells."""
    store = getattr(retriever, "_vector_store", None)
    client = getattr(store, "client", None)
    if client is None:
        return getattr(getattr(store, _DATA, None), "embedding_dict", None)
    return client if type(client).__module__.startswith("faiss") else None
