"""llama.cpp's real server behind ``mvtrace proxy``: the same bytes, and full evidence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from sink import Sink

from mvtrace.records import RequestRecord
from mvtrace.wire import record_of

ROOT = Path(__file__).resolve().parents[2]
ASKED: dict[str, Any] = {
    "model": "gemma-3-270m-q4_k_m",
    "messages": [{"role": "user", "content": "Name three colours."}],
    "temperature": 0.0,
    "seed": 7,
    "max_tokens": 24,
}
VARYING = {"id", "created", "timings", "usage"}
"""What the server itself makes anew with every answer; usage tells what its cache had."""

pytestmark = pytest.mark.llm


@contextmanager
def llama_cpp() -> Iterator[str]:
    """Run the example's server; yields its URL."""
    command = [sys.executable, "-m", "examples.rag_llm.llm_server", "--parallel", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the language model's server did not start"
        yield json.loads(line)["url"]
        process.stdin.close()
        process.wait(30)


@contextmanager
def proxying(upstream: str, sink: Sink, folder: Path) -> Iterator[str]:
    """Run the command; yields its URL, and ends it as a supervisor does."""
    command = [sys.executable, "-m", "mvtrace", "proxy", "--upstream", upstream]
    environ = {**os.environ, "MVTRACE_URL": sink.url, "MVTRACE_SPOOL_DIR": str(folder)}
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("mvtrace proxy listens on http://127.0.0.1:")
        yield line.split(",")[0].rpartition(" ")[2]
        process.terminate()
        assert process.wait(30) == 0


class Recording(httpx2.BaseTransport):
    """The real transport; keeps every body as it came."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._inner.handle_request(request)
        self.bodies.append(answer.read())
        return httpx2.Response(answer.status_code, headers=answer.headers, content=self.bodies[-1])

    def close(self) -> None:
        self._inner.close()


def asked(url: str, *, is_stream: bool) -> tuple[str, bytes]:
    """The text of an answer through the client, and its body."""
    transport = Recording()
    with httpx2.Client(transport=transport) as http:
        client = OpenAI(base_url=f"{url}/v1", api_key="loopback", max_retries=0, http_client=http)
        if is_stream:
            options = {"include_usage": True}
            pieces = client.chat.completions.create(**ASKED, stream=True, stream_options=options)
            deltas = [piece.choices[0].delta.content for piece in pieces if piece.choices]
            return "".join(delta or "" for delta in deltas), transport.bodies[0]
        answer = client.chat.completions.create(**ASKED)
        return answer.choices[0].message.content or "", transport.bodies[0]


def lasting(body: bytes) -> list[Any]:
    """The JSON values of an answer, without what the server makes anew each time."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.strip()]
    plain = [json.loads(line) for line in lines if line != b"[DONE]"]
    return [{key: fact for key, fact in one.items() if key not in VARYING} for one in plain]


def finished(sink: Sink) -> list[RequestRecord]:
    records = [
        record_of(log.body.string_value) for log in sink.logs if log.event_name == "mvtrace.request"
    ]
    return [record for record in records if record.state == "finished"]


def test_llama_cpp_behind_the_proxy(sink: Sink, tmp_path: Path) -> None:
    """
    Streaming and not, the client gets what the server says without the proxy, and the record has
    model, sampling, seed, tokens, finish reason and the answer's id.
    """
    with llama_cpp() as url_of_model:
        direct = [asked(url_of_model, is_stream=is_stream) for is_stream in (False, True)]
        with proxying(url_of_model, sink, tmp_path) as url:
            through = [asked(url, is_stream=is_stream) for is_stream in (False, True)]

    sink.wait_for(lambda one: len(finished(one)) == 2)
    for one, other in zip(direct, through, strict=True):
        assert one[0]
        assert other[0] == one[0]
        assert lasting(other[1]) == lasting(one[1])
    for record, is_stream in zip(finished(sink), (False, True), strict=True):
        [call] = record.calls
        assert (call.model_requested, call.seed) == (ASKED["model"], 7)
        assert call.model_served
        assert call.sampling == {"temperature": 0.0, "max_tokens": 24}
        assert call.usage is not None
        assert call.usage.output_tokens
        assert call.finish_reason in {"stop", "length"}
        assert (call.response_id or "").startswith("chatcmpl-")
        assert (call.time_to_first_chunk_ns is not None) == is_stream
        assert record.response_bytes == len(through[is_stream][1])
        assert record.composite_version is not None
