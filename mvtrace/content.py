"""Which attributes carry prompts, answers or documents, in every dialect mvtrace meets.

In: an attribute key, or an event's name and keys. Out: whether the value is content. The same list
is in ``schemas/semconv/content.yaml`` for other languages. The patterns are within RE2's syntax,
since the loader matches with them in SQL: a key is content if it matches CONTENT_PATTERN and does
not match KEPT_PATTERN.

Decided: system instructions, prompt templates and tool definitions count as content, since they
are sent as part of the prompt; components pin them. ``gen_ai.retrieval.documents`` counts, since
senders put the texts into it. ``db.query.text`` does not: its convention asks for placeholders; the
values behind them do. What an exception says counts, and so does a span's status description, which
repeats it: both quote what was being worked on. Of a URL the path stays: user and query are cut.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

CONTENT_KEYS: Final = frozenset(
    {
        # OpenTelemetry GenAI, now and before
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.prompt",
        "gen_ai.completion",
        "gen_ai.retrieval.query.text",
        "gen_ai.retrieval.documents",
        "gen_ai.memory.query.text",
        "gen_ai.memory.records",
        "gen_ai.evaluation.explanation",
        "gen_ai.event.content",
        # OpenInference
        "input.value",
        "output.value",
        "input.audio.transcript",
        "output.audio.transcript",
        "llm.prompt_template.template",
        "llm.prompt_template.variables",
        "llm.function_call",
        "llm.invocation_parameters",
        "llm.headers",
        "metadata",
        "tool.parameters",
        "tool.json_schema",
        "tool_call.function.arguments",
        "embedding.text",
        "embedding.vector",
        "reranker.query",
        "document.content",
        "document.metadata",
        # OpenLLMetry
        "traceloop.entity.input",
        "traceloop.entity.output",
        "traceloop.prompt.template",
        "traceloop.prompt.template_variables",
        "gen_ai.headers",
        "db.query.result.document",
        "db.query.result.metadata",
        "db.query.result.vector",
        "db.query.embeddings.vector",
        # Langfuse
        "langfuse.observation.input",
        "langfuse.observation.output",
        "langfuse.trace.input",
        "langfuse.trace.output",
        "langfuse.observation.status_message",
        "langfuse.experiment.metadata",
        # MLflow
        "mlflow.spanInputs",
        "mlflow.spanOutputs",
        "mlflow.traceInputs",
        "mlflow.traceOutputs",
        "mlflow.chat.messages",
        "mlflow.chat.tools",
        "mlflow.chunk.value",
        # Logfire and Pydantic AI
        "request_data",
        "response_data",
        "events",
        "all_messages",
        "all_messages_events",
        "pydantic_ai.all_messages",
        "final_result",
        "tool_arguments",
        "tool_response",
        "model_request_parameters",
        "fastapi.arguments.values",
        # Google ADK and Genkit
        "gcp.vertex.agent.llm_request",
        "gcp.vertex.agent.llm_response",
        "gcp.vertex.agent.tool_call_args",
        "gcp.vertex.agent.tool_response",
        "gcp.vertex.agent.data",
        "genkit:input",
        "genkit:output",
        # Haystack
        "haystack.component.input",
        "haystack.component.output",
        "haystack.pipeline.input_data",
        "haystack.pipeline.output_data",
        # Vercel AI
        "ai.value",
        "ai.values",
        "ai.embedding",
        "ai.embeddings",
        # Without a namespace
        "input",
        "output",
        "prompt",
        "completion",
        "messages",
        "instructions",
        "tools",
        "functions",
        "prediction",
        "response_format",
        "suffix",
        "extra_body",
        "extra_headers",
        "extra_query",
        "http.request.body",
        "http.response.body",
        # What went wrong, in words
        "exception.message",
        "exception.stacktrace",
        "error.message",
        "error.stack",
        "otel.status_description",
        # Persons, and what is said to a program
        "user.email",
        "user.full_name",
        "user.name",
        "url.query",
        "url.fragment",
        "process.command_args",
        "process.command_line",
    }
)

SECRET_PATTERNS: Final = (
    r"(?i:(.+[._-])?(proxy[_-].+|authorization|cookie|set[_-]cookie|x[_-]api[_-]key|api[_-]?key))",
    r"(?i:(.+[._-])?(password|passwd|secret|client[_-]secret|private[_-]key|(x[_-])?(access|auth|refresh|security|id)[_-]token))",
)
"""Not content but secrets: they leave the process in no mode."""

CONTENT_PATTERNS: Final = (
    # gen_ai.prompt.0.content is a message; gen_ai.prompt.name and .version are an identity.
    r"gen_ai\.(prompt|completion)\.[0-9]+(\..+)?",
    r"gen_ai\.prompt\.variable\..+",
    r"gen_ai\.content\.(prompt|completion)",
    r"llm\.(input_messages|output_messages|prompts|completions|choices|tools)(\..+)?",
    r"llm\.request\.functions\.[0-9]+\.(description|parameters)",
    r"embedding\.embeddings\.[0-9]+\.embedding\.(text|vector)",
    r"((retrieval|input|output)\.documents|reranker\.(input|output)_documents)\.[0-9]+\.document\.(content|metadata)",
    r"(input|output)\.images(\..+)?",
    r"((trace|session)\.)?(annotations|evaluations)\.[0-9]+\.(annotation|evaluation)\.(explanation|metadata)",
    r"langfuse\.experiment\.item\.(input|expected_output|metadata)",
    r"ai\.prompt(\..+)?",
    r"ai\.(response|result)\.(text|object|reasoning|toolCalls|files)",
    r"ai\.toolCall\.(args|result)",
    r"langfuse\.(trace|observation)\.metadata(\..+)?",
    r"db\.(query|operation)\.parameter\..+",
    r"process\.environment_variable\..+",
    *SECRET_PATTERNS,
)

KEPT_PATTERNS: Final = (
    r"gen_ai\.(prompt|completion)\.[0-9]+\.(role|finish_reason)",
    r"llm\.(input_messages|output_messages)\.[0-9]+\.message\.role",
    r"llm\.(prompts|completions)\.[0-9]+\.(role|finish_reason)",
)
"""Keys that match a content pattern and tell facts only."""

CONTENT_EVENT_PATTERN: Final = (
    r"^(gen_ai\.(system|user|assistant|tool)\.message"
    r"|gen_ai\.choice|gen_ai\.content\.(prompt|completion)"
    r"|gen_ai\.client\.inference\.operation\.details)$"
)
"""Events that exist to carry content: of these only EVENT_KEPT_KEYS and known facts remain."""

EVENT_KEPT_KEYS: Final = frozenset(
    {
        "event.name",
        "finish_reason",
        "gen_ai.conversation.id",
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.finish_reasons",
        "gen_ai.response.id",
        "gen_ai.response.model",
        "gen_ai.system",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "index",
        "role",
    }
)

STATUS_DESCRIPTION: Final = "otel.status_description"
"""What a span's status description is called among removed attributes; OpenTelemetry's own name."""

URL_KEYS: Final = frozenset({"url.full", "url.original", "http.url", "http.target"})
"""Attributes that hold a URL: what may be secret or content in it is cut off."""
URL_USER_PATTERN: Final = r"^([^?#]*//)[^/?#]*@"
URL_QUERY_PATTERN: Final = r"(?s)[?#].*$"


def _pattern(keys: frozenset[str], patterns: tuple[str, ...]) -> str:
    literal = (re.sub(r"([.:])", r"\\\1", key) for key in sorted(keys))
    return "^(" + "|".join((*literal, *patterns)) + ")$"


CONTENT_PATTERN: Final = _pattern(CONTENT_KEYS, CONTENT_PATTERNS)
"""One RE2 expression over the whole key."""
KEPT_PATTERN: Final = _pattern(frozenset(), KEPT_PATTERNS)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return *pattern* as the engine's match() reads it: a dot is any character, a newline too.

    At the first use and not at the import, which it would make 5 ms longer.
    """
    return re.compile(pattern, re.ASCII | re.DOTALL)


