"""What tracing costs the application, beside bare OpenTelemetry in the same run, as ratios."""

from __future__ import annotations

import http.server
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("MVTRACE_BENCH_ROUNDS", "5"))

pytestmark = pytest.mark.benchmark


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes every post and says 200; the collectors of both sides are left out of the measure."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def sink() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def measured(script: str, *arguments: str, sink: str) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env={**os.environ, "SINK": sink},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout.splitlines()[-1]))


Round = dict[str, dict[str, float]]
"""What each variant took."""


def interleaved(script: str, variants: tuple[str, ...], *arguments: str, sink: str) -> list[Round]:
    """Run every variant once a round, in turn, so that a slow minute hits them all."""
    return [
        {name: measured(script, name, *arguments, sink=sink) for name in variants}
        for _ in range(ROUNDS)
    ]


def medians(rounds: list[Round]) -> Round:
    return {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in found}
        for name, found in rounds[0].items()
    }


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):5.2f} [{min(values):.2f}..{max(values):.2f}]"


@pytest.mark.parametrize("route", ["/json", "/stream"])
def test_middleware_beside_opentelemetry(route: str, sink: str) -> None:
    """
    Prints the CPU a request costs more than on the bare application, and the ratio to the peers.
    """
    variants = ("bare", "wrapper", "mvtrace", "opentelemetry-tuned", "opentelemetry")
    rounds = interleaved("capture_worker.py", variants, route, "3000", sink=sink)
    found = medians(rounds)
    added = {name: one["process_us"] - found["bare"]["process_us"] for name, one in found.items()}

    print(f"\nmiddleware {route}: bare {found['bare']['process_us']:.1f} us a request")
    for name in variants[1:]:
        calling = found[name]["calling_us"] - found["bare"]["calling_us"]
        print(
            f"  {name:20} +{added[name]:7.1f} us process, +{calling:7.1f} us while answering, "
            f"{spread(_ratios(rounds, name))} x mvtrace"
        )

    assert set(found) == set(variants)


def test_rollout_beside_none(sink: str) -> None:
    """
    Prints what drawing for a user, and telling it on record and spans, adds to a request: paired with
    requests without it in one process, and of whole processes.
    """
    paired = [measured("rollout_worker.py", "150", sink=sink) for _ in range(ROUNDS)]
    rounds = interleaved(
        "capture_worker.py", ("mvtrace", "mvtrace-rollout"), "/json", "6000", sink=sink
    )

    added = statistics.median(one["added_us"] for one in paired)
    ratios = [one["ratio"] for one in paired]
    print(f"\nrollout +{added:4.1f} us while answering, {spread(ratios)} x without")
    processes = [[one[name]["process_us"] for one in rounds] for name in rounds[0]]
    added = statistics.median(b - a for a, b in zip(*processes, strict=True))
    ratios = [b / a for a, b in zip(*processes, strict=True)]
    print(f"rollout +{added:4.1f} us of the process, {spread(ratios)} x without")

    assert len(rounds) == len(paired) == ROUNDS


def _ratios(rounds: list[Round], name: str) -> list[float]:
    """Return what *name* adds to the bare application beside what we add, round by round."""
    return [
        (one[name]["process_us"] - one["bare"]["process_us"])
        / (one["mvtrace"]["process_us"] - one["bare"]["process_us"])
        for one in rounds
    ]


def test_inference_span_beside_opentelemetry(sink: str) -> None:
    """
    Prints what one inference span costs the calling thread and the process, and the ratios.
    """
    variants = ("opentelemetry", "mvtrace", "opentelemetry-export", "mvtrace-undeclared")
    rounds = interleaved("span_worker.py", variants, "9000", sink=sink)
    found = medians(rounds)

    print(f"\none inference span of fifteen attributes, {ROUNDS} rounds")
    for name, one in found.items():
        # Of each round its own ratio: what a slow minute does to both sides cancels out.
        ratios = [each[name]["thread_us"] / each["opentelemetry"]["thread_us"] for each in rounds]
        print(
            f"  {name:22} {one['thread_us']:6.1f} us thread, {one['process_us']:6.1f} us process, "
            f"{spread(ratios)} x bare OpenTelemetry on the thread"
        )

    assert set(found) == set(variants)
