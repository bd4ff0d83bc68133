"""One inference span a variant, in a process of its own; prints one JSON line.

usage: python span_worker.py VARIANT SPANS      (SINK in the environment: an OTLP URL)

Nine inference spans under one root, fifteen attributes each, as an SDK wrapper writes them.
``thread`` is CPU of the calling thread (what the request pays), ``process`` that of all threads.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

SPANS_A_REQUEST = 9
ATTRIBUTES: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "bench",
    "gen_ai.request.model": "m",
    "gen_ai.request.temperature": 0.7,
    "gen_ai.request.top_p": 0.9,
    "gen_ai.request.max_tokens": 256,
    "gen_ai.request.seed": 7,
    "gen_ai.response.model": "m-1",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.conversation.id": "c-1",
    "gen_ai.prompt.name": "answer",
    "openai.response.system_fingerprint": "fp_1",
}


def opentelemetry(*, export: bool) -> Callable[[], None]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    class Null(InMemorySpanExporter):
        def export(self, spans: Any) -> Any:
            return None

    exporter = OTLPSpanExporter(endpoint=os.environ["SINK"] + "/v1/traces") if export else Null()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=1 << 16))
    tracer = provider.get_tracer("bench")

    def request() -> None:
        with tracer.start_as_current_span("root"):
            for _ in range(SPANS_A_REQUEST):
                with tracer.start_as_current_span("chat m", attributes=ATTRIBUTES):
                    pass

    return request


def mvtrace_calls(*, is_declared: bool) -> Callable[[], None]:
    import mvtrace

    folder = tempfile.mkdtemp()
    mvtrace.configure(
        service="bench", environment="bench", url=os.environ["SINK"], spool_dir=folder
    )
    system = None
    if is_declared:
        system = mvtrace.composite("bench", mvtrace.model("m", provider="bench", model_id="m"))
    sampling = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 256}

    def request() -> None:
        with mvtrace.request(route="bench", composite=system):
            for _ in range(SPANS_A_REQUEST):
                with mvtrace.generation(
                    "answer", model="m", provider="bench", sampling=sampling, seed=7
                ) as call:
                    call.response(
                        model="m-1",
                        id="chatcmpl-1",
                        fingerprint="fp_1",
                        finish_reason="stop",
                        input_tokens=100,
                        output_tokens=50,
                    )

    return request


VARIANTS: dict[str, Callable[[], Callable[[], None]]] = {
    "opentelemetry": lambda: opentelemetry(export=False),
    "opentelemetry-export": lambda: opentelemetry(export=True),
    "mvtrace": lambda: mvtrace_calls(is_declared=True),
    "mvtrace-undeclared": lambda: mvtrace_calls(is_declared=False),
}


def main() -> None:
    request = VARIANTS[sys.argv[1]]()
    requests = int(sys.argv[2]) // SPANS_A_REQUEST
    for _ in range(50):
        request()
    time.sleep(0.5)
    process, thread = time.process_time(), time.thread_time()
    for _ in range(requests):
        request()
    thread = time.thread_time() - thread
    time.sleep(2.0)
    process = time.process_time() - process
    spans = requests * SPANS_A_REQUEST
    print(json.dumps({"thread_us": thread / spans * 1e6, "process_us": process / spans * 1e6}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
