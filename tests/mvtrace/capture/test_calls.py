"""The wrappers around the steps of an answer: spans, calls on the record, drift."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from captured import Captured
from opentelemetry import context as context_api
from opentelemetry import trace

import mvtrace
from mvtrace.capture.step_calls import GuardrailCall, PostprocessCall
from mvtrace.errors import ComponentError
from mvtrace.records import (
    Call,
    Candidate,
    Drift,
    PromptUse,
    RetrievedDocument,
    RouterDecision,
    Usage,
)

pytestmark = pytest.mark.usefixtures("tracing")


def only(captured: Captured) -> Call:
    [call] = captured.record.calls
    return call


def plain_call(call: Call) -> dict[str, Any]:
    """What is not time, span or digest."""
    found = call.to_dict()
    return {
        key: value
        for key, value in found.items()
        if key not in {"span_id", "started_at", "duration_ns", "time_to_first_chunk_ns"}
        and not key.endswith("_digest")
    }


@contextmanager
def work(composite: Any = None) -> Iterator[None]:
    with mvtrace.request(route="test", composite=composite):
        yield
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert mvtrace.current_call() is None


def test_generation(captured: Captured) -> None:
    """
    A generation has what was asked for and what was answered, and no text of either.
    """
    prompt = mvtrace.prompt("answer", "Say {x}")
    model = mvtrace.model("llm", provider="acme", model_id="m-1")

    with work(), mvtrace.generation(
        "reply", model="m-1", provider="acme", prompt=prompt, component=model,
        sampling={"temperature": 0.8, "max_tokens": 60, "stop": ["\n"], "seed": 7},
    ) as call:  # fmt: skip
        call.rendered("Say nothing secret")
        call.response(
            model="m-1", id="resp-1", fingerprint="fp", finish_reason="stop",
            usage={"prompt_tokens": 3, "completion_tokens": 0, "cached_tokens": 1},
            text="the secret answer",
        )  # fmt: skip

    made, record = only(captured), captured.record
    digest = captured.tracing.keyed_digest
    assert made.prompt == PromptUse(
        name="answer",
        template_digest=prompt.digest,
        rendered_digest=digest("Say nothing secret"),
    )
    assert made.output_digest == digest("the secret answer")
    assert made.usage == Usage(input_tokens=3, output_tokens=0, cache_read_input_tokens=1)
    assert plain_call(made) == {
        "kind": "generation",
        "name": "reply",
        "component": "model/llm",
        "provider": "acme",
        "model_requested": "m-1",
        "model_served": "m-1",
        "prompt": made.prompt.to_dict(),
        "sampling": {"temperature": 0.8, "max_tokens": 60, "stop": ["\n"]},
        "seed": 7,
        "usage": {"input_tokens": 3, "output_tokens": 0, "cache_read_input_tokens": 1},
        "finish_reason": "stop",
        "response_id": "resp-1",
        "fingerprint": "fp",
        "outcome": "ok",
    }
    assert [(alias.kind, alias.value) for alias in record.aliases] == [("response_id", "resp-1")]
    assert not any(b"secret" in delivery.body for delivery in captured.sink.deliveries)


def test_generation_span(captured: Captured) -> None:
    """
    The span speaks OpenTelemetry's words for generative models.
    """
    prompt = mvtrace.prompt("answer", "Say {x}")

    with (
        work(),
        mvtrace.generation(
            "reply",
            model="m-1",
            provider="acme",
            prompt=prompt,
            prompt_version="v3",
            sampling={"temperature": 0.8},
            seed=7,
        ) as call,
    ):
        call.response(model="m-2", id="r", finish_reason="length", input_tokens=3, output_tokens=4)

    span = captured.span("chat m-1")
    assert (span.kind, span.span_id, span.parent_id) == (
        3, only(captured).span_id, captured.record.span_id,
    )  # fmt: skip
    assert span.attributes == {
        "mvtrace.call.kind": "generation",
        "mvtrace.call.name": "reply",
        "mvtrace.request.id": captured.record.request_id,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "m-1",
        "gen_ai.request.temperature": 0.8,
        "gen_ai.request.seed": 7,
        "gen_ai.response.model": "m-2",
        "gen_ai.response.id": "r",
        "gen_ai.response.finish_reasons": ["length"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.prompt.name": "answer",
        "gen_ai.prompt.version": "v3",
        "mvtrace.prompt.template.digest": prompt.digest,
    }


def test_retrieval(captured: Captured) -> None:
    """
    A retrieval has the index as queried, and ids and scores of what came back.
    """
    index = mvtrace.index("topics", {"a": [1.0, 0.0], "b": [0.0, 1.0]})

    with work(), mvtrace.retrieval("search", index=index, query="why", top_k=2) as call:
        call.documents([("a", 0.9), ("b", 0.0), "c"])

    [snapshot] = captured.record.index_snapshots
    assert (snapshot.name, snapshot.size, snapshot.top_k) == ("topics", 2, 2)
    assert snapshot.digest == snapshot.expected == index.digest
    assert snapshot.documents == (
        RetrievedDocument(id="a", score=0.9),
        RetrievedDocument(id="b", score=0.0),
        RetrievedDocument(id="c"),
    )
    assert snapshot.query_digest == captured.tracing.keyed_digest("why")
    assert snapshot.span_id == only(captured).span_id
    attributes = captured.span("retrieval search").attributes
    assert attributes["mvtrace.index.snapshot.digest"] == index.digest
    assert attributes["mvtrace.retrieval.document.ids"] == ["a", "b", "c"]
    assert captured.record.drift == ()


def test_reindex_nobody_declared(captured: Captured) -> None:
    """
    An index that changed since the composite was made is drift, with both digests.
    """
    documents = {"a": [1.0, 0.0]}
    index = mvtrace.index("topics", documents)
    system = mvtrace.composite("s", index)
    documents["b"] = [0.0, 1.0]

    with work(system), mvtrace.retrieval("search", index=index):
        pass

    record = captured.record
    [snapshot] = record.index_snapshots
    assert (snapshot.expected, snapshot.size) == (index.digest, 2)
    assert snapshot.digest not in {None, index.digest}
    assert record.drift == (
        Drift(
            kind="index",
            name="topics",
            what="digest",
            expected=index.digest,
            observed=snapshot.digest,
            span_id=snapshot.span_id,
        ),
    )
    assert [(part.kind, part.name, part.digest) for part in record.observed] == [
        ("index", "topics", snapshot.digest)
    ]
    assert captured.span("retrieval search").attributes["mvtrace.drift"] == ["index/topics digest"]


def test_routing(captured: Captured) -> None:
    """
    A decision has the policy in force and every candidate, with score, threshold and reason.
    """
    router = mvtrace.router("route", policy={"threshold": 0.35}, candidates=["a", "b"])

    with work(), mvtrace.routing("pick", router=router, features={"top": 0.2}) as call:
        call.candidate("a", score=0.2, threshold=0.35, reason="below threshold")
        call.candidate("c", score=0)
        call.fallback("c")
        call.choose("b", reason="the other way")

    assert captured.record.router_decisions == (
        RouterDecision(
            name="route",
            policy_digest=router.digest,
            policy={"threshold": 0.35},
            features={"top": 0.2},
            candidates=(
                Candidate(name="a", score=0.2, threshold=0.35, reason="below threshold"),
                Candidate(name="c", score=0.0),
                Candidate(name="b", chosen=True, reason="the other way"),
            ),
            chosen="b",
            reason="the other way",
            fallbacks=("c",),
            span_id=only(captured).span_id,
        ),
    )


def changed_model(call: Any) -> None:
    call.response(model="m-2")


def changed_fingerprint(call: Any) -> None:
    call.response(model="m-1", fingerprint="fp-2")


def dated_release(call: Any) -> None:
    call.response(model="m-1-2026-08-06", fingerprint="fp-1")


@pytest.mark.parametrize(
    ("answer", "drift"),
    [
        (changed_model, [("model", "llm", "model_served", "m-1", "m-2")]),
        (changed_fingerprint, [("model", "llm", "fingerprint", "fp-1", "fp-2")]),
        (dated_release, []),
    ],
)
def test_model_drift(
    captured: Captured, answer: Callable[[Any], None], drift: list[tuple[str, ...]]
) -> None:
    """
    Another model or fingerprint than declared is drift; the dated release of an alias is not.
    """
    model = mvtrace.model("llm", provider="acme", model_id="m-1", fingerprint="fp-1")

    with work(mvtrace.composite("s", model)), mvtrace.generation("g", model="m-1") as call:
        answer(call)

    assert only(captured).component == "model/llm"
    found = captured.record.drift
    assert [(d.kind, d.name, d.what, d.expected, d.observed) for d in found] == drift


def test_other_parts_than_declared(captured: Captured) -> None:
    """
    A template, a policy or a step that is not the declared one of its slot is drift.
    """
    prompts = [mvtrace.prompt("answer", text) for text in ("Say {x}", "Say {x}!")]
    router = mvtrace.router("route", policy={"t": 1})
    steps = [mvtrace.postprocess("tidy", width=width) for width in (1, 2)]
    assert all(isinstance(step, mvtrace.Component) for step in steps)

    with work(mvtrace.composite("s", prompts[0], router, steps[0])):
        with mvtrace.generation("g", prompt=prompts[1]):
            pass
        with mvtrace.routing("r", router=router, policy={"t": 2}):
            pass
        with mvtrace.postprocess("tidy", component=steps[1]):
            pass

    moved = mvtrace.router("route", policy={"t": 2})
    found = captured.record.drift
    assert [(d.kind, d.what, d.expected, d.observed) for d in found] == [
        ("prompt", "template", prompts[0].digest, prompts[1].digest),
        ("router", "policy", router.digest, moved.digest),
        ("postprocess", "digest", steps[0].digest, steps[1].digest),
    ]
    assert captured.record.router_decisions[0].policy == {"t": 2}


def test_unknown_stays_unknown(captured: Captured) -> None:
    """
    What nobody said is absent from the record: no zero, no empty text, no digest of nothing.
    """
    with work(), mvtrace.generation("g"):
        pass

    assert plain_call(only(captured)) == {"kind": "generation", "name": "g", "outcome": "ok"}
    assert captured.record.observed == ()


def test_small_steps(captured: Captured) -> None:
    """
    Tools, embeddings, post-processing and guardrails keep digests of what goes in and comes out.
    """
    with work():
        with mvtrace.tool("search", arguments={"q": "x", "n": 1}) as tool:
            tool.result(["hit"])
        with mvtrace.embedding("embed", model="e-1") as embedding:
            embedding.input("text")
            embedding.response(model="e-1", input_tokens=2)
        with mvtrace.postprocess("trim") as trim:
            trim.input("in")
            trim.output("out")
        with mvtrace.guardrail("pii") as guard:
            guard.verdict("pass")

    digest = captured.tracing.keyed_digest
    found = [
        (call.kind, call.input_digest, call.output_digest, call.verdict)
        for call in captured.record.calls
    ]
    assert found == [
        ("tool", digest('{"n":1,"q":"x"}'), digest('["hit"]'), None),
        ("embedding", digest("text"), None, None),
        ("postprocess", digest("in"), digest("out"), None),
        ("guardrail", None, None, "pass"),
    ]


def test_streamed_generation(captured: Captured) -> None:
    """
    Chunks give the time to the first one and, joined, the digest of the answer.
    """
    with work(), mvtrace.generation("g", model="m") as call:
        for text in ("a", "b", "c"):
            call.chunk(text)

    made = only(captured)
    assert made.output_digest == captured.tracing.keyed_digest("abc")
    assert 0 < (made.time_to_first_chunk_ns or 0) < (made.duration_ns or 0)
    attributes = captured.span("chat m").attributes
    assert attributes["mvtrace.response.chunks"] == 3
    assert attributes["gen_ai.response.time_to_first_chunk"] < 1


def test_failing_call(captured: Captured) -> None:
    """
    What the block raises goes on unchanged; the call has its type, and no message.
    """
    raised = ConnectionError("with the prompt in it")

    with pytest.raises(ConnectionError) as caught, work(), mvtrace.generation("g"):
        raise raised

    assert caught.value is raised
    made = only(captured)
    assert (made.outcome, made.error_type) == ("error", "ConnectionError")
    assert captured.span("chat g").status == 2
    assert captured.record.outcome == "error"


def test_nested_calls(captured: Captured) -> None:
    """
    A call within a call is below it as a span, and becomes the current one meanwhile.
    """
    with work(), mvtrace.tool("outer") as outer:
        assert mvtrace.current_call() is outer
        with mvtrace.generation("inner") as inner:
            assert mvtrace.current_call() is inner
        assert mvtrace.current_call() is outer

    assert captured.span("chat inner").parent_id == captured.span("execute_tool outer").span_id


def test_outside_of_a_request(captured: Captured) -> None:
    """
    A call outside of any request has a span, and there is no record.
    """
    with mvtrace.generation("g", model="m") as call:
        call.response(model="m", text="x")
        call.cache_origin("y")

    span = captured.span("chat m")
    assert captured.all_records == []
    assert "mvtrace.request.id" not in span.attributes
    assert span.attributes["gen_ai.response.model"] == "m"


# As decorators


def test_function(captured: Captured) -> None:
    """
    A decorated function looks the same; each use is a call of its own with its result's digest.
    """

    @mvtrace.tool("double")
    def double(number: int, *, plus: int = 0) -> int:
        """Double it."""
        call = mvtrace.current_call()
        assert call is not None
        assert call.name == "double"
        return 2 * number + plus

    with work():
        assert [double(1), double(2, plus=1)] == [2, 5]

    assert (double.__name__, double.__doc__) == ("double", "Double it.")
    assert str(inspect.signature(double)) == "(number: 'int', *, plus: 'int' = 0) -> 'int'"
    digest = captured.tracing.keyed_digest
    assert [call.output_digest for call in captured.record.calls] == [digest("2"), digest("5")]


def test_results_that_speak_for_themselves(captured: Captured) -> None:
    """
    The result of a decorated function is the answer, the documents, the choice or the verdict.
    """
    with work():
        mvtrace.generation("g")(lambda: "text")()
        mvtrace.retrieval("r")(lambda: [("a", 0.5)])()
        mvtrace.routing("w")(lambda: "left")()
        mvtrace.guardrail("ok")(lambda: True)()
        mvtrace.guardrail("no")(lambda: False)()

    record = captured.record
    assert record.calls[0].output_digest == captured.tracing.keyed_digest("text")
    assert record.index_snapshots[0].documents == (RetrievedDocument(id="a", score=0.5),)
    assert record.router_decisions[0].chosen == "left"
    assert [call.verdict for call in record.calls[3:]] == ["pass", "block"]


def test_coroutine(captured: Captured) -> None:
    """
    A decorated coroutine is one call from its first step to its last.
    """

    @mvtrace.generation("g", model="m")
    async def ask(text: str) -> str:
        await asyncio.sleep(0.01)
        return text + "!"

    async def main() -> None:
        async with mvtrace.request(route="test"), mvtrace.tool("t"):
            assert await asyncio.gather(ask("a"), ask("b")) == ["a!", "b!"]

    asyncio.run(main())

    assert inspect.iscoroutinefunction(ask)
    calls = [call for call in captured.record.calls if call.kind == "generation"]
    digest = captured.tracing.keyed_digest
    assert {call.output_digest for call in calls} == {digest("a!"), digest("b!")}
    assert all((call.duration_ns or 0) > 9_000_000 for call in calls)


class Client:
    """An object that is called like a coroutine function."""

    async def __call__(self, text: str) -> str:
        await asyncio.sleep(0.01)
        assert mvtrace.current_call() is not None
        return text + "!"


async def failing() -> str:
    await asyncio.sleep(0.01)
    raise KeyError


@pytest.mark.parametrize(
    ("function", "outcome"),
    [
        (Client(), "ok"),
        (lambda text: Client()(text), "ok"),
        (functools.partial(Client(), "a"), "ok"),
        (lambda text: failing(), "error"),
    ],
)
def test_function_that_returns_a_coroutine(captured: Captured, function: Any, outcome: str) -> None:
    """
    What hands out a coroutine is one call until that has ended, with its result and its failure.
    """
    ask = mvtrace.generation("g", model="m")(function)

    async def main() -> None:
        with work(), suppress(KeyError):
            await ask(*([] if isinstance(function, functools.partial) else ["a"]))

    asyncio.run(main())

    call = only(captured)
    digest = captured.tracing.keyed_digest("a!") if outcome == "ok" else None
    assert (call.outcome, call.output_digest) == (outcome, digest)
    assert (call.duration_ns or 0) > 9_000_000


def test_generator(captured: Captured) -> None:
    """
    A generator is one call until it is exhausted; what it yields are chunks, and its own way of
    talking back (send, throw, return) works as without us.
    """

    @mvtrace.generation("g", model="m")
    def count() -> Any:
        said = yield "1"
        assert said == "go on"
        try:
            yield "2"
        except KeyError:
            yield "3"
        return "end"

    with work():
        generator = count()
        assert next(generator) == "1"
        assert mvtrace.current_call() is None
        assert generator.send("go on") == "2"
        assert generator.throw(KeyError("k")) == "3"
        with pytest.raises(StopIteration) as stopped:
            next(generator)

    assert stopped.value.value == "end"
    made = only(captured)
    assert (made.outcome, made.output_digest) == ("ok", captured.tracing.keyed_digest("123"))
    assert captured.span("chat m").attributes["mvtrace.response.chunks"] == 3


def test_generator_is_current_only_while_it_runs(captured: Captured) -> None:
    """
    Between two steps the consumer's context is its own: its spans do not lie below the generator's.
    """

    @mvtrace.tool("inner")
    def steps() -> Iterator[int]:
        with mvtrace.tool("first"):
            pass
        yield 1
        with mvtrace.tool("second"):
            pass
        yield 2

    with work():
        for _ in steps():
            with mvtrace.tool("consumer"):
                pass

    parents = {span.name: span.parent_id for span in captured.spans}
    own = captured.span("execute_tool inner").span_id
    assert parents["execute_tool first"] == parents["execute_tool second"] == own
    assert parents["execute_tool consumer"] == captured.record.span_id


@pytest.mark.parametrize("end", ["close", "forget"])
def test_generator_left_early(captured: Captured, end: str) -> None:
    """
    A generator that its consumer leaves is closed, its cleaning up included, and recorded so.
    """
    cleaned: list[bool] = []

    @mvtrace.tool("t")
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            cleaned.append(mvtrace.current_call() is not None)

    with work():
        generator = endless()
        next(generator)
        if end == "close":
            generator.close()  # type: ignore[attr-defined]
        del generator
        gc.collect()

    assert cleaned == [True]
    assert (only(captured).outcome, only(captured).error_type) == ("cancelled", "GeneratorExit")


def test_generator_that_raises(captured: Captured) -> None:
    """
    An exception inside a generator reaches the consumer unchanged and is on the call.
    """
    raised = LookupError("x")

    @mvtrace.tool("t")
    def broken() -> Iterator[int]:
        yield 1
        raise raised

    with work(), pytest.raises(LookupError) as caught:
        list(broken())

    assert caught.value is raised
    assert (only(captured).outcome, only(captured).error_type) == ("error", "LookupError")


def test_async_generator(captured: Captured) -> None:
    """
    An async generator is one call, and its steps see their own context only.
    """

    @mvtrace.generation("g", model="m")
    async def stream() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            with mvtrace.tool("inside"):
                pass
            yield str(number)

    async def main() -> list[str]:
        got = []
        async with mvtrace.request(route="test"):
            async for item in stream():
                assert mvtrace.current_call() is None
                got.append(item)
        return got

    assert asyncio.run(main()) == ["0", "1", "2"]

    assert inspect.isasyncgenfunction(stream)
    own = captured.span("chat m")
    inside = [span for span in captured.spans if span.name == "execute_tool inside"]
    assert {span.parent_id for span in inside} == {own.span_id}
    [made] = [call for call in captured.record.calls if call.kind == "generation"]
    assert made.output_digest == captured.tracing.keyed_digest("012")


def test_async_generator_closed_in_another_context(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Closing a stream from another task than began it, as servers do, logs and breaks nothing.
    """

    @mvtrace.generation("g", model="m")
    async def stream() -> AsyncIterator[str]:
        while True:
            yield "x"

    async def main() -> None:
        async with mvtrace.request(route="test"):
            items = stream()
            await asyncio.create_task(anext(items))  # type: ignore[arg-type]
            await asyncio.create_task(items.aclose())  # type: ignore[attr-defined]

    asyncio.run(main())

    assert caplog.records == []
    assert only(captured).outcome == "cancelled"


