"""One application that traces with one peer's SDK, through its exporter; a process of its own.

usage: python peer_worker.py PEER      (OPENAI_BASE_URL and the peer's own settings in the environment)

The same four calls to a server of the OpenAI protocol (chat, chat as a stream, responses,
embeddings), then what the SDK has of its own for a tool and a retrieval.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

QUESTION = "planted question"
DOCUMENT = "planted document"
FOUND = [("d-1", 0.75), ("d-2", 0.5)]
LOOK_UP = {
    "name": "look_up",
    "description": "planted description",
    "parameters": {"type": "object", "properties": {}},
}
ASKED: Mapping[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": QUESTION}],
    "temperature": 0.5,
    "top_p": 0.25,
    "max_tokens": 64,
    "seed": 7,
    "tools": [{"type": "function", "function": LOOK_UP}],
}


def calls(client: Any) -> None:
    """Ask the server in each of its ways."""
    client.chat.completions.create(**ASKED)
    with client.chat.completions.create(
        **ASKED, stream=True, stream_options={"include_usage": True}
    ) as stream:
        for _chunk in stream:
            pass
    client.responses.create(model="m", input=QUESTION, temperature=0.5, top_p=0.25)
    client.embeddings.create(model="e", input=[QUESTION])


def provider() -> Any:
    """Return a provider with OpenTelemetry's own exporter, as its environment variables say."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = TracerProvider()
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(made)
    return made


def openllmetry() -> None:
    from openai import OpenAI
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    made = provider()
    OpenAIInstrumentor().instrument(tracer_provider=made)
    calls(OpenAI())
    made.shutdown()


def openinference() -> None:
    from openai import OpenAI
    from openinference.instrumentation import OITracer, TraceConfig, using_session
    from openinference.instrumentation.openai import OpenAIInstrumentor

    made = provider()
    OpenAIInstrumentor().instrument(tracer_provider=made)
    tracer = OITracer(made.get_tracer("app"), TraceConfig())
    with using_session("conversation-1"):
        calls(OpenAI())
        with tracer.start_as_current_span("look_up", openinference_span_kind="tool") as span:
            span.set_tool(name="look_up", parameters={"text": QUESTION})
        with tracer.start_as_current_span("search", openinference_span_kind="retriever") as span:
            span.set_input(QUESTION)
            for number, (name, score) in enumerate(FOUND):
                document = f"retrieval.documents.{number}.document"
                span.set_attribute(f"{document}.id", name)
                span.set_attribute(f"{document}.score", score)
                span.set_attribute(f"{document}.content", DOCUMENT)
    made.shutdown()


def logfire() -> None:
    import logfire as sdk
    from openai import OpenAI

    sdk.configure(send_to_logfire=False, console=False, inspect_arguments=False)
    client = OpenAI()
    sdk.instrument_openai(client)
    calls(client)
    sdk.shutdown()


def langfuse() -> None:
    from langfuse import get_client, propagate_attributes
    from langfuse.openai import OpenAI

    sdk = get_client()
    with propagate_attributes(session_id="conversation-1"):
        calls(OpenAI())
        with sdk.start_as_current_observation(name="look_up", as_type="tool", input=QUESTION):
            pass
        with sdk.start_as_current_observation(name="search", as_type="retriever") as span:
            found = [{"id": name, "score": score, "content": DOCUMENT} for name, score in FOUND]
            span.update(input=QUESTION, output=found)
    sdk.flush()
    sdk.shutdown()


def mlflow() -> None:
    import mlflow as sdk
    from mlflow.entities import Document
    from openai import OpenAI

    sdk.openai.autolog()

    @sdk.trace(span_type="TOOL")
    def look_up(text: str) -> str:
        return text

    @sdk.trace(span_type="RETRIEVER")
    def search(text: str) -> list[Any]:
        return [
            Document(page_content=DOCUMENT, id=name, metadata={"score": score})
            for name, score in FOUND
        ]

    calls(OpenAI())
    look_up(QUESTION)
    search(QUESTION)
    sdk.flush_trace_async_logging()


def opentelemetry() -> None:
    from openai import OpenAI
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    made = provider()
    OpenAIInstrumentor().instrument(tracer_provider=made)
    calls(OpenAI())
    made.shutdown()


def stamped() -> None:
    """OpenInference's spans in a process that mvtrace is in: no exporter but mvtrace's."""
    from openai import OpenAI
    from openinference.instrumentation.openai import OpenAIInstrumentor
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    import mvtrace

    made = TracerProvider()
    trace.set_tracer_provider(made)
    OpenAIInstrumentor().instrument(tracer_provider=made)
    url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    mvtrace.configure(service="stamped", url=url, spool_dir="spool")
    with mvtrace.request(route="queue:jobs"):
        calls(OpenAI())
    mvtrace.shutdown()


PEERS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (openllmetry, openinference, logfire, langfuse, mlflow, opentelemetry, stamped)
}

if __name__ == "__main__":
    PEERS[sys.argv[1]]()
