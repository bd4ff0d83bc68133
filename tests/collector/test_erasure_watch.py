"""Two collectors on one store: what one erases, the other forgets too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mvtrace.store import Store, migrate, open_store
from mvtrace_collector.erasure import Eraser
from mvtrace_collector.erasure_watch import ErasureWatch
from mvtrace_collector.payload_keys import KeyStore, PayloadKey, now_ms

SUBJECT = "hmac-sha256:00000000:" + "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path / 'db'}") as opened:
        migrate(opened)
        yield opened


class Side:
    """One collector's part in erasing: its key store, and its eyes on the store that both share."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.keys = KeyStore(folder)
        self.eraser = Eraser(store, self.keys, threading.Lock())
        self.watch = ErasureWatch(lambda: self.eraser)

    def keep(self, key_id: str, subject: str = SUBJECT) -> None:
        self.keys.keep([PayloadKey("default", key_id, subject, b"wrapped", now_ms())])

    def has(self, key_id: str) -> bool:
        return key_id in self.keys.wrapped("default", [key_id])


@pytest.fixture
def sides(store: Store, tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    both = Side(store, tmp_path / "one.keys"), Side(store, tmp_path / "two.keys")
    yield both
    for side in both:
        side.keys.close()


def test_another_collectors_erasure_destroys_the_key_here(sides: tuple[Side, Side]) -> None:
    """
    A subject's keys are destroyed at both collectors, its later ones and those of others at none, and
    both know the erasure from then on.
    """
    one, two = sides
    one.keep("k1")
    two.keep("k2")
    two.keep("k3", subject=SUBJECT[:-1] + "0")
    assert not two.watch.look()
    one.eraser.erase("default", SUBJECT, by="me", reason="asked for it")

    assert not two.watch.look()

    assert (one.has("k1"), two.has("k2"), two.has("k3")) == (False, False, True)
    assert two.keys.tombstones() == one.keys.tombstones()
    two.keep("k2")
    assert not two.has("k2")


def test_a_round_is_bounded(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Many erasures at once are followed some at a time, until none is left.
    """
    monkeypatch.setattr("mvtrace_collector.erasure._FOLLOWED_AT_A_TIME", 2)
    one, two = sides
    for number in range(3):
        subject = f"{SUBJECT[:-1]}{number}"
        two.keep(f"k{number}", subject=subject)
        one.eraser.erase("default", subject, by="me", reason="")

    assert two.watch.look()
    assert not two.watch.look()

    assert not any(two.has(f"k{number}") for number in range(3))


def test_watch_runs_by_itself(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A running watch follows without being asked, and ends when it is told to.
    """
    monkeypatch.setattr("mvtrace_collector.erasure_watch.LOOK_SECONDS", 0.05)
    one, two = sides
    two.keep("k2")
    stop = threading.Event()
    thread = threading.Thread(target=two.watch.run, args=(stop,))
    thread.start()
    one.eraser.erase("default", SUBJECT, by="me", reason="")
    gone = threading.Event()
    for _ in range(200):
        if not two.has("k2"):
            break
        gone.wait(0.05)
    stop.set()
    thread.join(10)

    assert not two.has("k2")
    assert not thread.is_alive()
