"""Run it all: language model, collector, app; ask a few questions and explain one answer.

    python -m examples.rag_llm.run

Everything listens on loopback, on free ports, and ends with this process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from examples.rag_llm.app import create_app
from examples.rag_llm.llm_server import running

QUESTIONS: Final = (
    "When does the else clause of a while loop run?",
    "What does the global statement do?",
    "What is the capital of France?",
)
START_SECONDS: Final = 60


@contextmanager
def collector(folder: str) -> Iterator[str]:
    """Run the collector with its store in *folder*; yield its URL."""
    url = f"http://127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "mvtrace", "collector"]
    command += ["--store", f"chdb://{folder}/store", "--listen", url.removeprefix("http://")]
    with subprocess.Popen(command) as process:
        try:
            _wait_for(f"{url}/healthz", process)
            yield url
        finally:
            process.terminate()


@contextmanager
def app() -> Iterator[str]:
    """Serve the app from a thread of this process; yield its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],), name="app")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def ask(url: str, question: str, **own: float) -> dict[str, Any]:
    """Post a question to the app at *url*; *own* is the caller's seed or temperature."""
    body = json.dumps({"question": question, **own}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/ask", body, headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def show(question: str, answer: dict[str, Any]) -> None:
    """Print an answer and what it was made from."""
    found = ", ".join(f"{p['id']} {p['score']:.3f}" for p in answer["passages"])
    print(f"\nQ: {question}\nA: {answer['answer']}")
    print(f"   {answer['route']}, seed {answer['seed']}, passages {found}")
    print(f"   request {answer['request_id']}", flush=True)


def explain(request_id: str) -> None:
    """Print why this request got its answer; the record needs a moment to arrive."""
    command = [sys.executable, "-m", "mvtrace", "explain", request_id]
    subprocess.run(command, check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once *url* answers; raise if *process* ended or took too long."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"nothing answers at {url}")


def main() -> None:
    """Start everything, ask, explain the first answer, stop everything."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as folder, collector(folder) as store:
        os.environ["MVTRACE_URL"] = store
        with running() as llm:
            os.environ["RAG_LLM_URL"] = llm.url
            with app() as url:
                answers = [ask(url, question, seed=7) for question in QUESTIONS]
        for question, answer in zip(QUESTIONS, answers, strict=True):
            show(question, answer)
        print()
        explain(answers[0]["request_id"])


if __name__ == "__main__":
    main()
