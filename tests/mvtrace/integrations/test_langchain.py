"""The real LangChain against a real server: what it returns is unchanged, and recorded once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace
from mvtrace.integrations import langchain_models, langchain_prompts, langchain_runs
from mvtrace.records import Call, RequestRecord

pytest.importorskip("langchain_core")
langchain_openai = pytest.importorskip("langchain_openai")

from langchain_core.documents import Document  # noqa: E402
from langchain_core.language_models import FakeListChatModel  # noqa: E402
from langchain_core.messages import HumanMessage  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate  # noqa: E402
from langchain_core.retrievers import BaseRetriever  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langchain_core.vectorstores import InMemoryVectorStore  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented")
TEMPLATE = ChatPromptTemplate([("system", "You know {field}."), ("human", "{question}")])
ASKED = {"field": "bridges", "question": "a secret question"}


@tool
def look(place: str) -> str:
    """Look at a place."""
    return f"{place} is there"


@tool
def fail(place: str) -> str:
    """Fail."""
    raise OSError(place)


def model_of(server: Server, **more: Any) -> Any:
    settings = {"model": "m", "temperature": 0.5, "seed": 7, "max_retries": 0, **more}
    # LangChain keeps its HTTP clients for good, beyond the event loop of a test.
    settings["default_headers"] = {"Connection": "close"}
    return langchain_openai.ChatOpenAI(base_url=f"{server.url}/v1", api_key="k", **settings)


def invoke(chain: Any) -> str:
    return str(chain.invoke(ASKED).content)


def stream(chain: Any) -> str:
    return "".join(piece.content for piece in chain.stream(ASKED))


def invoke_async(chain: Any) -> str:
    async def ask() -> str:
        return str((await chain.ainvoke(ASKED)).content)

    return asyncio.run(ask())


def stream_async(chain: Any) -> str:
    async def ask() -> str:
        return "".join([piece.content async for piece in chain.astream(ASKED)])

    return asyncio.run(ask())


WAYS = [invoke, stream, invoke_async, stream_async]


def recorded(captured: Captured, act: Callable[[], object]) -> tuple[RequestRecord, Call]:
    """The record of a request in which *act* is done, and its one call."""
    with mvtrace.request(route="/ask"):
        act()
    record = captured.records[-1]
    [call] = record.calls
    return record, call


@pytest.mark.parametrize("act", WAYS)
def test_a_chain_over_an_observed_client(
    captured: Captured, provider_server: Server, act: Callable[[Any], str]
) -> None:
    """
    A chain answers as ever, and its model is one call: the template as LangChain knows it, and
    what was sent and came back as the client beneath does.
    """
    texts: list[str] = []
    chain = TEMPLATE | model_of(provider_server)
    record, call = recorded(captured, lambda: texts.append(act(chain)))

    assert texts == ["Hello"]
    assert len(provider_server.asked) == 1
    assert (call.kind, call.provider) == ("generation", "openai-compatible")
    assert (call.model_requested, call.model_served) == ("m", "m-2024")
    assert (call.response_id, call.fingerprint) == ("c-1", "fp")
    assert ((call.sampling or {})["temperature"], call.seed) == (0.5, 7)
    assert (call.finish_reason, call.outcome) == ("stop", "ok")
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert (call.time_to_first_chunk_ns is not None) == act.__name__.startswith("stream")
    assert call.prompt is not None
    assert call.prompt.template_digest is not None
    assert call.prompt.rendered_digest is not None
    assert act.__name__ in call.name
    assert b"secret" not in record.to_bytes()
    tell(
        "langchain-core",
        version("langchain-core"),
        ["model asked and served", "template objects", "sampling and seed", "streams"],
    )


@pytest.mark.parametrize("act", WAYS)
def test_a_model_of_no_observed_client(captured: Captured, act: Callable[[Any], str]) -> None:
    """
    A model that LangChain alone knows is a call too, with what LangChain says of it.
    """
    chain = TEMPLATE | FakeListChatModel(responses=["Hello"])
    _, call = recorded(captured, lambda: act(chain))

    assert (call.kind, call.outcome) == ("generation", "ok")
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert call.prompt is not None
    assert call.prompt.template_digest is not None
    assert (call.time_to_first_chunk_ns is not None) == act.__name__.startswith("stream")


def test_the_version_holds_the_template_not_the_text(
    captured: Captured, provider_server: Server
) -> None:
    """
    Requests that differ in what is asked are one version; another template is another, and drift
    says that the prompt changed.
    """
    model = model_of(provider_server)
    other = ChatPromptTemplate([("system", "You love {field}."), ("human", "{question}")])
    for template, question in [(TEMPLATE, "a"), (TEMPLATE, "b"), (other, "a")]:
        with mvtrace.request(route="/ask"):
            (template | model).invoke({"field": "bridges", "question": question})

    first, second, third = captured.records
    assert first.composite_version == second.composite_version != third.composite_version
    assert [(drift.kind, drift.what) for drift in third.drift] == [("prompt", "changed")]
    assert len({one.calls[0].prompt.rendered_digest for one in captured.records}) == 3  # type: ignore[union-attr]
    kinds = {log.event_name for log in captured.sink.logs}
    assert "mvtrace.content" in kinds


def test_a_plain_template_is_the_declared_one(captured: Captured, provider_server: Server) -> None:
    """
    A template of one text has the digest that ``mvtrace.prompt`` gives it.
    """
    chain = PromptTemplate.from_template("Say {what}") | model_of(provider_server)
    _, call = recorded(captured, lambda: chain.invoke({"what": "hello"}))

    assert call.prompt is not None
    assert call.prompt.template_digest == mvtrace.prompt("p", "Say {what}").digest


def test_messages_without_a_template(captured: Captured, provider_server: Server) -> None:
    """
    Where no template was rendered none is told, and no text makes a version.
    """
    model = model_of(provider_server)
    for text in ("one", "two"):
        with mvtrace.request(route="/ask"):
            model.invoke([HumanMessage(text)])

    first, second = captured.records
    assert first.calls[0].prompt is not None
    assert first.calls[0].prompt.template_digest is None
    assert first.composite_version == second.composite_version is not None


def test_several_at_once(captured: Captured, provider_server: Server) -> None:
    """
    Of a batch each question is one call, whether LangChain asks in threads or one after another.
    """
    chain = TEMPLATE | model_of(provider_server)
    with mvtrace.request(route="/ask"):
        assert [one.content for one in chain.batch([ASKED, ASKED])] == ["Hello", "Hello"]
        chain.last.generate([[HumanMessage("one")], [HumanMessage("two")]])

    assert len(provider_server.asked) == 4
    calls = captured.record.calls
    assert [call.response_id for call in calls] == ["c-1"] * 4
    assert len({call.prompt.rendered_digest for call in calls if call.prompt}) == 3


def test_a_tool(captured: Captured) -> None:
    """
    A tool is a call with digests of what it was given and gave; its error is on the call, and the
    application's.
    """
    with mvtrace.request(route="/ask"):
        assert look.invoke({"place": "here"}) == "here is there"
        with pytest.raises(OSError, match="there"):
            asyncio.run(fail.ainvoke({"place": "there"}))

    good, bad = captured.record.calls
    assert (good.kind, good.name, good.outcome) == ("tool", "look", "ok")
    assert good.output_digest == captured.tracing.keyed_digest("here is there")
    assert (bad.name, bad.outcome, bad.error_type) == ("fail", "error", "OSError")
    tell("langchain-core", version("langchain-core"), ["tools with their errors"])


def test_a_retriever(captured: Captured, provider_server: Server) -> None:
    """
    A search has the documents' ids and the index as it was queried: the same while nothing
    changes, another after.
    """
    embeddings = langchain_openai.OpenAIEmbeddings(
        model="e", base_url=f"{provider_server.url}/v1", api_key="k",
        check_embedding_ctx_length=False, default_headers={"Connection": "close"},
    )  # fmt: skip
    store = InMemoryVectorStore(embeddings)
    store.add_texts(["one"], ids=["a"])
    for is_async in (False, True):
        with mvtrace.request(route="/ask"):
            found = store.as_retriever(search_kwargs={"k": 3})
            hits = asyncio.run(found.ainvoke("x")) if is_async else found.invoke("x")
            assert [hit.id for hit in hits] == ["a"]
    store.add_texts(["two"], ids=["b"])
    with mvtrace.request(route="/ask"):
        store.as_retriever().invoke("x")

    snapshots = [record.index_snapshots[0] for record in captured.records]
    found_ids = [sorted(one.id for one in each.documents) for each in snapshots]
    assert found_ids == [["a"], ["a"], ["a", "b"]]
    assert [each.size for each in snapshots] == [1, 1, 2]
    assert snapshots[0].fingerprint == snapshots[1].fingerprint != snapshots[2].fingerprint
    assert snapshots[0].top_k == 3
    assert [call.kind for call in captured.records[0].calls] == ["embedding", "retrieval"]
    tell(
        "langchain-core",
        version("langchain-core"),
        ["retrievers: ids, scores, and the in-memory store as queried"],
    )


class Scored(BaseRetriever):
    """Has scores, and documents without ids."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document("a text", metadata={"score": 0.5})]