@lru_cache(maxsize=4096)
def is_content(key: str) -> bool:
    """Whether the attribute *key* of a span, or of an ordinary event, carries content."""
    if _compiled(CONTENT_PATTERN).fullmatch(key) is None:
        return False
    return _compiled(KEPT_PATTERN).fullmatch(key) is None


def is_secret(key: str) -> bool:
    """Whether the attribute *key*, which is content, holds a secret that is never to be kept."""
    return any(_compiled(pattern).fullmatch(key) is not None for pattern in SECRET_PATTERNS)


@lru_cache(maxsize=1024)
def is_content_event(name: str) -> bool:
    """Whether events of this *name* exist to carry content."""
    return _compiled(CONTENT_EVENT_PATTERN).fullmatch(name) is not None


def carries_content(raw: bytes) -> bool:
    """Whether the protobuf bytes of an export, whole or damaged, have an attribute with content.

    For bytes that nothing could decode: what looks like a KeyValue with such a key counts.
    """
    return _in_bytes().search(raw) is not None


@cache
def _in_bytes() -> re.Pattern[bytes]:
    # A key of up to 127 bytes in field 1, after it the tag of field 2.
    keys = CONTENT_PATTERN.removeprefix("^").removesuffix("$").replace(".+", r"[^\x00-\x1f]{1,120}")
    messages = CONTENT_EVENT_PATTERN.removeprefix("^").removesuffix("$")
    return re.compile(rf"\x0a[\x01-\x7f]{keys}\x12|{messages}".encode("ascii"))


def plain_url(url: str) -> str:
    """Return *url* without user, password, query and fragment."""
    return re.sub(URL_QUERY_PATTERN, "", re.sub(URL_USER_PATTERN, r"\1", url))


def is_event_content(name: str, key: str) -> bool:
    """Whether the attribute *key* of the event *name* carries content."""
    if is_content_event(name):
        return key not in EVENT_KEPT_KEYS
    return is_content(key)
