"""Exports as OpenLLMetry and its neighbours write them, with something planted in every place.

Each form of content that their instrumentors have used: numbered prompts and completions, entities,
``llm.*``, messages as events and as log records, what an exception and a status say, and the same
under resource, scope, links, and in values that are no text.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

MARK = "openai-chat-that-is-kept"
"""A name that is no content: found wherever the rows are."""
ANSWER = 4711471147114711

TEXT_KEYS = (
    "gen_ai.prompt.0.content",
    "gen_ai.prompt.1.tool_calls.0.arguments",
    "gen_ai.completion.0.content",
    "gen_ai.completion.0.reasoning",
    "gen_ai.completion.0.tool_calls.0.arguments",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.openai.api_key",
    "llm.prompts.0.content",
    "llm.completions.0.content",
    "llm.input_messages.0.message.content",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
    "llm.request.functions.0.parameters",
    "llm.request.functions.0.description",
    "llm.prompt_template.variables",
    "llm.invocation_parameters",
    "llm.headers",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "traceloop.prompt.template",
    "traceloop.prompt.template_variables",
    "db.query.result.document",
    "input.value",
    "output.value",
    "exception.message",
    "url.query",
    "http.request.header.authorization",
)
VALUE_KEYS = {
    "mlflow.chat.messages": "array",
    "all_messages": "map",
    "mlflow.spanInputs": "bytes",
    "embedding.vector": "doubles",
    "ai.value": "number",
    "ai.embedding": "double",
    "final_result": "bool",
}


def value_of(kind: str, text: str) -> AnyValue:
    """Return *text*, or a number, in a value that is no plain text."""
    value = AnyValue()
    if kind == "array":
        value.array_value.values.add().string_value = text
    elif kind == "map":
        value.kvlist_value.values.add(key="content").value.string_value = text
    elif kind == "bytes":
        value.bytes_value = text.encode()
    elif kind == "doubles":
        value.array_value.values.add().double_value = 0.4711
    elif kind == "number":
        value.int_value = ANSWER
    elif kind == "double":
        value.double_value = 4711.25
    else:
        value.bool_value = True
    return value


def traces(text: str) -> ExportTraceServiceRequest:
    """Return spans with *text* in every place where content has been found."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _add(resource.resource.attributes, "service.name", "shop")
    for key in ("process.command_args", "gen_ai.prompt.0.content"):
        _add(resource.resource.attributes, key, text)
    scope = resource.scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.openai"
    _add(scope.scope.attributes, "traceloop.entity.input", text)
    span = scope.spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=MARK)
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    span.status.code, span.status.message = span.status.STATUS_CODE_ERROR, text
    _fill(span, text)
    return request


def _fill(span: Span, text: str) -> None:
    for key in TEXT_KEYS:
        _add(span.attributes, key, text)
    for key, kind in VALUE_KEYS.items():
        span.attributes.add(key=key).value.CopyFrom(value_of(kind, text))
    for name, key in (
        ("exception", "exception.message"),
        ("exception", "exception.stacktrace"),
        ("gen_ai.user.message", "content"),
        ("gen_ai.choice", "message"),
        ("gen_ai.content.prompt", "gen_ai.prompt"),
        ("gen_ai.content.completion", "gen_ai.completion"),
        ("db.query.result", "db.query.result.document"),
        ("log", "gen_ai.input.messages"),
    ):
        event = span.events.add(name=name, time_unix_nano=time.time_ns())
        _add(event.attributes, key, text)
        event.attributes.add(key="gen_ai.tool.definitions").value.CopyFrom(value_of("map", text))
    link = span.links.add(trace_id=os.urandom(16), span_id=os.urandom(8))
    _add(link.attributes, "traceloop.entity.input", text)
    link.attributes.add(key="all_messages").value.CopyFrom(value_of("array", text))


def logs(text: str) -> ExportLogsServiceRequest:
    """Return log records as instrumentors write messages, with *text* as content."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    _add(resource.resource.attributes, "process.command_line", text)
    records = resource.scope_logs.add().log_records
    for number, name in enumerate(
        (
            "gen_ai.user.message",
            "gen_ai.system.message",
            "gen_ai.choice",
            "gen_ai.assistant.message",
        )
    ):
        record = records.add(time_unix_nano=time.time_ns(), trace_id=os.urandom(16))
        if number % 2:
            record.event_name = name
            record.body.string_value = text
        else:
            _add(record.attributes, "event.name", name)
            record.body.CopyFrom(value_of("map", text))
        _add(record.attributes, "content", text)
        _add(record.attributes, "gen_ai.prompt", text)
    record = records.add(event_name="gen_ai.client.inference.operation.details")
    record.time_unix_nano, record.trace_id = time.time_ns(), os.urandom(16)
    _add(record.attributes, "gen_ai.input.messages", text)
    record.attributes.add(key="gen_ai.output.messages").value.CopyFrom(value_of("array", text))
    return request


class _Attributes(Protocol):
    """What resources, scopes, spans, events, links and records have."""

    def add(self, *, key: str) -> KeyValue: ...


def _add(attributes: _Attributes, key: str, text: str) -> None:
    attributes.add(key=key).value.string_value = text