def test_documents_without_an_id(captured: Captured) -> None:
    """
    A document without an id is told by a keyed digest of its text, with the score it carries.
    """
    record, _ = recorded(captured, lambda: Scored().invoke("x"))

    [document] = record.index_snapshots[0].documents
    assert (document.id, document.score) == (captured.tracing.keyed_digest("a text"), 0.5)


def test_errors_pass(captured: Captured, provider_server: Server) -> None:
    """
    The library's error comes as it is, and is on the call.
    """
    provider_server.failures["m"] = 429
    chain = TEMPLATE | model_of(provider_server)

    def act() -> None:
        with pytest.raises(langchain_openai.chat_models.base.openai.RateLimitError):
            invoke(chain)

    _, call = recorded(captured, act)
    assert call.outcome == "error"


def test_a_stream_that_is_left(captured: Captured, provider_server: Server) -> None:
    """
    A stream that nobody reads to its end is a call all the same.
    """

    def act() -> None:
        pieces = model_of(provider_server).stream("x")
        next(pieces)
        pieces.close()

    _, call = recorded(captured, act)
    assert (call.model_served, call.outcome) == ("m-2024", "ok")


def test_within_a_wrapper_of_the_applications(captured: Captured, provider_server: Server) -> None:
    """
    A generation that the application wraps itself is one call, told by both libraries.
    """

    def act() -> None:
        with mvtrace.generation("answer"):
            invoke(TEMPLATE | model_of(provider_server))

    _, call = recorded(captured, act)
    assert (call.name, call.model_requested, call.model_served) == ("answer", "m", "m-2024")
    assert call.prompt is not None
    assert call.prompt.template_digest is not None


