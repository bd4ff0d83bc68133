"""llama.cpp's OpenAI-compatible server, in a process of its own, on a free loopback port.

``xllamacpp`` brings the server as a library: ``Server(params)`` loads the model, binds, and serves
on threads of its own. Here it gets a process, as in production, so that the application asks it
over HTTP and survives its death. It ends when its standard input does: none is left behind.

    python -m examples.rag_llm.llm_server --model gemma --port 8080
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from examples.rag_llm.models import LANGUAGE_MODELS, LanguageModel

REPOSITORY: Final = Path(__file__).resolve().parents[2]
STOP_SECONDS: Final = 10
CONTEXT: Final = 2048
"""Tokens a request may have, prompt and answer together."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers: its base URL (without ``/v1``), model id and process id."""

    url: str
    model_id: str
    pid: int


@contextmanager
def running(model: str = "gemma", port: int = 0, parallel: int = 2) -> Iterator[RunningServer]:
    """Run the server as a subprocess while the block runs.

    With *parallel* above 1, requests at the same time share a batch, and then the same seed may
    give another answer; with 1 they wait for one another and repeat exactly.

    Raises:
        RuntimeError: it ended before it was ready; its own words are on standard error.
    """
    command = [sys.executable, "-m", "examples.rag_llm.llm_server"]
    command += ["--model", model, "--port", str(port), "--parallel", str(parallel)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _ready(process)
        finally:
            _stop(process)


def _ready(process: subprocess.Popen[str]) -> RunningServer:
    """Wait for the one line that the server prints once the model is loaded."""
    line = _pipe(process.stdout).readline()
    if not line:
        raise RuntimeError(f"the language model's server ended with {process.wait()}")
    return RunningServer(**json.loads(line))


def _stop(process: subprocess.Popen[str]) -> None:
    """Close its input, which asks it to end; terminate it, by its own id, if it does not."""
    _pipe(process.stdin).close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the subprocess was started without this pipe")
    return stream


def serve(model: LanguageModel, port: int, parallel: int, threads: int) -> None:
    """Serve *model* on *port* (0: a free one) until standard input ends."""
    import xllamacpp  # noqa: PLC0415  (100 MB that a parent process has no use for)

    params = xllamacpp.CommonParams()
    params.model.path = str(model.locate())
    params.model_alias = {model.model_id}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.offline = True
    params.ui = False
    params.verbosity = 1  # errors only
    params.n_parallel = parallel
    params.n_ctx = CONTEXT * parallel
    params.cpuparams.n_threads = threads
    server = xllamacpp.Server(params)
    ready = RunningServer(server.listening_address, model.model_id, os.getpid())
    print(json.dumps(asdict(ready)), flush=True)
    with suppress(KeyboardInterrupt):
        sys.stdin.read()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(LANGUAGE_MODELS), default="gemma")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--parallel", type=int, default=2, help="requests served at a time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    model = LANGUAGE_MODELS[arguments.model]
    serve(model, arguments.port, arguments.parallel, arguments.threads)


if __name__ == "__main__":
    main()
