"""Real clients of prompt registries: the resolved text is a part of what was met, and of the call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server as Provider
from prompt_server import Server, commit_of, manifest_of, serving

import mvtrace
from mvtrace.integrations import langfuse as langfuse_integration
from mvtrace.integrations import langsmith as langsmith_integration
from mvtrace.integrations import mlflow as mlflow_integration
from mvtrace.integrations import prompt_registry, templates
from mvtrace.records import RequestRecord

langfuse = pytest.importorskip("langfuse")
langsmith = pytest.importorskip("langsmith")
mlflow = pytest.importorskip("mlflow")
openai = pytest.importorskip("openai")

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.usefixtures("instrumented"),
    # Of the libraries: what they do with sockets, threads and their own deprecations.
    pytest.mark.filterwarnings("ignore"),
]
TEXT = "You answer questions about {{subject}} in one short sentence."
REGISTRIES = {
    "langfuse": langfuse.version.__version__
    if hasattr(langfuse, "version")
    else langfuse.__version__,
    "langsmith": langsmith.__version__,
    "mlflow": mlflow.__version__,
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    # The library keeps one client, with its cache, a public key.
    made = langfuse.Langfuse(
        public_key=f"pk-{uuid4()}", secret_key="sk", base_url=server.url, tracing_enabled=False
    )
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's own store, made once: that takes seconds."""
    path: Path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    mlflow.set_registry_uri(f"sqlite:///{path}")
    return path


def ask(provider: Provider, messages: list[dict[str, Any]]) -> None:
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0) as model:
        model.chat.completions.create(model="m", messages=messages)


def digest_of(name: str, template: str) -> str:
    return mvtrace.prompt(name, template).digest


def prompts_of(record: RequestRecord) -> list[tuple[str, str, Any]]:
    return [
        (one.name, one.digest, dict(one.facts or {}))
        for one in record.observed
        if one.kind == "prompt" and one.facts
    ]


def test_langfuse_text(
    captured: Captured, server: Server, client: Any, provider_server: Provider
) -> None:
    """
    The resolved text is a part of the request's version, and the call says that its prompt was
    rendered from it.
    """
    server.add("answer", TEXT, "production")
    with mvtrace.request(route="/ask"):
        text = client.get_prompt("answer").compile(subject="a secret")
        assert text == "You answer questions about a secret in one short sentence."
        ask(provider_server, [{"role": "system", "content": text}])

    record = captured.record
    digest = digest_of("answer", TEXT)
    assert prompts_of(record) == [("answer", digest, {"source": "langfuse", "version": "1"})]
    [call] = record.calls
    assert call.prompt is not None
    assert (call.prompt.name, call.prompt.template_digest) == ("answer", digest)
    assert call.prompt.version == "1"
    assert record.composite_version is not None
    assert b"secret" not in record.to_bytes()
    tell(
        "langfuse: prompts",
        REGISTRIES["langfuse"],
        ["resolved prompts and their children", "calls made with them"],
    )


def test_langfuse_child_changes_under_the_same_number(
    captured: Captured, server: Server, client: Any
) -> None:
    """
    A child that changes makes another digest, and drift, though the parent's number stays.
    """
    server.add("child", "Be brief.", "production")
    server.add("parent", "@@@langfusePrompt:name=child|label=production@@@ {{q}}", "production")
    for text in (None, None, "Be verbose."):
        if text is not None:
            server.add("child", text, "production")
        with mvtrace.request(route="/ask"):
            client.get_prompt("parent", cache_ttl_seconds=0).compile(q="?")

    before, same, after = captured.records
    assert prompts_of(before) == prompts_of(same)
    assert prompts_of(before) == [
        ("parent", digest_of("parent", "Be brief. {{q}}"), {"source": "langfuse", "version": "1"})
    ]
    assert prompts_of(after) == [
        ("parent", digest_of("parent", "Be verbose. {{q}}"), {"source": "langfuse", "version": "1"})
    ]
    assert before.composite_version == same.composite_version != after.composite_version
    assert [(one.kind, one.name, one.what) for one in after.drift] == [
        ("prompt", "parent", "changed")
    ]