def test_a_model_within_a_tool(captured: Captured, provider_server: Server) -> None:
    """
    What a tool asks is a step within it, in whatever task or thread.
    """
    model = model_of(provider_server)

    @tool
    async def research(what: str) -> str:
        """Ask a model."""
        return str((await model.ainvoke(what)).content)

    with mvtrace.request(route="/ask"):
        asyncio.run(research.ainvoke({"what": "x"}))

    outer, inner = captured.span("execute_tool research"), captured.span("chat m")
    assert inner.parent_id == outer.span_id


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (langchain_prompts, "_template"),
        (langchain_runs.prompts, "rendered"),
        (langchain_models, "template_behind"),
        (langchain_models, "_asked"),
        (langchain_models, "Inference"),
        (langchain_models, "_answered"),
        (langchain_runs, "_slot"),
        (langchain_runs, "retrieval"),
        (langchain_runs, "tool"),
        (langchain_runs.Runs, "_step_of"),
    ],
)
@pytest.mark.parametrize("act", [invoke, stream_async])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured,
    provider_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    act: Callable[[Any], str],
) -> None:
    """
    Whichever step of ours fails, LangChain answers as ever, and asked once.
    """
    langchain_prompts._known.clear()
    monkeypatch.setattr(owner, name, boom)
    with mvtrace.request(route="/ask"):
        assert act(TEMPLATE | model_of(provider_server)) == "Hello"
        assert look.invoke({"place": "here"}) == "here is there"
        assert len(Scored().invoke("x")) == 1

    assert len(provider_server.asked) == 1
    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured, provider_server: Server) -> None:
    """
    Turned off, nothing is recorded; turned on again, once.
    """
    chain = TEMPLATE | model_of(provider_server)
    mvtrace.uninstrument()
    with mvtrace.request(route="/ask"):
        assert invoke(chain) == "Hello"
    mvtrace.instrument()
    with mvtrace.request(route="/ask"):
        assert invoke(chain) == "Hello"

    assert [len(record.calls) for record in captured.records] == [0, 1]
