"""``mvtrace demo``: start collector and server, ask some hundred questions, explain one answer.

Everything is real and on loopback: two processes, HTTP between them, the engine on disk. Half-way
the index is rebuilt without declaring it; the explanation printed is of a request after that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2

from mvtrace.demo.corpus import questions
from mvtrace.errors import UnavailableError

START_TIMEOUT_S: Final = 60.0
LISTENS: Final = re.compile(r"listens on (http://[0-9.:]+)[^0-9.:]")


def run(*, requests: int, as_json: bool, serve: bool) -> int:
    """Run the demo with *requests* questions; print an explanation, or one JSON object.

    Raises:
        UnavailableError: collector or server did not start, or an answer was not explained.
    """
    folder = Path(tempfile.mkdtemp(prefix="mvtrace-demo-"))
    started = time.monotonic()
    say = _silent if as_json else _say
    say(f"mvtrace demo: collector, server, {requests} requests, all on loopback; data in {folder}")
    with _collector(folder) as url, _server(folder, url) as app_url:
        say(f"collector {url}, inference server {app_url} (up after {_since(started)})")
        first, last = _asked(app_url, requests, say)
        explanation = _explained(url, last)
        say(f"{requests} answers, explained after {_since(started)}\n")
        reader = f"--url {url}" if serve else f"--store chdb://{folder / 'store'}"
        if as_json:
            _print_json(explanation, first, last, reader)
        else:
            _print_text(url, first, last, reader)
        if serve:
            _wait()
    return 0


def _print_json(explanation: dict[str, Any], first: str, last: str, reader: str) -> None:
    plain = {
        "reader": reader,
        "request_ids": {"before_reindex": first, "after_reindex": last},
        "explanation": explanation,
    }
    sys.stdout.write(json.dumps(plain, indent=2) + "\n")
    sys.stdout.flush()


def _print_text(url: str, first: str, last: str, reader: str) -> None:
    subprocess.run([*_mvtrace(), "explain", last, "--url", url], check=True)  # noqa: S603
    _say(f"""
How to go on:
  mvtrace explain {first} {reader}     # before the silent reindex
  mvtrace find --since 1h --service pydoc-assistant {reader}
  mvtrace sql "SELECT composite_version, count(), sum(drift) FROM requests GROUP BY 1" {reader}
""")


def _asked(app_url: str, requests: int, say: Any) -> tuple[str, str]:
    """Ask half, reindex silently, ask the rest; return the first and the last request id."""
    asked = questions(requests)
    half = max(1, requests // 2)
    with httpx2.Client(base_url=app_url, timeout=30) as client:
        ids = [_ask(client, text, seed) for seed, text in enumerate(asked[:half])]
        reply = client.post("/admin/reindex", json={"words_per_passage": 300}).raise_for_status()
        say(f"{half} answers; index rebuilt with {reply.json()['passages']} passages, undeclared")
        ids += [_ask(client, text, seed) for seed, text in enumerate(asked[half:], half)]
        # One more with a question the index knows little of, so that the text model answers.
        ids.append(_ask(client, "Why would anyone combine these two ideas?", requests))
    return ids[0], ids[-1]


def _ask(client: httpx2.Client, text: str, seed: int) -> str:
    reply = client.post("/ask", json={"question": text, "seed": seed}).raise_for_status()
    return str(reply.headers["x-mvtrace-request-id"])


def _explained(url: str, request_id: str) -> dict[str, Any]:
    """Return the explanation once the record has come all the way."""
    deadline = time.monotonic() + 30
    while True:
        reply = httpx2.get(
            f"{url}/api/v1/explanation", params={"id": request_id, "wait": 5}, timeout=30
        )
        if reply.is_success:
            return dict(reply.json())
        if time.monotonic() > deadline:
            raise UnavailableError(f"The collector did not explain {request_id}: {reply.text}")
        time.sleep(0.2)


@contextlib.contextmanager
def _collector(folder: Path) -> Iterator[str]:
    command = [*_mvtrace(), "collector", "--store", f"chdb://{folder / 'store'}"]
    with _process([*command, "--listen", "127.0.0.1:0"], {}, folder / "collector.log") as url:
        yield url


@contextlib.contextmanager
def _server(folder: Path, url: str) -> Iterator[str]:
    environment = {"MVTRACE_URL": url, "MVTRACE_SPOOL_DIR": str(folder / "spool")}
    command = [sys.executable, "-m", "mvtrace.demo.server"]
    with _process(command, environment, folder / "server.log") as app_url:
        yield app_url


@contextlib.contextmanager
def _process(command: list[str], extra: dict[str, str], log: Path) -> Iterator[str]:
    """Run *command* until the block ends; yield the address it says it listens on."""
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=sink, stderr=sink, env={**os.environ, **extra}
        )
        try:
            yield _address(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = LISTENS.search(log.read_text(errors="replace"))
        if found:
            return found.group(1)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise UnavailableError(
        f"{' '.join(str(part) for part in process.args)} did not start: "  # type: ignore[union-attr]
        f"{log.read_text(errors='replace').strip()[-2000:]}",
        hint="pip install 'mvtrace[demo]' brings all it needs.",
    )


def _mvtrace() -> list[str]:
    return [sys.executable, "-m", "mvtrace"]


def _wait() -> None:
    _say("Serving until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _silent(text: str) -> None:
    del text
