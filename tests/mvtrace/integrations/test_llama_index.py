"""The real LlamaIndex against a real server: what it returns is unchanged, and recorded."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace
from mvtrace.records import Call, RequestRecord

core = pytest.importorskip("llama_index.core")
llms = pytest.importorskip("llama_index.llms.openai_like")
embeddings = pytest.importorskip("llama_index.embeddings.openai_like")

from llama_index.core.base.llms.types import (  # noqa: E402
    ChatMessage,
    CompletionResponse,
    LLMMetadata,
)
from llama_index.core.llms import CustomLLM  # noqa: E402
from llama_index.core.llms.callbacks import llm_completion_callback  # noqa: E402
from llama_index.core.tools import FunctionTool  # noqa: E402

from mvtrace.integrations import llama_index as integration  # noqa: E402
from mvtrace.integrations import llama_index_runs as runs  # noqa: E402

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.usefixtures("instrumented"),
    pytest.mark.filterwarnings("ignore"),  # the library's own
]
VERSION = version("llama-index-core")
MESSAGES = [ChatMessage(role="user", content="a secret question")]


class Own(CustomLLM):
    """A model within the process: no client beneath."""

    temperature: float = 0.5
    fails: bool = False

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="own-1")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        if self.fails:
            raise ValueError("a secret")
        told = {"prompt_tokens": 4, "completion_tokens": 2}
        return CompletionResponse(text="Hello", additional_kwargs=told)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        def pieces() -> Any:
            yield CompletionResponse(text="Hel", delta="Hel")
            yield CompletionResponse(text="Hello", delta="lo")

        return pieces()


def model_of(server: Server, **settings: Any) -> Any:
    return llms.OpenAILike(
        model="m", api_base=f"{server.url}/v1", api_key="k", is_chat_model=True,
        temperature=0.5, max_retries=0, additional_kwargs={"seed": 7}, **settings,
    )  # fmt: skip


def recorded(captured: Captured, act: Callable[[], object]) -> tuple[RequestRecord, Call]:
    """The record of a request in which *act* is done, and its one call."""
    with mvtrace.request(route="/ask"):
        act()
    [call] = captured.record.calls
    return captured.record, call


def chat(model: Any) -> str:
    return str(model.chat(MESSAGES).message.content)


def chat_stream(model: Any) -> str:
    return "".join(piece.delta or "" for piece in model.stream_chat(MESSAGES))


async def leave(model: Any) -> None:
    """Close the connections of the client beneath, if there is one."""
    client = getattr(model, "_aclient", None)
    if client is not None:
        await client.close()


def chat_async(model: Any) -> str:
    async def ask() -> str:
        reply = await model.achat(MESSAGES)
        await leave(model)
        return str(reply.message.content)

    return asyncio.run(ask())


def chat_stream_async(model: Any) -> str:
    async def ask() -> str:
        pieces = [piece.delta or "" async for piece in await model.astream_chat(MESSAGES)]
        await leave(model)
        return "".join(pieces)

    return asyncio.run(ask())


def complete(model: Any) -> str:
    return str(model.complete("a secret question").text)


WAYS = [chat, chat_stream, chat_async, chat_stream_async, complete]


@pytest.mark.parametrize("act", WAYS)
def test_a_client_beneath_knows_better(
    captured: Captured, provider_server: Server, act: Callable[[Any], str]
) -> None:
    """
    A model that asks through the ``openai`` client is one call, with what the provider said.
    """
    texts: list[str] = []
    model = model_of(provider_server)
    record, call = recorded(captured, lambda: texts.append(act(model)))

    assert texts == ["Hello"]
    assert len(provider_server.asked) == 1
    assert (call.kind, call.provider) == ("generation", "openai-compatible")
    assert call.name.startswith("test_llama_index.") or ".test_llama_index." in call.name
    assert (call.model_requested, call.model_served) == ("m", "m-2024")
    assert ((call.sampling or {})["temperature"], call.seed) == (0.5, 7)
    assert (call.finish_reason, call.fingerprint) == ("stop", "fp")
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 3)
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert (call.time_to_first_chunk_ns is not None) == ("stream" in act.__name__)
    assert b"secret" not in record.to_bytes()
    tell("llama-index-core", VERSION, ["models, streams", "sync and async"])


@pytest.mark.parametrize("act", WAYS)
def test_model_without_a_client(captured: Captured, act: Callable[[Any], str]) -> None:
    """
    A model within the process is one call too, with what LlamaIndex says of it.
    """
    texts: list[str] = []
    record, call = recorded(captured, lambda: texts.append(act(Own())))

    assert texts == ["Hello"]
    assert (call.kind, call.model_requested) == ("generation", "own-1")
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert (call.sampling or {})["temperature"] == 0.5
    assert (call.time_to_first_chunk_ns is not None) == ("stream" in act.__name__)
    assert b"secret" not in record.to_bytes()
    if act is complete:
        assert call.usage is not None
        assert (call.usage.input_tokens, call.usage.output_tokens) == (4, 2)


def test_errors_pass(captured: Captured, provider_server: Server) -> None:
    """
    An error comes as it is, and is on the call, whoever raised it.
    """
    provider_server.failures["m"] = 429
    with mvtrace.request(route="/ask"):
        with pytest.raises(Exception, match="it fails"):
            chat(model_of(provider_server))
        with pytest.raises(ValueError, match="a secret"):
            complete(Own(fails=True))

    assert [(call.outcome, call.error_type) for call in captured.record.calls] == [
        ("error", "openai.RateLimitError"), ("error", "ValueError"),
    ]  # fmt: skip
    assert b"secret" not in captured.record.to_bytes()
    tell("llama-index-core", VERSION, ["errors"])


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_stream_that_is_left(captured: Captured, is_begun: bool) -> None:
    """
    A stream that is left after a piece is a call all the same, and one that never began.
    """
    with mvtrace.request(route="/ask"):
        stream = Own().stream_complete("Hi")
        if is_begun:
            next(stream)
        del stream
        gc.collect()

    assert [call.outcome for call in captured.record.calls] == ["ok"]


def test_template_behind_a_prompt(captured: Captured, provider_server: Server) -> None:
    """
    The template is seen: it is a part of the version, and the call names it; another text of it
    makes another version.
    """
    model = model_of(provider_server)
    for text in ("Tell in one sentence: {subject}", "Tell in two sentences: {subject}"):
        for subject in ("a secret", "another"):
            with mvtrace.request(route="/ask"):
                model.predict(core.PromptTemplate(text), subject=subject)

    versions = [record.composite_version for record in captured.records]
    assert versions[0] == versions[1] != versions[2] == versions[3]
    [call] = captured.records[0].calls
    assert call.prompt is not None
    expected = mvtrace.prompt("x", "Tell in one sentence: {subject}").digest
    assert call.prompt.template_digest == expected
    assert [drift.kind for drift in captured.records[2].drift] == ["prompt"]
    assert b"secret" not in captured.records[0].to_bytes()
    tell("llama-index-core", VERSION, ["templates"])


def test_templates_of_two_routes(captured: Captured, provider_server: Server) -> None:
    """
    Templates that nobody has named, of two routes that ask in threads, are parts of their own.
    """
    model = model_of(provider_server)

    async def serve(route: str, text: str) -> None:
        with mvtrace.request(route=route):
            await asyncio.to_thread(model.predict, core.PromptTemplate(text), subject="x")

    for route in ("/a", "/b", "/a", "/b"):
        asyncio.run(serve(route, f"For {route}: {{subject}}"))

    records = captured.records
    assert [record.drift for record in records] == [(), (), (), ()]
    assert records[2].composite_version == records[3].composite_version
    assert all(call.prompt for record in records for call in record.calls)


def test_text_in_the_place_of_a_template(captured: Captured, provider_server: Server) -> None:
    """
    Of a template without variables, which may be a text made for one request, the digest is told
    and no word leaves the process; of another the text does.
    """
    for text in ("a secret text", "a template: {subject}"):
        with mvtrace.request(route="/ask"):
            model_of(provider_server).predict(core.PromptTemplate(text), subject="x")

    first, second = captured.records
    assert all(
        call.prompt and call.prompt.template_digest for call in (*first.calls, *second.calls)
    )
    sent = [log.body.string_value for log in captured.sink.logs]
    assert not [body for body in sent if "secret" in body]
    assert [body for body in sent if body == "a template: {subject}"]


@pytest.mark.parametrize("kind", ["chat", "rich"])
def test_templates_of_messages(captured: Captured, provider_server: Server, kind: str) -> None:
    """
    A template of messages too, in either form.
    """
    if kind == "chat":
        template = core.ChatPromptTemplate.from_messages(
            [("system", "Be brief about everything you are asked."), ("user", "Tell of {subject}")]
        )
    else:
        template = core.prompts.RichPromptTemplate("Tell of {{ subject }} at length")
    with mvtrace.request(route="/ask"):
        model_of(provider_server).predict(template, subject="a secret")

    [call] = captured.record.calls
    assert call.prompt is not None
    assert call.prompt.template_digest is not None


def index_of(server: Server, *texts: str) -> Any:
    model = embeddings.OpenAILikeEmbedding(
        model_name="e", api_base=f"{server.url}/v1", api_key="k", max_retries=0
    )
    nodes = [
        core.schema.TextNode(id_=f"n{at}", text=text, embedding=[float(at), 1.0])
        for at, text in enumerate(texts)
    ]
    return core.VectorStoreIndex(nodes, embed_model=model)


@pytest.mark.parametrize("is_async", [False, True])
def test_retrieval(captured: Captured, provider_server: Server, is_async: bool) -> None:
    """
    A search is on the record with the index as it was searched, what came back, and the embedding
    of the question; an index that changed is another.
    """
    index = index_of(provider_server, "a secret text", "another")
    found = []

    async def search() -> None:
        for text in (None, None, "a third"):
            if text is not None:
                node = core.schema.TextNode(id_="n9", text=text, embedding=[0.0, 1.0])
                index.insert_nodes([node])
            retriever = index.as_retriever(similarity_top_k=2)
            with mvtrace.request(route="/ask"):
                if is_async:
                    nodes = await retriever.aretrieve("a question")
                else:
                    nodes = retriever.retrieve("a question")
            found.append([node.node_id for node in nodes])
        await leave(index._embed_model)

    asyncio.run(search())
    first, second, third = captured.records
    [snapshot] = first.index_snapshots
    assert [one.id for one in snapshot.documents] == found[0]
    assert (snapshot.size, snapshot.top_k) == (2, 2)
    assert all(one.score is not None for one in snapshot.documents)
    assert snapshot.digest == second.index_snapshots[0].digest != third.index_snapshots[0].digest
    assert first.composite_version == second.composite_version != third.composite_version
    assert sorted(call.kind for call in first.calls) == ["embedding", "retrieval"]
    assert all("test_retrieval" in call.name for call in first.calls)
    [embedding] = [call for call in first.calls if call.kind == "embedding"]
    assert (embedding.model_requested, embedding.model_served) == ("e", "e-1")
    assert (embedding.vectors, embedding.dimension) == (1, 2)
    assert b"secret" not in first.to_bytes()
    tell("llama-index-core", VERSION, ["embeddings", "retrievers, with the index as searched"])


def test_own_embedding(captured: Captured) -> None:
    """
    An embedding model within the process: one call a method, with count and dimension.
    """
    model = core.MockEmbedding(embed_dim=3)
    with mvtrace.request(route="/ask"):
        model.get_text_embedding_batch(["a secret", "b"])
        model.get_query_embedding("q")

    assert [(call.vectors, call.dimension) for call in captured.record.calls] == [(2, 3), (1, 3)]
    assert b"secret" not in captured.record.to_bytes()


def test_query_engine(captured: Captured, provider_server: Server) -> None:
    """
    A whole query: search, template and model, in one version that stays.
    """
    index = index_of(provider_server, "a secret text", "another")
    engine = index.as_query_engine(llm=model_of(provider_server))
    for _ in range(2):
        with mvtrace.request(route="/ask"):
            assert str(engine.query("a question")) == "Hello"

    first, second = captured.records
    assert first.composite_version == second.composite_version
    assert sorted(call.kind for call in first.calls) == ["embedding", "generation", "retrieval"]
    [generation] = [call for call in first.calls if call.kind == "generation"]
    assert generation.prompt is not None
    assert (generation.prompt.name or "").endswith("test_query_engine context_str,query_str")
    assert second.drift == ()


@pytest.mark.parametrize("is_async", [False, True])
def test_tools(captured: Captured, is_async: bool) -> None:
    """
    A tool that is run is a call, with digests of what it was given and gave; its error passes.
    """

    def look(where: str) -> str:
        """Look."""
        if where == "nowhere":
            raise ValueError("a secret")
        return f"seen {where}"

    tool = FunctionTool.from_defaults(look)

    def run(where: str) -> str:
        output = asyncio.run(tool.acall(where=where)) if is_async else tool.call(where=where)
        return str(output.content)

    with mvtrace.request(route="/ask"):
        assert run("here") == "seen here"
        with pytest.raises(ValueError, match="a secret"):
            run("nowhere")

    calls = captured.record.calls
    assert [(call.kind, call.name, call.outcome) for call in calls] == [
        ("tool", "look", "ok"), ("tool", "look", "error"),
    ]  # fmt: skip
    assert calls[0].output_digest == captured.tracing.keyed_digest("seen here")
    assert b"secret" not in captured.record.to_bytes()
    tell("llama-index-core", VERSION, ["tools"])


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (runs, "_content"),
        (runs, "_answered"),
        (runs, "_provider"),
        (runs, "_slot"),
        (runs, "Inference"),
        (runs, "retrieval"),
        (runs.SearchRun, "end"),
        (runs.ModelRun, "chunk"),
        (integration, "_template"),
        (integration, "tool"),
    ],
)
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured,
    provider_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
) -> None:
    """
    Whichever step of ours fails, LlamaIndex answers as ever.
    """
    index = index_of(provider_server, "a text", "another")
    engine = index.as_query_engine(llm=model_of(provider_server))
    monkeypatch.setattr(owner, name, boom)
    with mvtrace.request(route="/ask"):
        assert str(engine.query("a question")) == "Hello"
        assert chat_stream(model_of(provider_server)) == "Hello"
        assert complete(Own()) == "Hello"
        assert chat_stream(Own()) == "Hello"
        assert FunctionTool.from_defaults(len).call("abc").raw_output == 3

    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured) -> None:
    """
    Turned off, nothing is recorded, and LlamaIndex is told of nothing.
    """
    mvtrace.uninstrument()
    with mvtrace.request(route="/ask"):
        assert complete(Own()) == "Hello"

    assert captured.record.calls == ()
    root = core.instrumentation.get_dispatcher()
    assert not [one for one in root.span_handlers if "mvtrace" in type(one).__module__]
