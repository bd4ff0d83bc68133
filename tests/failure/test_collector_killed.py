"""The collector dies: at every named place, and at random, while producers go on sending."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from obligations import Judge, Ledger
from supervised import Supervised
from wire_producer import Load

PLACES = [
    "inbox.before-commit@3",
    "inbox.after-commit@3",
    "receiver.after-answer@3",
    "inbox.before-index@1",
    "loader.during-insert@1+1",
    "loader.during-insert@2+3",
    "loader.during-insert@3+8",
    "loader.between-tables@1",
    "loader.before-mark@1",
    "loader.after-mark@1",
]
"""Before the commit, after it and before the 200, after the 200, before the index knows, within an
insert of each table, between tables, after the inserts, after the mark."""


def test_killed_at_every_place(collector: Supervised) -> None:
    """
    A collector killed at each named place of accepting and loading, one after the other, keeps what
    it acknowledged; what is sent again or loaded again is stored once.
    """
    ledger = Ledger()
    with Load(collector.url, ledger, senders=2, requests=10, rest_s=0.02) as load:
        for place in PLACES:
            collector.kill()
            collector.start(MVTRACE_FAILPOINTS=place)
            assert collector.wait_dead() == -9, place
            collector.start()
        time.sleep(0.5)
    found = Judge(collector.url).verdict(ledger)
    found.show(f"collector killed at {', '.join(PLACES)}; answers {load.answers}")
    found.hold()
    assert found.repeats == 0


def test_killed_at_random(collector: Supervised, times: Callable[[int], int]) -> None:
    """
    A collector that is killed a hundred times at random moments loses nothing that it acknowledged
    and stores nothing twice.
    """
    ledger = Ledger()
    chance = random.Random(20261123)
    with Load(collector.url, ledger, senders=2, requests=10, rest_s=0.1) as load:
        for _ in range(times(100)):
            # Short lives die before they have loaded anything, long ones within some load.
            time.sleep(chance.uniform(0.0, chance.choice((0.3, 1.2, 3.0))))
            collector.kill()
            collector.start()
        time.sleep(0.5)
    found = Judge(collector.url).verdict(ledger)
    found.show(f"collector killed {collector.kills} times at random; answers {load.answers}")
    found.hold()
    assert found.repeats == 0


def test_killed_during_insert(collector: Supervised, times: Callable[[int], int]) -> None:
    """
    An engine that is killed fifty times while it inserts ends with every row once.
    """
    ledger = Ledger()
    chance = random.Random(8)
    kills = times(50)
    collector.kill()
    collector.start(MVTRACE_FAILPOINTS="loader.during-insert@2+5")
    with Load(collector.url, ledger, senders=2, requests=30, rest_s=0.2) as load:
        for number in range(kills):
            assert collector.wait_dead(60) == -9
            # Some inserts take 2 ms and some 20, and a load has up to nine of them.
            trap = f"loader.during-insert@{chance.randint(1, 4)}+{chance.randint(0, 12)}"
            collector.start(**({} if number == kills - 1 else {"MVTRACE_FAILPOINTS": trap}))
        time.sleep(0.5)
    found = Judge(collector.url).verdict(ledger)
    found.show(f"engine killed {kills} times during insert; answers {load.answers}")
    found.hold()
    assert found.repeats == 0
