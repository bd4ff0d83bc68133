"""How ``mvtrace watch`` runs: rounds at an interval, metrics on a port, an end in good order.

In: options. Out: the exit code. SIGTERM and SIGINT end a run as its time does: with the summary.
"""

from __future__ import annotations

import http.server
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import json_text
from mvtrace.cli.listing import write
from mvtrace.cli.probes import Sender, SentProbes
from mvtrace.cli.remote import Collector
from mvtrace.cli.watch import Found, Watch, summary_words
from mvtrace.errors import ConfigurationError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LENGTH: Final = re.compile(r"(\d{1,9}(?:\.\d+)?)(ms|s|m|h|d)")
_COUNTERS: Final = {
    "sent": ("mvtrace_watch_sent_total", "Probes sent."),
    "explained": ("mvtrace_watch_explained_total", "Probes explained."),
    "rechecked": ("mvtrace_watch_rechecked_total", "Looks at older probes."),
    "unreachable": ("mvtrace_watch_unreachable_total", "Questions without an answer."),
}
_GAUGES: Final = {
    "missing": ("mvtrace_watch_missing", "Probes that are not there."),
    "different": ("mvtrace_watch_different", "Probes that are not what was sent."),
}
LAG: Final = ("mvtrace_watch_lag_seconds", "From sending to explained.")


def length_of(key: str, text: str) -> float:
    """Return the seconds of a length of time such as ``10s``.

    Raises:
        CommandLineError: *text* is none.
    """
    found = _LENGTH.fullmatch(text)
    if not found or not float(found[1]):
        raise CommandLineError(f"{key} is {text!r}; it is a length of time such as 10s, 10m or 1h.")
    return float(found[1]) * _UNITS[found[2]]


def metrics_text(found: Found) -> str:
    """Return *found* in Prometheus' text form."""
    lines: list[str] = []
    for name, (metric, text) in _COUNTERS.items():
        lines += _metric(metric, text, "counter", getattr(found, name))
    for name, (metric, text) in _GAUGES.items():
        lines += _metric(metric, text, "gauge", len(getattr(found, name)))
    metric, text = LAG
    lines += [f"# HELP {metric} {text}", f"# TYPE {metric} summary"]
    for share in (0.5, 0.95, 1.0):
        lag = found.lag(share)
        if lag is not None:
            lines.append(f'{metric}{{quantile="{share:g}"}} {lag:.6f}')
    lines += [f"{metric}_sum {sum(found.lags):.6f}", f"{metric}_count {len(found.lags)}"]
    return "\n".join(lines) + "\n"


def _metric(name: str, text: str, kind: str, value: int) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]


def run(url: str, key: str | None, folder: Path, *, project: str, options: dict[str, Any]) -> int:
    """Watch until the time is over or a signal comes; return the exit code."""
    interval_s = length_of("--interval", options["interval"])
    length_s = length_of("--for", options["length"]) if options["length"] else float("inf")
    as_json = bool(options["as_json"])
    watch = Watch(
        Collector(url, api_key=key, project=project),
        sender := Sender(url, folder, project=project),
        SentProbes(folder),
        patience_s=length_of("--patience", options["patience"]),
    )
    with _metrics_server(options["metrics_port"], watch.found), _ended_by_signals():
        try:
            _rounds(watch, interval_s, length_s, as_json=as_json)
            watch.finish()
        except KeyboardInterrupt:
            pass  # an end like any other
        finally:
            sender.close()
    found = watch.found
    write(json_text(found.to_dict(), indent=None) if as_json else summary_words(found))
    return 0 if found.is_well else 1


def _rounds(watch: Watch, interval_s: float, length_s: float, *, as_json: bool) -> None:
    started = time.monotonic()
    number = 0
    while number * interval_s < length_s:
        due = started + number * interval_s
        time.sleep(max(0.0, due - time.monotonic()))
        watch.round(interval_s)
        number += 1
        if as_json:
            write(json_text({"round": number, **watch.found.to_dict()}, indent=None))
        elif sys.stderr.isatty():
            told = watch.found
            sys.stderr.write(
                f"\rsent {told.sent:,}, explained {told.explained:,}, missing "
                f"{len(told.missing):,}, different {len(told.different):,} "
            )
            sys.stderr.flush()
    if sys.stderr.isatty() and not as_json:
        sys.stderr.write("\n")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _metrics_server(port: int | None, found: Found) -> Iterator[None]:
    """Serve the metrics on loopback while the block runs; port 0 takes a free one, and says it."""
    if port is None:
        yield
        return

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = metrics_text(found).encode()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a scrape is no event."""

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        problem = f"the system refuses it: {error.strerror or error}"
        raise ConfigurationError("--metrics-port", port, problem) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    sys.stderr.write(f"mvtrace watch listens on http://127.0.0.1:{server.server_port}\n")
    sys.stderr.flush()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
