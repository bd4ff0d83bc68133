"""status, verify and watch as people and scripts run them, against a real collector."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from processes import collector, running

from mvtrace.cli.probes import folder_for
from mvtrace.cli.spools import spools
from mvtrace.cli.status import status_words
from mvtrace.cli.verify import verification_words
from mvtrace.cli.watch import Found, summary_words
from mvtrace.store import open_store
from snapshots import Snapshots

LIGHT = ("clickhouse_connect", "chdb", "rich", "starlette", "pandas", "numpy", "pyarrow")
CAPTURE = """
import os, sys, mvtrace
mvtrace.configure(service="shop", url=sys.argv[1], spool_dir=sys.argv[2], exit_grace_s=0)
system = mvtrace.composite("shop", mvtrace.custom("one", purpose="test"))
with mvtrace.request(route="/ask", composite=system) as request:
    mvtrace.alias("ticket", "T-1")
print(mvtrace.flush(float(sys.argv[3])), flush=True)
if len(sys.argv) > 4:
    print(request.request_id, flush=True)
    sys.stdin.read()
os._exit(0)
"""


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mvtrace", *arguments]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MVTRACE_")}
    return subprocess.run(
        command, capture_output=True, check=False, timeout=120, env=kept | environ, text=True
    )


def capture(url: str, spool: Path, *, wait_s: float = 10.0) -> str:
    command = [sys.executable, "-c", CAPTURE, url, str(spool), str(wait_s)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def wait_until(condition: Any, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)


def test_status_of_a_healthy_collector(tmp_path: Path) -> None:
    """
    One screen: version, store, checks, what waits, what is stored, the spools; exit code 0.
    """
    with collector(tmp_path) as one:
        capture(one.url, tmp_path / "spool")
        told: dict[str, Any] = {}

        def is_stored() -> bool:
            shown = run("status", "--url", one.url, "--json", "--spool", str(tmp_path / "spool"))
            told.update(json.loads(shown.stdout), code=shown.returncode)
            return told["collector"]["stored_rows"].get("requests") == 1

        wait_until(is_stored)
        screen = run("status", "--url", one.url, "--spool", str(tmp_path / "spool"))

    assert told["code"] == screen.returncode == 0
    assert told["collector"]["healthy"]
    assert told["collector"]["lag"]["batches"] == 0
    assert {check["status"] for check in told["collector"]["checks"].values()} == {"ok"}
    assert f"at {one.url}   healthy" in screen.stdout
    assert "1 requests" in screen.stdout
    assert screen.stderr == ""


def test_status_without_a_collector(tmp_path: Path) -> None:
    """
    With nobody at the URL the exit code is 3, and the spools of this host are shown all the same.
    """
    url = "http://127.0.0.1:9"
    capture(url, tmp_path / "spool", wait_s=0.2)

    shown = run("status", "--url", url, "--spool", str(tmp_path / "spool"))

    assert shown.returncode == 3
    assert "error: collector-unreachable" in shown.stdout
    assert re.search(r"shop +[0-9a-f-]{36} +orphaned +[0-9.]+ \w+ +oldest", shown.stdout)


def test_status_of_spools_tells_the_living_from_the_orphaned(tmp_path: Path) -> None:
    """
    Without their processes: who lives, how much waits since when, what was answered last.
    """
    url, spool = "http://127.0.0.1:9", tmp_path / "spool"
    capture(url, spool, wait_s=0.2)
    command = [sys.executable, "-c", CAPTURE, url, str(spool), "1", "stay"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == b"False\n"
        living.stdout.readline()
        shown = run("status", "--spool", str(spool), "--json")
        living.communicate()

    found = json.loads(shown.stdout)["spools"]
    assert shown.returncode == 0
    assert {one["service"] for one in found["producers"]} == {"shop"}
    assert any(one["alive"] for one in found["producers"])
    assert found["undelivered_bytes"] == sum(one["undelivered_bytes"] for one in found["producers"])
    oldest = max(found["producers"], key=lambda one: one["oldest_s"])
    assert 0 < oldest["oldest_s"] < 60
    assert oldest["undelivered_bytes"] > 500
    answers = [one["last_answer"] for one in found["producers"] if one["last_answer"]]
    assert answers
    assert {one["verdict"] for one in answers} == {"busy"}
    assert "refused" in answers[0]["text"]


def test_a_late_spool_is_something_wrong(tmp_path: Path) -> None:
    """
    What has not been delivered for minutes makes the exit code 1.
    """
    spool = tmp_path / "spool"
    capture("http://127.0.0.1:9", spool, wait_s=0.2)

    now = spools(spool)
    [producer] = now["producers"]
    producer["oldest_s"] = 301.0
    later = {**now, "healthy": False}

    assert now["healthy"]
    assert "oldest 5 min 1 s" in status_words({"spools": later})
    assert spools(tmp_path / "nothing") == {
        "folder": str(tmp_path / "nothing"),
        "healthy": True,
        "producers": [],
        "undelivered_bytes": 0,
        "refused_bytes": 0,
    }


def test_verify_finds_and_repairs_through_a_collector_and_directly(tmp_path: Path) -> None:
    """
    A missing alias is found with exit code 1, by --store and through the collector, which repairs
    it; afterwards the exit code is 0 and the request is found by its name again.
    """
    with collector(tmp_path) as one:
        capture(one.url, tmp_path / "spool")
        wait_until(lambda: run("explain", "ticket:T-1", "--url", one.url).returncode == 0)
    with open_store(f"chdb://{tmp_path / 'store'}") as store:
        store.command(
            "ALTER TABLE request_aliases DELETE WHERE kind = 'ticket' SETTINGS mutations_sync = 1"
        )
    directly = run("verify", "--store", f"chdb://{tmp_path / 'store'}")
    with collector(tmp_path) as one:
        lost = run("explain", "ticket:T-1", "--url", one.url, "--wait", "0")
        found = run("verify", "--url", one.url, "--json")
        repaired = run("verify", "--url", one.url, "--repair")
        after = run("verify", "--url", one.url, "--since", "1h")
        explained = run("explain", "ticket:T-1", "--url", one.url)

    assert (directly.returncode, lost.returncode, found.returncode) == (1, 1, 1)
    assert "WRONG   aliases present" in directly.stdout
    checks = {check["check"]: check for check in json.loads(found.stdout)["checks"]}
    assert [name for name, check in checks.items() if check["state"] == "wrong"] == [
        "aliases present"
    ]
    assert checks["aliases present"]["examples"][0].startswith("ticket T-1 -> ")
    assert checks["accepted batches"]["checked"] > 0
    assert (repaired.returncode, after.returncode, explained.returncode) == (0, 0, 0)
    assert "everything checked holds" in after.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("verify", "--url", "http://127.0.0.1:9"), 3, "error: collector-unreachable"),
        (("verify", "--store", "chdb:///nowhere/at/all"), 3, "error: store-unreachable"),
        (("verify", "--store", "chdb:///x", "--url", "http://x"), 2, "error: usage"),
        (("verify", "--store", "chdb:///x", "--since", "yesterday"), 2, "error: filter"),
        (("watch", "--interval", "soon"), 2, "error: usage"),
        (("watch", "--for", "0s", "--folder", "/tmp/unused-watch"), 2, "error: usage"),
    ],
)
def test_failures(arguments: tuple[str, ...], code: int, line: str) -> None:
    """
    2: wrong use, 3: unreachable; stdout stays empty and stderr says which error it is.
    """
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[0] == line


def test_watch_finds_what_was_lost_and_what_was_altered(tmp_path: Path) -> None:
    """
    A run over a whole collector is well; a later one finds the record that is gone and the one
    whose bytes are others, and says so with exit code 1.
    """
    watch = ("watch", "--interval", "300ms", "--folder", str(tmp_path / "watch"))
    with collector(tmp_path) as one:
        first = run(*watch, "--for", "1s", "--url", one.url, "--json")
    *rounds, summary = map(json.loads, first.stdout.splitlines())
    with open_store(f"chdb://{tmp_path / 'store'}") as store:
        rows = store.query("SELECT request_id_text, service FROM requests ORDER BY request_id").rows
        change = "SETTINGS mutations_sync = 1"
        store.command(
            f"ALTER TABLE requests DELETE WHERE request_id_text = '{rows[0][0]}' {change}"
        )
        store.command(
            "ALTER TABLE requests UPDATE record = replaceOne(record, 'watch', 'WATCH') "
            f"WHERE request_id_text = '{rows[1][0]}' {change}"
        )
    with collector(tmp_path) as one:
        second = run(*watch, "--for", "600ms", "--url", one.url)

    assert (first.returncode, first.stderr) == (0, "")
    assert len(rounds) == summary["sent"] == summary["explained"] == len(rows) == 4
    assert {service for _, service in rows} == {"mvtrace.watch"}
    assert 0 < summary["lag_s"]["p50"] <= summary["lag_s"]["p95"] <= summary["lag_s"]["max"] < 60
    assert second.returncode == 1
    assert "missing 1, different 1" in second.stdout
    assert f"missing {rows[0][0]}: " in second.stdout
    assert f"different {rows[1][0]}: other bytes" in second.stdout


def test_watch_serves_metrics_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """
    With a port the counts can be scraped; SIGTERM ends the run with its summary.
    """
    command = [sys.executable, "-m", "mvtrace", "watch", "--interval", "200ms", "--metrics-port"]
    folder = ("--folder", str(tmp_path / "watch"))
    with (
        collector(tmp_path) as one,
        running([*command, "0", "--url", one.url, *folder], tmp_path / "watch.log") as run,
    ):
        scraped = ""

        def is_counted() -> bool:
            nonlocal scraped
            scraped = urllib.request.urlopen(f"{run.url}/metrics").read().decode()
            found = re.search(r"mvtrace_watch_explained_total (\d+)", scraped)
            return found is not None and int(found[1]) > 1

        wait_until(is_counted)
        run.process.send_signal(signal.SIGTERM)
        code = run.process.wait(30)

    assert code == 0
    assert "mvtrace_watch_missing 0" in scraped
    assert 'mvtrace_watch_lag_seconds{quantile="0.95"}' in scraped
    assert (tmp_path / "watch.log").read_text().endswith("all is well\n")


def test_watch_of_nobody_is_not_well(tmp_path: Path) -> None:
    """
    A collector that does not answer leaves the probes unexplained: exit code 1.
    """
    done = run(
        *("watch", "--for", "300ms", "--interval", "200ms", "--patience", "500ms"),
        *("--url", "http://127.0.0.1:9", "--folder", str(tmp_path / "watch")),
    )

    assert done.returncode == 1
    assert "no answer after" in done.stdout
    assert done.stdout.endswith("something is wrong\n")


def test_watch_remembers_by_collector_and_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What was sent to one collector, or for one project, is never looked for at another.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    places = {
        folder_for(url, project) for url in ("http://a:1", "http://b:1") for project in ("p", "q")
    }

    assert len(places) == 4
    assert {place.parent for place in places} == {tmp_path / "mvtrace" / "watch"}
    assert folder_for("http://a:1", "p") in places


def test_the_commands_start_light(tmp_path: Path) -> None:
    """
    Neither command imports a database, a web framework or data frames.
    """
    check = (
        "import sys; from mvtrace.cli.main import run; "
        f"run(['status', '--spool', {str(tmp_path)!r}]); "
        "import mvtrace.cli.watching; "
        f"print([m for m in {LIGHT!r} if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    direct = subprocess.run(
        [sys.executable, "-c", check.replace("run([", "0 and run([")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "no producer" in done.stdout
    assert direct.stdout.strip() == "[]"


HOSTILE = "evil\x1b[2J\u202e\nname"


def test_output_is_inert(snapshots: Snapshots) -> None:
    """
    Whatever a service, a reason or an alias is called, the screen shows signs and moves nothing.
    """
    status = {
        "spools": {
            "folder": "/spool",
            "healthy": True,
            "undelivered_bytes": 2048,
            "refused_bytes": 1,
            "producers": [
                {
                    "producer": "01a2076a-62ea-71bb-a911-b8f200eabff5",
                    "service": HOSTILE,
                    "environment": None,
                    "last_number": 3,
                    "alive": True,
                    "undelivered_bytes": 2048,
                    "oldest_s": 61.0,
                    "delivered_s": None,
                    "last_answer": {"at": 4_000_000_000_000, "verdict": "busy", "text": HOSTILE},
                }
            ],
        },
        "collector": {
            "healthy": False,
            "version": "0.1.0",
            "url": "http://127.0.0.1:4318",
            "store": "chdb:///var/lib/mvtrace",
            "uptime_s": 93_784.0,
            "checks": {
                "store": {"status": "ok"},
                "lag": {"status": "failing", "reason": HOSTILE, "hint": "Wait."},
            },
            "lag": {"batches": 2, "bytes": 5 << 20, "seconds": 400.0},
            "rates": {"spans": 12.5, "log_records": 3.0, "batches": 1.0, "bytes": 20_000.0},
            "stored_rows": {"spans": 4000, "requests": 50},
            "load_errors": 2,
            "quarantine": {HOSTILE: {"rows": 3, "last_hour": 1}},
            "gaps": 1,
            "detached_parts": [{"table": "spans", "reason": "broken-on-start", "parts": 1}],
            "disk_free_bytes": {"inbox": 3 << 30},
        },
    }
    result = {
        "ok": False,
        "seconds": 1.5,
        "checks": [
            {"check": "record digests", "what": "they hold", "state": "ok", "checked": 1234,
             "wrong": 0, "repaired": 0, "hint": "", "examples": []},
            {"check": "aliases present", "what": "they are there", "state": "wrong", "checked": 9,
             "wrong": 12, "repaired": 0, "hint": "Repair.", "examples": [HOSTILE]},
        ],
    }  # fmt: skip
    found = Found(sent=3, explained=2, rechecked=7, unreachable=1, lags=[0.5, 0.25])
    found.missing["01a2076a-62fa-70c1-a925-96897e0284b9"] = "not explained after 61 s"

    snapshots.check("status.txt", status_words(status))
    snapshots.check("verify.txt", verification_words(result, as_json=False)[0])
    snapshots.check("watch.txt", summary_words(found))