def test_langfuse_chat_fetched_before(
    captured: Captured, server: Server, client: Any, provider_server: Provider
) -> None:
    """
    A chat prompt fetched at the start, under a label, is met where it is rendered; what the
    application adds to it changes nothing.
    """
    template = [
        {"type": "chatmessage", "role": "system", "content": "You are {{who}}."},
        {"type": "placeholder", "name": "history"},
    ]
    server.add("chat", template, "canary")
    prompt = client.get_prompt("chat", type="chat", label="canary")
    with mvtrace.request(route="/ask"):
        messages = prompt.compile(who="kind", history=[{"role": "user", "content": "Hi"}])
        ask(provider_server, [*messages, {"role": "user", "content": "More"}])

    [(name, digest, facts)] = prompts_of(captured.record)
    assert (name, facts["version"]) == ("chat@canary", "1")
    [call] = captured.record.calls
    assert call.prompt is not None
    assert call.prompt.template_digest == digest


def test_langfuse_is_down(captured: Captured, client: Any) -> None:
    """
    A fallback of the application's is what was met, and said to be one; without, the client's error
    comes as it is.
    """
    with mvtrace.request(route="/ask"):
        prompt = client.get_prompt("absent", fallback="Plain {{q}}", max_retries=0)
        assert prompt.compile(q="?") == "Plain ?"
        with pytest.raises(langfuse.api.NotFoundError):
            client.get_prompt("absent", max_retries=0)

    [(name, digest, facts)] = prompts_of(captured.record)
    assert (name, facts["version"]) == ("absent", "fallback")
    assert digest == digest_of("absent", "Plain {{q}}")


def test_declared_prompt(captured: Captured, server: Server, client: Any) -> None:
    """
    A registry's text that is not the declared one is drift from it.
    """
    system = mvtrace.composite("support", mvtrace.prompt("answer", "Another text."))
    server.add("answer", TEXT, "production")
    with mvtrace.request(route="/ask", composite=system):
        client.get_prompt("answer")

    [drift] = captured.record.drift
    assert (drift.kind, drift.name, drift.what) == ("prompt", "answer", "template")
    assert drift.observed == digest_of("answer", TEXT)
    assert captured.record.composite_version == system.version


def test_mlflow(captured: Captured, store: Path, provider_server: Provider) -> None:
    """
    A template of MLflow's own store: by number, by alias, as text and as messages.
    """
    mlflow.genai.register_prompt(name="answer", template=TEXT)
    mlflow.genai.set_prompt_alias("answer", "production", 1)
    messages = [{"role": "system", "content": "You are {{who}}."}]
    mlflow.genai.register_prompt(name="chat", template=messages)
    with mvtrace.request(route="/ask"):
        text = mlflow.genai.load_prompt("prompts:/answer/1").format(subject="a secret")
        ask(provider_server, [{"role": "system", "content": text}])
        chat = mlflow.genai.load_prompt("chat", version=1).format(who="kind")
        ask(provider_server, chat)
        mlflow.genai.load_prompt("prompts:/answer@production")

    record = captured.record
    digest = digest_of("answer", TEXT)
    assert [(name, facts) for name, _, facts in prompts_of(record)] == [
        ("answer", {"source": "mlflow", "version": "1"}),
        ("chat", {"source": "mlflow", "version": "1"}),
        ("answer@production", {"source": "mlflow", "version": "1"}),
    ]
    assert [call.prompt and call.prompt.name for call in record.calls] == ["answer", "chat"]
    assert record.calls[0].prompt is not None
    assert record.calls[0].prompt.template_digest == digest
    assert b"secret" not in record.to_bytes()
    tell("mlflow: prompts", REGISTRIES["mlflow"], ["resolved prompts", "calls made with them"])