def test_with_block_that_crosses_a_yield(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A with block inside somebody's own generator, ended in another context, logs and breaks nothing.
    """

    async def stream() -> AsyncIterator[int]:
        with mvtrace.tool("t"):
            yield 1
            yield 2

    async def main() -> None:
        async with mvtrace.request(route="test"):
            items = stream()
            await asyncio.create_task(anext(items))  # type: ignore[arg-type]
            await asyncio.create_task(items.aclose())  # type: ignore[attr-defined]

    asyncio.run(main())

    assert caplog.records == []
    assert context_api.get_current() == {}
    assert only(captured).name == "t"


def test_call_used_twice(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    """
    One call object serves one with block; a second use is counted as an error and harms nobody.
    """
    call = mvtrace.tool("t")

    with work():
        with call:
            pass
        with call:
            pass

    assert len(captured.record.calls) == 1
    assert captured.record.capture is not None
    assert captured.record.capture.errors == 1
    assert "used twice" in caplog.text


def test_wrong_use_never_raises(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    """
    Values that make no sense are counted, logged once and never raised into the application.
    """
    with work():
        with mvtrace.retrieval("r") as retrieval:
            retrieval.documents(5)  # type: ignore[arg-type]
            retrieval.documents([("a", "no number")])
        with mvtrace.generation("g") as generation:
            generation.response(input_tokens="many")  # type: ignore[arg-type]

    assert [call.kind for call in captured.record.calls] == ["retrieval", "generation"]
    assert captured.record.capture is not None
    assert captured.record.capture.errors == 3
    assert len(caplog.records) == 1


def test_odd_values_are_made_plain(captured: Captured) -> None:
    """
    Lone surrogates, infinities and foreign types become text, and the record is whole.
    """
    with work():
        with mvtrace.generation("g\ud800", sampling={"t": float("inf"), 5: {1, 2}}) as call:
            call.response(id="r\udfff", text="t\ud800")
        with mvtrace.retrieval("r") as retrieval:
            retrieval.documents([(7, float("nan")), ("x" * 600, 1)])

    made, record = captured.record.calls[0], captured.record
    assert (made.name, made.response_id) == ("g?", "r?")
    assert made.sampling == {"t": "inf", "5": [1, 2]}
    assert record.index_snapshots[0].documents == (
        RetrievedDocument(id="7"),
        RetrievedDocument(id="x" * 512, score=1.0),
    )
    assert record.capture is not None
    assert (record.capture.truncated, record.capture.errors) == (1, 0)


def test_component_and_call_of_one_name() -> None:
    """
    With something to pin the name makes a component, without it a call; both at once is refused.
    """

    def tidy(text: str) -> str:
        return text.strip()

    step = mvtrace.postprocess("tidy", tidy)
    check = mvtrace.guardrail("pii", words=["x"])

    assert (step.kind, check.kind) == ("postprocess", "guardrail")
    assert isinstance(mvtrace.postprocess("tidy", component=step), PostprocessCall)
    assert isinstance(mvtrace.guardrail("pii"), GuardrailCall)
    with pytest.raises(ComponentError) as refused:
        mvtrace.postprocess("tidy", tidy, component=step)
    assert refused.value.message == (
        "Component postprocess 'tidy': component= belongs to its call, and a call pins nothing."
    )
