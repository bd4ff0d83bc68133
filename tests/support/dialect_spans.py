"""A span of each dialect as its attributes, and the columns of a call that they fill."""

from __future__ import annotations

import json
from typing import Any

from planted import PROSE

ANSWER = {
    "id": "c-1",
    "model": "m-2024",
    "system_fingerprint": "fp",
    "choices": [{"message": {"content": PROSE}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3},
}
ASKED = {"model": "m", "temperature": 0.5, "top_p": 1, "max_tokens": 64, "seed": 7}
CALL: dict[str, Any] = {
    "operation": "chat",
    "model_requested": "m",
    "model_served": "m-2024",
    "response_id": "c-1",
    "input_tokens": 9,
    "output_tokens": 3,
    "finish_reason": "stop",
    "fingerprint": "fp",
    "seed": 7,
    "sampling": {"temperature": 0.5, "top_p": 1.0, "max_tokens": 64.0},
}
NAMED = {"provider": "openai", "conversation_id": "s-1"}

SPANS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "OpenTelemetry": (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.conversation.id": "s-1",
            "gen_ai.request.model": "m",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.top_p": 1,
            "gen_ai.request.max_tokens": 64,
            "gen_ai.request.choice.count": 2,
            "gen_ai.request.seed": 7,
            "gen_ai.response.model": "m-2024",
            "gen_ai.response.id": "c-1",
            "gen_ai.response.finish_reasons": ["stop", "length"],
            "gen_ai.usage.input_tokens": 9,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.usage.cache_write.input_tokens": 2,
            "gen_ai.usage.reasoning.output_tokens": 1,
            "gen_ai.prompt.name": "greeting",
            "gen_ai.prompt.version": "3",
            "openai.response.system_fingerprint": "fp",
        },
        {
            **CALL,
            **NAMED,
            "finish_reason": "stop, length",
            "cache_read_tokens": 4,
            "cache_write_tokens": 2,
            "reasoning_tokens": 1,
            "prompt_name": "greeting",
            "prompt_version": "3",
            "sampling": {**CALL["sampling"], "choice.count": 2.0},
        },
    ),
    "OpenTelemetry before 1.37": (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "az.ai.openai",
            "gen_ai.usage.prompt_tokens": 9,
            "gen_ai.usage.completion_tokens": 3,
            "gen_ai.usage.cache_creation.input_tokens": 2,
        },
        {
            "operation": "chat",
            "provider": "azure.ai.openai",
            "input_tokens": 9,
            "output_tokens": 3,
            "cache_write_tokens": 2,
        },
    ),
    "OpenTelemetry, retrieval": (
        {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.retrieval.documents": [
                {"id": "d-1", "score": 0.75, "content": PROSE},
                {"id": "d-2"},
            ],
        },
        {"operation": "retrieval", "documents": [("d-1", 0.75), ("d-2", None)]},
    ),
    "OpenTelemetry, tool": (
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up"},
        {"operation": "execute_tool", "tool_name": "look_up"},
    ),
    "OpenLLMetry": (
        {
            "llm.request.type": "completion",
            "gen_ai.system": "OpenAI",
            "gen_ai.request.model": "m",
            "gen_ai.response.model": "m-2024",
            "gen_ai.prompt.0.content": PROSE,
            "gen_ai.completion.10.finish_reason": "length",
            "gen_ai.completion.2.finish_reason": "stop",
            "gen_ai.completion.2.content": PROSE,
            "gen_ai.usage.cache_read_input_tokens": 4,
            "gen_ai.usage.reasoning_tokens": 1,
            "gen_ai.openai.system_fingerprint": "fp",
            "traceloop.association.properties.session_id": "s-1",
            "traceloop.prompt.key": "greeting",
            "traceloop.prompt.version": 3,
            "traceloop.prompt.version_hash": "abc",
        },
        {
            **NAMED,
            "operation": "text_completion",
            "model_requested": "m",
            "model_served": "m-2024",
            "finish_reason": "stop, length",
            "cache_read_tokens": 4,
            "reasoning_tokens": 1,
            "fingerprint": "fp",
            "prompt_name": "greeting",
            "prompt_version": "abc",
        },
    ),
    "OpenLLMetry, tool": (
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "look_up"},
        {"operation": "execute_tool", "tool_name": "look_up"},
    ),
    "OpenInference": (
        {
            "openinference.span.kind": "LLM",
            "llm.system": "openai",
            "llm.model_name": "m-2024",
            "llm.invocation_parameters": json.dumps(ASKED),
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": PROSE,
            "llm.token_count.prompt": 9,
            "llm.token_count.completion": 3,
            "llm.token_count.prompt_details.cache_read": 4,
            "llm.token_count.completion_details.reasoning": 1,
            "output.value": json.dumps(ANSWER),
            "session.id": "s-1",
            "llm.prompt_template.version": "v3",
        },
        {
            **CALL,
            **NAMED,
            "cache_read_tokens": 4,
            "reasoning_tokens": 1,
            "prompt_version": "v3",
        },
    ),
    "OpenInference, embedding": (
        {
            "openinference.span.kind": "EMBEDDING",
            "embedding.model_name": "e-1",
            "embedding.invocation_parameters": '{"model": "e"}',
            "embedding.embeddings.0.embedding.text": PROSE,
            "llm.token_count.prompt": 4,
        },
        {"operation": "embeddings", "model_requested": "e", "input_tokens": 4},
    ),
    "OpenInference, retriever": (
        {
            "openinference.span.kind": "RETRIEVER",
            "retrieval.documents.0.document.id": "d-1",
            "retrieval.documents.0.document.score": 0.75,
            "retrieval.documents.0.document.content": PROSE,
            "retrieval.documents.1.document.id": "ein Dokument",
            "retrieval.documents.1.document.score": 1,
        },
        {"operation": "retrieval", "documents": [("d-1", 0.75), ("ein Dokument", 1.0)]},
    ),
    "OpenInference, tool": (
        {"openinference.span.kind": "TOOL", "tool.name": "look_up", "tool.parameters": PROSE},
        {"operation": "execute_tool", "tool_name": "look_up"},
    ),
    "Langfuse": (
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "m",
            "langfuse.observation.model.parameters": json.dumps(
                {**ASKED, "presence_penalty": "Infinity"}
            ),
            "langfuse.observation.usage_details": json.dumps(
                {
                    "prompt_tokens": 9,
                    "completion_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": None,
                }
            ),
            "langfuse.observation.metadata.finish_reason": '"stop"',
            "langfuse.observation.input": PROSE,
            "langfuse.observation.prompt.name": "greeting",
            "langfuse.observation.prompt.version": 3,
            "session.id": "s-1",
        },
        {
            "operation": "chat",
            "model_requested": "m",
            "input_tokens": 9,
            "output_tokens": 3,
            "cache_read_tokens": 4,
            "finish_reason": "stop",
            "conversation_id": "s-1",
            "prompt_name": "greeting",
            "prompt_version": "3",
            "seed": 7,
            "sampling": CALL["sampling"],
        },
    ),
    "Langfuse, retriever": (
        {
            "langfuse.observation.type": "retriever",
            "langfuse.observation.output": json.dumps(
                [{"id": "d-1", "score": 0.75, "content": PROSE}, {"id": f"no id: {PROSE}"}]
            ),
        },
        {"operation": "retrieval", "documents": [("d-1", 0.75)]},
    ),
    "MLflow": (
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.llm.provider": '"openai"',
            "mlflow.llm.model": '"m-2024"',
            "mlflow.chat.tokenUsage": '{"input_tokens": 9, "cache_read_input_tokens": 4}',
            "mlflow.spanInputs": json.dumps({**ASKED, "messages": [{"content": PROSE}]}),
            "mlflow.spanOutputs": json.dumps(ANSWER),
            "mlflow.trace.session": '"s-1"',
        },
        {**CALL, **NAMED, "cache_read_tokens": 4},
    ),
    "MLflow, stream": (
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.spanInputs": json.dumps(ASKED),
            "mlflow.spanOutputs": json.dumps(
                [
                    {**ANSWER, "choices": [{"finish_reason": None}], "usage": None},
                    {**ANSWER, "object": "chat.completion.chunk"},
                ]
            ),
        },
        CALL,
    ),
    "MLflow, retriever": (
        {
            "mlflow.spanType": '"RETRIEVER"',
            "mlflow.spanOutputs": json.dumps(
                [{"page_content": PROSE, "metadata": {"doc_uri": "d/1.md", "score": 0.75}}]
            ),
        },
        {"operation": "retrieval", "documents": [("d/1.md", 0.75)]},
    ),
    "MLflow, tool": (
        {"mlflow.spanType": '"TOOL"', "mlflow.spanFunctionName": '"look_up"'},
        {"operation": "execute_tool", "tool_name": "look_up"},
    ),
    "Logfire": (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.response.finish_reasons": '["stop"]',
            "gen_ai.usage.raw": json.dumps(
                {
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 1},
                }
            ),
            "request_data": json.dumps({**ASKED, "messages": [{"content": PROSE}]}),
            "response_data": json.dumps({"message": {"content": PROSE}, "usage": ANSWER["usage"]}),
        },
        {
            "operation": "chat",
            "provider": "openai",
            "model_requested": "m",
            "input_tokens": 9,
            "output_tokens": 3,
            "cache_read_tokens": 4,
            "reasoning_tokens": 1,
            "finish_reason": "stop",
            "seed": 7,
            "sampling": CALL["sampling"],
        },
    ),
    "Vercel AI": (
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.model.id": "m",
            "ai.model.provider": "openai.chat",
            "ai.response.id": "c-1",
            "ai.response.model": "m-2024",
            "ai.response.finishReason": "stop",
            "ai.usage.promptTokens": 9,
            "ai.usage.completionTokens": 3,
            "ai.settings.temperature": 0.5,
            "ai.settings.seed": 7,
        },
        {
            **CALL,
            "provider": "openai.chat",
            "sampling": {"temperature": 0.5},
            "fingerprint": None,
        },
    ),
    "the most specific first": (
        {
            "gen_ai.request.model": "first",
            "llm.model_name": "second",
            "gen_ai.usage.input_tokens": "of a wrong type",
            "gen_ai.usage.prompt_tokens": -1,
            "llm.token_count.prompt": 9,
            "openinference.span.kind": "NONE OF THE WORDS",
            "llm.request.type": "chat",
            "llm.invocation_parameters": "no JSON",
            "output.value": '{"id": "c-1", "model": "not an answer of the protocol"}',
        },
        {"operation": "chat", "model_requested": "first", "input_tokens": 9},
    ),
    "indexed far beyond what is read": (
        {f"gen_ai.completion.{number}.finish_reason": "stop" for number in (0, 199, 200, 9999)}
        | {"gen_ai.completion.00.finish_reason": "no", "gen_ai.completion.-1.finish_reason": "no"},
        {"finish_reason": "stop, stop"},
    ),
    "no call": ({"http.route": "/", "model": "m", "temperature": 0.5, "id": "c-1"}, {}),
}
"""What is sent, and what is filled; None says that it is not."""
