"""What the traces of each peer's SDK fill: the span's name, and the columns with their values.

The server was asked for ``m`` and served ``m-2024``, as a stream with tokens in detail. What is
absent here the SDK does not say.
"""

from __future__ import annotations

from typing import Any

LIBRARIES = {
    "openllmetry": "opentelemetry-instrumentation-openai",
    "openinference": "openinference-instrumentation-openai",
    "logfire": "logfire",
    "langfuse": "langfuse",
    "mlflow": "mlflow-skinny",
    "opentelemetry": "opentelemetry-instrumentation-genai-openai",
}
"""The distribution each is."""

SAMPLING = {"temperature": 0.5, "top_p": 0.25}
LIMITED = {**SAMPLING, "max_tokens": 64.0}
TOKENS = {"input_tokens": 9, "output_tokens": 3}
CACHED = {**TOKENS, "cache_read_tokens": 4}
DETAILED = {**CACHED, "reasoning_tokens": 1}
SERVED = {"model_requested": "m", "model_served": "m-2024"}
CHAT = {"operation": "chat", **SERVED, "response_id": "c-1", "sampling": LIMITED}
RESPONSE = {"operation": "chat", **SERVED, "response_id": "r-1", "sampling": SAMPLING, **CACHED}
EMBEDDING = {
    "operation": "embeddings",
    "model_requested": "e",
    "model_served": "e-1",
    "input_tokens": 4,
}
TOOL = {"operation": "execute_tool", "tool_name": "look_up"}
SEARCH = {"operation": "retrieval", "documents": [("d-1", 0.75), ("d-2", 0.5)]}
STOPPED = {"finish_reason": "stop"}
SEEDED = {"seed": 7}
MARKED = {"fingerprint": "fp"}
OPENAI = {"provider": "openai"}
IN_SESSION = {"conversation_id": "conversation-1"}

OPENLLMETRY = [
    ("openai.chat", {**CHAT, **OPENAI, **TOKENS, **STOPPED, **MARKED}),
    ("openai.chat", {**CHAT, **OPENAI, **CACHED, **STOPPED}),
    ("openai.embeddings", {**EMBEDDING, **OPENAI, "cache_read_tokens": 0}),
]
"""Of an answer of the responses API that is not whole it makes no span."""

_INFERENCE = {**OPENAI, **IN_SESSION}
OPENINFERENCE = [
    ("ChatCompletion", {**CHAT, **_INFERENCE, **TOKENS, **STOPPED, **MARKED, **SEEDED}),
    ("ChatCompletion", {**CHAT, **_INFERENCE, **DETAILED, **STOPPED, **MARKED, **SEEDED}),
    ("Response", {**RESPONSE, **_INFERENCE}),
    ("CreateEmbeddings", {**EMBEDDING, **_INFERENCE}),
    ("look_up", {**TOOL, **IN_SESSION}),
    ("search", {**SEARCH, **IN_SESSION}),
]

_STREAM = {
    "operation": "chat",
    "model_requested": "m",
    "model_served": "m",
    "sampling": LIMITED,
    **OPENAI,
    **SEEDED,
}
LOGFIRE = [
    (
        "Chat Completion with {request_data[model]!r}",
        {**CHAT, **OPENAI, **TOKENS, **STOPPED, **SEEDED},
    ),
    ("Chat Completion with {request_data[model]!r}", _STREAM),
    (
        "streaming response from {request_data[model]!r} took {duration:.2f}s",
        {**_STREAM, **DETAILED},
    ),
    ("Responses API with {gen_ai.request.model!r}", {**RESPONSE, **OPENAI}),
    ("Embedding Creation with {request_data[model]!r}", {**EMBEDDING, **OPENAI}),
]
"""A stream is two spans, and neither says which model was served: it repeats the one asked for."""

_GENERATION = {
    "operation": "chat",
    "model_requested": "m-2024",
    "sampling": {**LIMITED, "frequency_penalty": 0.0, "presence_penalty": 0.0},
    **IN_SESSION,
}
_RESPONSE = {**SAMPLING, "frequency_penalty": 0.0, "presence_penalty": 0.0}
LANGFUSE = [
    ("OpenAI-generation", {**_GENERATION, **TOKENS, **SEEDED}),
    ("OpenAI-generation", {**_GENERATION, **DETAILED, **SEEDED, **STOPPED}),
    ("OpenAI-generation", {**_GENERATION, **CACHED, "sampling": _RESPONSE}),
    (
        "OpenAI-embedding",
        {"operation": "embeddings", "model_requested": "e-1", "input_tokens": 4, **IN_SESSION},
    ),
    ("look_up", {"operation": "execute_tool", **IN_SESSION}),
    ("search", {**SEARCH, **IN_SESSION}),
]
"""It names one model: the one served, once it is known. That it was, nothing says."""

MLFLOW = [
    ("Completions", {**CHAT, **TOKENS, **STOPPED, **MARKED, **SEEDED}),
    ("Completions", {**CHAT, **DETAILED, **STOPPED, **MARKED, **SEEDED}),
    ("Responses", RESPONSE),
    ("Embeddings", EMBEDDING),
    ("look_up", TOOL),
    ("search", SEARCH),
]

OPENTELEMETRY = [
    ("chat m", {**CHAT, **OPENAI, **TOKENS, **STOPPED, **MARKED, **SEEDED}),
    ("chat m", {**CHAT, **OPENAI, **DETAILED, **STOPPED, **SEEDED}),
    ("chat m", {**RESPONSE, **OPENAI, **STOPPED}),
    ("embeddings e", {**EMBEDDING, **OPENAI}),
]

CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "openllmetry": OPENLLMETRY,
    "openinference": OPENINFERENCE,
    "logfire": LOGFIRE,
    "langfuse": LANGFUSE,
    "mlflow": MLFLOW,
    "opentelemetry": OPENTELEMETRY,
}
"""By the peer's name in ``peer_worker.py``: its spans in the order they start."""
