"""What the collector sees of its store, asked for by scrapes and by its own thread."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from mvtrace.store import migrate, open_store
from mvtrace_collector import observer
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.metrics import Metrics
from mvtrace_collector.observer import Observer


def test_a_store_that_failed_is_not_asked_by_every_scrape(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    After a look that failed, who asks gets what was seen last at once, until the observer itself
    has found the store well again.
    """
    caplog.set_level(logging.INFO)
    with open_store(f"chdb://{tmp_path / 'store'}") as store:
        migrate(store)
        seen_by = Observer(SimpleNamespace(store=store, metrics=Metrics()))  # type: ignore[arg-type]
        first = seen_by.sighting()
        store.command("RENAME TABLE quarantine TO moved")
        seen_by._look()

        seen = [seen_by.sighting() for _ in range(3)]

        store.command("RENAME TABLE moved TO quarantine")
        seen_by._look()
        assert seen == [first] * 3
        assert [record.message for record in caplog.records] == ["The store cannot be asked"]
        assert seen_by.sighting().at > first.at


def test_who_asks_does_not_wait_for_a_look_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While the observer's thread waits for its store, a scrape gets what was seen last.
    """
    monkeypatch.setattr(observer, "ASKED_S", 0.01)
    answers = threading.Event()
    with open_store(f"chdb://{tmp_path / 'store'}") as store:
        migrate(store)
        seen_by = Observer(SimpleNamespace(store=store, metrics=Metrics()))  # type: ignore[arg-type]
        first = seen_by.sighting()
        hanging = threading.Thread(target=lambda: _hold(seen_by._looking, answers))
        hanging.start()
        while not seen_by._looking.locked():
            time.sleep(0.001)

        assert seen_by.sighting() is first

        answers.set()
        hanging.join()


def test_numbers_are_told_of_a_collector_whose_inbox_is_gone(tmp_path: Path) -> None:
    """
    A deleted inbox makes /readyz say so, and takes neither the metrics nor the status away.
    """
    config = CollectorConfig(store=f"chdb://{tmp_path / 'store'}")
    with TestClient(build_app(config)) as client:
        shutil.rmtree(config.inbox_dir)

        ready, metrics, status = map(client.get, ("/readyz", "/metrics", "/api/v1/status"))

        assert (ready.status_code, metrics.status_code, status.status_code) == (503, 200, 200)
        assert 'mvtrace_disk_free_bytes{place="store"}' in metrics.text
        assert list(status.json()["disk_free_bytes"]) == ["store"]
        config.inbox_dir.mkdir()


def _hold(lock: threading.Lock, until: threading.Event) -> None:
    with lock:
        until.wait(10)
