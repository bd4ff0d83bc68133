"""Which attributes carry content, in Python, in YAML and in the engine's regular expressions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mvtrace import content
from mvtrace.resources import schema_root

CONTENT = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.prompt.0.content",
    "gen_ai.prompt.12.tool_calls.0.arguments",
    "gen_ai.prompt.variable.customer",
    "gen_ai.completion.0.content",
    "gen_ai.completion.0.function_call.arguments",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.query.text",
    "llm.input_messages.0.message.content",
    "llm.output_messages.3.message.tool_calls.0.tool_call.function.arguments",
    "llm.prompts.0.content",
    "retrieval.documents.7.document.content",
    "reranker.output_documents.0.document.metadata",
    "input.value",
    "output.value",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "langfuse.observation.input",
    "langfuse.trace.output",
    "request_data",
    "response_data",
    "ai.prompt.messages",
    "ai.response.text",
    "http.request.header.authorization",
    "http.response.header.set-cookie",
    "http.request.header.proxy-authorization",
    "exception.message",
    "exception.stacktrace",
    "llm.invocation_parameters",
    "gen_ai.openai.api_key",
    "my.client_secret",
    "Authorization",
    "X-Api-Key",
    "Password",
    "openai_api_key",
    "OPENAI_API_KEY",
    "user.email",
    "url.query",
    "process.command_line",
    "db.query.parameter.0",
]
FACTS = [
    "gen_ai.prompt.name",
    "gen_ai.prompt.version",
    "gen_ai.prompt.0.role",
    "gen_ai.completion.0.finish_reason",
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.retrieval.top_k",
    "gen_ai.tool.name",
    "gen_ai.tool.call.id",
    "llm.input_messages.0.message.role",
    "llm.prompt_template.version",
    "retrieval.documents.7.document.id",
    "retrieval.documents.7.document.score",
    "input.mime_type",
    "traceloop.entity.name",
    "langfuse.observation.prompt.name",
    "mlflow.spanType",
    "db.query.text",
    "http.request.body.size",
    "http.request.header.user-agent",
    "mvtrace.prompt.rendered.digest",
    "mvtrace.retrieval.document.ids",
    "inputs",
    "my.input",
]


@pytest.mark.parametrize("key", CONTENT)
def test_content_in_every_dialect(key: str) -> None:
    """
    Keys that carry prompts, answers, documents or secrets are content.
    """
    assert content.is_content(key)


@pytest.mark.parametrize("key", FACTS)
def test_facts_are_not_content(key: str) -> None:
    """
    Identities, models, counts, scores and roles are kept.
    """
    assert not content.is_content(key)


@pytest.mark.parametrize(
    ("event", "key", "expected"),
    [
        ("gen_ai.user.message", "content", True),
        ("gen_ai.user.message", "role", False),
        ("gen_ai.choice", "message", True),
        ("gen_ai.choice", "finish_reason", False),
        ("gen_ai.content.prompt", "gen_ai.prompt", True),
        ("exception", "content", False),
        ("exception", "input.value", True),
        ("exception", "exception.message", True),
        ("exception", "exception.type", False),
    ],
)
def test_events_that_carry_content(event: str, key: str, *, expected: bool) -> None:
    """
    Of an event made for content only known facts are kept; of others what is not content.
    """
    assert content.is_event_content(event, key) is expected


def test_yaml_says_the_same() -> None:
    """
    The list for other languages equals the one in use.
    """
    path = schema_root() / "semconv" / "content.yaml"

    listed = yaml.safe_load(path.read_text())

    assert listed == {
        "version": 1,
        "keys": listed["keys"],
        "patterns": list(content.CONTENT_PATTERNS),
        "kept_patterns": list(content.KEPT_PATTERNS),
        "event_pattern": content.CONTENT_EVENT_PATTERN,
        "event_kept_keys": sorted(content.EVENT_KEPT_KEYS),
        "url_keys": sorted(content.URL_KEYS),
    }
    assert set(listed["keys"]) == content.CONTENT_KEYS
    assert len(listed["keys"]) == len(content.CONTENT_KEYS)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://me:pass@shop.example/a/b?token=1#top", "https://shop.example/a/b"),
        ("https://me:p@ss@shop.example/", "https://shop.example/"),
        ("/ask?q=why", "/ask"),
        ("/mail/to@shop.example", "/mail/to@shop.example"),
        ("https://shop.example/a\n?b", "https://shop.example/a\n"),
    ],
)
def test_urls_keep_host_and_path(url: str, kept: str) -> None:
    """
    Of a URL neither user, password, query nor fragment leaves the process.
    """
    assert content.plain_url(url) == kept


def test_patterns_stay_within_re2() -> None:
    """
    Nothing RE2 lacks is used: no look-around, no backreference, no possessive or atomic group.
    """
    patterns = (content.CONTENT_PATTERN, content.KEPT_PATTERN, content.CONTENT_EVENT_PATTERN)

    assert [p for p in patterns if re.search(r"\(\?(?!i:)|\\[1-9]|[*+?}]\+", p)] == []


ENGINE = """
import json, sys
from mvtrace.store import open_store
given = json.load(sys.stdin)
store = open_store("chdb://" + given.pop("directory"))
rows = store.query(
    "SELECT match(key, {content:String}) AND NOT match(key, {kept:String}) "
    "FROM (SELECT arrayJoin({keys:Array(String)}) AS key)",
    given,
)
print(json.dumps([bool(found) for (found,) in rows.rows]))
store.close()
"""


def test_engine_agrees(tmp_path: Path) -> None:
    """
    ClickHouse's match() finds the same keys to be content as the seam does.
    """
    pytest.importorskip("chdb")
    keys = [
        *CONTENT,
        *FACTS,
        *sorted(content.CONTENT_KEYS),
        "genkit_input",
        "gen_ai.prompt\n",
        "ai.prompt.a\nb",
    ]
    given = {
        "keys": keys,
        "content": content.CONTENT_PATTERN,
        "kept": content.KEPT_PATTERN,
        "directory": str(tmp_path / "store"),
    }

    done = subprocess.run(
        [sys.executable, "-c", ENGINE],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [content.is_content(key) for key in keys]