def test_mlflow_partial(captured: Captured, store: Path) -> None:
    """
    A prompt that is filled in part is still that template.
    """
    mlflow.genai.register_prompt(name="partial", template="{{a}} and {{b}}")
    with mvtrace.request(route="/ask"):
        prompt = mlflow.genai.load_prompt("partial", version=1)
        assert prompt.format(allow_partial=True, a="1").format(b="2") == "1 and 2"
        assert mlflow.genai.load_prompt("absent", allow_missing=True) is None

    assert captured.record.outcome == "ok"
    assert ("partial", digest_of("partial", "{{a}} and {{b}}")) in [
        (name, digest) for name, digest, _ in prompts_of(captured.record)
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_langsmith(captured: Captured, server: Server, is_async: bool) -> None:
    """
    A commit of LangSmith's: the manifest as resolved, in a slot of its own where a tag was asked for.
    """
    manifest = manifest_of("Answer: {question}")
    server.add("answer", manifest, "prod")
    commit = commit_of(manifest)

    def pull(identifier: str) -> Any:
        if not is_async:
            settings = {"api_url": server.url, "api_key": "k", "auto_batch_tracing": False}
            with_client = langsmith.Client(**settings, disable_prompt_cache=True)
            return with_client.pull_prompt_commit(identifier)

        async def pull_async() -> Any:
            async with langsmith.AsyncClient(
                api_url=server.url, api_key="k", disable_prompt_cache=True
            ) as made:
                return await made.pull_prompt_commit(identifier)

        return asyncio.run(pull_async())

    with mvtrace.request(route="/ask"):
        for identifier in ("answer", f"answer:{commit[:8]}", "answer:prod"):
            assert pull(identifier).manifest == manifest

    assert [(name, facts) for name, _, facts in prompts_of(captured.record)] == [
        ("answer", {"source": "langsmith", "version": commit}),
        ("answer:prod", {"source": "langsmith", "version": commit}),
    ]
    tell("langsmith: prompts", REGISTRIES["langsmith"], ["pulled prompts", "sync and async"])


def test_langsmith_template(captured: Captured, server: Server) -> None:
    """
    A template that LangChain is to render is pulled as ever.
    """
    pytest.importorskip("langchain_core")
    server.add("answer", manifest_of("Answer: {question}"))
    with mvtrace.request(route="/ask"):
        made = langsmith.Client(api_url=server.url, api_key="k", disable_prompt_cache=True)
        assert made.pull_prompt("answer").format(question="Why?") == "Answer: Why?"

    assert [name for name, _, _ in prompts_of(captured.record)] == ["answer"]


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (langfuse_integration, "template_of"),
        (mlflow_integration, "template_of"),
        (langsmith_integration, "template_of"),
        (prompt_registry, "met"),
        (prompt_registry, "rendered"),
        (templates, "texts_in"),
        (templates, "current_exchange"),
        (templates.KnownTemplates, "add"),
        (templates.KnownTemplates, "get"),
        (langfuse_integration, "_registry"),
    ],
)
def test_no_failure_of_ours_reaches_the_library(  # noqa: PLR0917 (fixtures)
    captured: Captured,
    server: Server,
    client: Any,
    store: Path,
    provider_server: Provider,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
) -> None:
    """
    Whichever step of ours fails, prompts are fetched, rendered and used as ever.
    """
    server.add("answer", TEXT, "production")
    server.add("manifest", manifest_of("Answer: {question}"))
    mlflow.genai.register_prompt(name="failing", template=TEXT)
    monkeypatch.setattr(owner, name, boom)
    with mvtrace.request(route="/ask"):
        text = client.get_prompt("answer").compile(subject="x")
        ask(provider_server, [{"role": "system", "content": text}])
        assert mlflow.genai.load_prompt("failing", version=1).format(subject="x") == text
        made = langsmith.Client(api_url=server.url, api_key="k", disable_prompt_cache=True)
        assert made.pull_prompt_commit("manifest").manifest["lc"] == 1

    [call] = captured.record.calls
    assert call.model_served == "m-2024"
    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured, server: Server, client: Any) -> None:
    """
    Turned off, no prompt is met.
    """
    mvtrace.uninstrument()
    server.add("answer", TEXT, "production")
    with mvtrace.request(route="/ask"):
        client.get_prompt("answer").compile(subject="x")

    assert prompts_of(captured.record) == []
