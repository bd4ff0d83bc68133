"""The real LangGraph against a real server: its edges are decisions, its nodes name their calls."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.metadata import version
from typing import Any, Literal, TypedDict

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace
from mvtrace.integrations import langgraph as integration

pytest.importorskip("langgraph.graph")
langchain_openai = pytest.importorskip("langchain_openai")

from langchain_core.prompts import ChatPromptTemplate  # noqa: E402
from langchain_core.runnables import RunnableLambda  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langgraph.graph import END, START, MessagesState, StateGraph  # noqa: E402
from langgraph.prebuilt import ToolNode, tools_condition  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented")
TEMPLATE = ChatPromptTemplate([("system", "Be brief."), ("human", "{question}")])


class State(TypedDict, total=False):
    question: str
    answer: str


def loud_or_quiet(state: State) -> Literal["loud", "quiet"]:
    return "loud" if "!" in state["question"] else "quiet"


def quiet_or_loud(state: State) -> Literal["loud", "quiet"]:
    return "quiet" if "!" not in state["question"] else "loud"


def loud(state: State) -> State:
    return {"answer": state["answer"].upper()}


def quiet(state: State) -> State:
    return {"answer": state["answer"].lower()}


def graph_of(server: Server, edge: Any = loud_or_quiet) -> Any:
    """Ask a model in the node ``think``, then be loud or quiet."""
    chain = TEMPLATE | langchain_openai.ChatOpenAI(
        model="m", base_url=f"{server.url}/v1", api_key="k", max_retries=0,
        default_headers={"Connection": "close"},
    )  # fmt: skip

    def ask(state: State) -> State:
        return {"answer": chain.invoke({"question": state["question"]}).content}

    graph = StateGraph(State)
    for name, node in {"think": ask, "loud": loud, "quiet": quiet}.items():
        graph.add_node(name, node)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", edge)
    for name in ("loud", "quiet"):
        graph.add_edge(name, END)
    return graph.compile()


def ask(graph: Any, question: str, *, is_async: bool = False) -> str:
    asked = {"question": question}
    return str((asyncio.run(graph.ainvoke(asked)) if is_async else graph.invoke(asked))["answer"])


@pytest.mark.parametrize("is_async", [False, True])
def test_an_edge_is_a_decision(captured: Captured, provider_server: Server, is_async: bool) -> None:
    """
    A conditional edge is on the record: where it could lead, where it led, and by which function;
    the model of the node is a call under the function that asked.
    """
    with mvtrace.request(route="/ask"):
        assert ask(graph_of(provider_server), "now!", is_async=is_async) == "HELLO"

    record = captured.record
    [decision] = record.router_decisions
    assert (decision.name, decision.chosen) == ("think.loud_or_quiet", "loud")
    assert {one.name: one.chosen for one in decision.candidates} == {"loud": True, "quiet": False}
    assert (decision.policy or {})["ends"] == {"loud": "loud", "quiet": "quiet"}
    [generation] = [call for call in record.calls if call.kind == "generation"]
    assert generation.name.endswith("graph_of.ask")
    assert generation.prompt is not None
    assert generation.prompt.template_digest is not None
    assert decision.policy_digest is not None
    tell("langgraph", version("langgraph"), ["conditional edges as router decisions"])


def test_another_function_is_another_policy(captured: Captured, provider_server: Server) -> None:
    """
    What is asked changes no version; the edge decided by another function does, and drift says so.
    """
    graph = graph_of(provider_server)
    edited = graph_of(provider_server, edge=quiet_or_loud)
    for one, question in [(graph, "now!"), (graph, "now"), (edited, "now!")]:
        with mvtrace.request(route="/ask"):
            ask(one, question)

    first, second, third = captured.records
    assert first.composite_version == second.composite_version != third.composite_version


def test_a_node_that_is_a_chain(captured: Captured, provider_server: Server) -> None:
    """
    A node without a function of the application's names its model itself.
    """
    model = langchain_openai.ChatOpenAI(
        model="m", base_url=f"{provider_server.url}/v1", api_key="k", max_retries=0,
        default_headers={"Connection": "close"},
    )  # fmt: skip
    graph = StateGraph(State)
    graph.add_node("think", TEMPLATE | model | (lambda message: {"answer": message.content}))
    graph.add_edge(START, "think")
    for is_async in (False, True):
        with mvtrace.request(route="/ask"):
            assert ask(graph.compile(), "now", is_async=is_async) == "Hello"

    assert [record.calls[0].name for record in captured.records] == ["think", "think"]


@tool
def look(place: str) -> str:
    """Look at a place."""
    return f"{place} is there"


@pytest.mark.parametrize("is_async", [False, True])
def test_an_agent(captured: Captured, provider_server: Server, is_async: bool) -> None:
    """
    An agent of LangGraph's own asks its model, runs the tool that it wants and asks again: two
    generations and a tool under the names of their nodes, with the definitions the model was given.
    """
    wanted = {"name": "look", "arguments": '{"place": "here"}'}
    message = {"role": "assistant", "content": None}
    provider_server.scripted = [
        {**message, "tool_calls": [{"id": "t-1", "type": "function", "function": wanted}]}
    ]
    agent = agent_of(provider_server)
    asked = {"messages": [("user", "where?")]}
    with mvtrace.request(route="/ask"):
        done = asyncio.run(agent.ainvoke(asked)) if is_async else agent.invoke(asked)

    assert [one.content for one in done["messages"][2:]] == ["here is there", "Hello"]
    assert len(provider_server.asked) == 2
    record = captured.record
    calls = [call for call in record.calls if call.kind != "routing"]
    assert [(call.kind, call.name) for call in calls] == [
        ("generation", "think"), ("tool", "look"), ("generation", "think"),
    ]  # fmt: skip
    assert [call.finish_reason for call in calls] == ["tool_calls", None, "stop"]
    assert {one.name for one in record.observed if one.kind == "tools"} == {"/ask think"}
    [decision, last] = record.router_decisions
    assert (decision.name, decision.chosen, last.chosen) == ("think.tools_condition", "tools", END)
    assert calls[1].output_digest == captured.tracing.keyed_digest("here is there")
    tell("langgraph", version("langgraph"), ["agents: each model, tool and step"])


def agent_of(server: Server) -> Any:
    """A model with a tool, in a loop until it wants none."""
    model = langchain_openai.ChatOpenAI(
        model="m", base_url=f"{server.url}/v1", api_key="k", max_retries=0,
        default_headers={"Connection": "close"},
    ).bind_tools([look])  # fmt: skip
    keep = RunnableLambda(lambda message: {"messages": [message]})
    graph = StateGraph(MessagesState)
    graph.add_node("think", RunnableLambda(lambda state: state["messages"]) | model | keep)
    graph.add_node("tools", ToolNode([look]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile()


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize("name", ["routing", "_digest_of", "Edge"])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, provider_server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    Whichever step of ours fails, the graph goes its way.
    """
    monkeypatch.setattr(integration, name, boom)
    with mvtrace.request(route="/ask"):
        assert ask(graph_of(provider_server), "now!") == "HELLO"

    assert captured.record.outcome == "ok"


def test_nothing_is_imported_for_it() -> None:
    """
    Until the application imports the library, it is not imported; then it is observed.
    """
    program = """
import sys, mvtrace
assert {"langchain_core", "langgraph"} <= set(mvtrace.instrument())
assert "langchain_core" not in sys.modules and "langgraph.graph" not in sys.modules
import langgraph.graph
from langgraph.graph._branch import BranchSpec
assert "mvtrace" in BranchSpec._finish.__code__.co_filename
from langchain_core.tracers.context import _configure_hooks
assert "Runs" in repr([var.get() for var, *_ in _configure_hooks])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
