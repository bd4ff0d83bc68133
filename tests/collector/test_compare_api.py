"""``/api/v1/compare`` where it cannot answer at once or at all, and rollouts among the metrics."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gate_tools import samples_in
from gated import ENVIRONMENT, decision_rows
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient
from stored import new_store
from story import SECOND, SYSTEM

from mvtrace.errors import ConfigurationError, MvtraceError, NotFoundError
from mvtrace.store import Store
from mvtrace_collector import compare_api, rollout_watch
from mvtrace_collector.comparisons import Comparisons
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.looks import Found, Looker, Wanted
from mvtrace_collector.metrics import Metrics
from mvtrace_collector.rollout_metrics import families
from mvtrace_collector.rollout_watch import RolloutWatch

ASKED = f"/api/v1/compare?service=support&environment={ENVIRONMENT}"


class Desk:
    """What the routes and the watch need of a collector, with any way to compute."""

    def __init__(self, compute: Callable[[Wanted], Found], store: Store | None = None) -> None:
        self.comparisons = Comparisons(
            compute,
            project_of=lambda wanted: wanted.asked.project,
            size_of=lambda found: found.size,
        )
        self._store = store

    @property
    def store(self) -> Store:
        assert self._store is not None
        return self._store

    @property
    def inbox(self) -> Any:
        raise AssertionError("nothing is kept")

    def project_of(self, _request: Request) -> str:
        return "default"


@contextmanager
def client(compute: Callable[[Wanted], Found]) -> Iterator[TestClient]:
    """The routes alone, over a desk with *compute*."""
    desk = Desk(compute)
    with TestClient(Starlette(routes=list(compare_api.routes(desk)))) as one:
        yield one
    desk.comparisons.close()


def told(**changes: Any) -> dict[str, Any]:
    """What a look that holds tells."""
    result = {
        "name": "resolved", "role": "goal", "log_e_harm": 0.5, "level_harm": 3.0,
        "log_e_noninferior": None, "level_noninferior": 3.0,
    }  # fmt: skip
    return {
        "decision": "hold", "reason": "undecided", "sentence": "Hold: not decided yet.",
        "baseline": SYSTEM.version, "canary": SECOND.version, "looked_s": 1_800_000_000,
        "gates": [{"name": "mixed", "state": "fail", "said": "x"}],
        "requests": {"baseline": 900, "canary": 100}, "results": [result], **changes,
    }  # fmt: skip


def test_what_takes_long_is_answered_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A comparison that takes longer than a gate waits goes on; it is computed once for all polls.
    """
    monkeypatch.setattr(compare_api, "WAIT_S", 0.05)
    going_on, computed = threading.Event(), list[Wanted]()

    def compute(wanted: Wanted) -> Found:
        computed.append(wanted)
        going_on.wait(30)
        return Found(told(), b"{}")

    with client(compute) as gate:
        first, second = gate.get(ASKED), gate.get(ASKED)
        going_on.set()
        monkeypatch.setattr(compare_api, "WAIT_S", 30.0)
        last = gate.get(ASKED)

    assert (first.status_code, second.status_code) == (503, 503)
    assert first.headers["retry-after"] == "5"
    assert first.json()["error"] == {
        "code": "comparison-pending",
        "message": "The comparison takes longer than 0 s; it goes on, and its answer is kept.",
        "hint": "Ask again in a few seconds.",
        "exit_code": 3,
    }
    assert (last.status_code, last.json()["decision"], len(computed)) == (200, "hold", 1)


def test_a_collector_without_the_statistics_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where the extra is missing each question gets 501 and its name, and no gate passes.
    """
    monkeypatch.setitem(sys.modules, "scipy", None)
    hook = "/api/v1/compare/flagger?hook=rollout&service=s&environment=e"

    with client(Looker(Desk(lambda _: Found({}, b""))).look) as gate:
        answer, closed = gate.get(ASKED), gate.post(hook, json={"metadata": {}})

    assert (answer.status_code, closed.status_code) == (501, 501)
    assert answer.json()["error"] == {
        "code": "extra-missing",
        "message": "This collector cannot compare: a part of mvtrace is not installed (import of "
        "scipy halted; None in sys.modules).",
        "hint": "pip install 'mvtrace[quality]' where the collector runs, and start it again.",
        "exit_code": 3,
    }


def test_a_busy_desk_says_when_to_ask_again() -> None:
    """
    Too many questions at once are 503 with Retry-After, which a gate takes for no verdict.
    """
    going_on = threading.Event()

    def compute(_wanted: Wanted) -> Found:
        going_on.wait(30)
        return Found(told(), b"{}")

    with client(compute) as gate:
        desk: Desk = gate.app.routes[0].endpoint.__self__._state  # type: ignore[attr-defined]
        pending = [
            desk.comparisons.ask(Wanted(compare_api.Asked.of("default", {"service": name,
                                                                         "environment": "e"})))
            for name in ("a", "b", "c")
        ]  # fmt: skip
        answer = gate.get(ASKED)
        going_on.set()
        assert {one.result(30).answer.decision for one in pending} == {"hold"}

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"]["code"] == "comparing-busy"


def test_what_an_operator_sets() -> None:
    """
    How often rollouts are looked at, and what a project may use; 0 turns the looking off.
    """
    environ = {"MVTRACE_STORE": "chdb:///x"}

    plain = CollectorConfig.from_environ(environ=environ)
    assert (plain.rollout_interval_s, plain.compare_share) == (60.0, 0.25)
    set_up = environ | {"MVTRACE_ROLLOUT_INTERVAL_S": "0", "MVTRACE_COMPARE_SHARE": "0.5"}
    changed = CollectorConfig.from_environ(environ=set_up)
    assert (changed.rollout_interval_s, changed.compare_share) == (0.0, 0.5)
    with pytest.raises(ConfigurationError, match="it must be a positive number"):
        CollectorConfig.from_environ(environ=environ | {"MVTRACE_COMPARE_SHARE": "0"})


def test_a_body_is_no_place_for_anything() -> None:
    """
    A hook's body has a limit, however the rest of it is.
    """
    with client(lambda _: Found(told(), b"{}")) as gate:
        hook = "/api/v1/compare/flagger?hook=rollback&service=s&environment=e"
        large = gate.post(hook, content=b'{"metadata": {"x": "' + b"y" * 70_000)

    assert large.status_code == 400
    assert large.json()["error"]["message"] == "body is None; it has at most 65,536 bytes."


def test_metrics_show_so_many_rollouts_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Names are those of running canaries, the latest; what is over the limit is counted.
    """
    monkeypatch.setattr(rollout_watch, "MAX_ROLLOUTS", 3)
    names = ["one", "two", "three", 'a "b" \\c', "five", "reverted", "broken"]

    def compute(wanted: Wanted) -> Found:
        if wanted.asked.service == "broken":
            raise NotFoundError("neither has served a request.")
        return Found(told(), b"{}")

    with new_store(f"chdb://{tmp_path / 'store'}") as store:
        rows = [row for name in names for row in decision_rows("default", name)]
        rows += [decision_rows("default", "reverted", "revert")[0]]
        with store.session() as session:
            session.insert("deployments", list(rows[0]), [list(row.values()) for row in rows])
        desk = Desk(compute, store)
        watch = RolloutWatch(desk)
        _step_until(watch, lambda: watch.rollouts.running == 6)
        desk.comparisons.close()

    metrics = Metrics()
    metrics.show(lambda: families(watch.rollouts, desk.comparisons.counts))
    samples = samples_in(metrics.render().decode())
    shown = {dict(labels)["service"] for labels in samples["mvtrace_rollout_info"]}
    assert shown == {"five", 'a "b" \\c', "three"}
    assert samples["mvtrace_rollouts"] == {frozenset(): 6.0}
    assert samples["mvtrace_rollouts_left_out"] == {frozenset(): 3.0}
    evidence = {dict(labels)["question"] for labels in samples["mvtrace_rollout_log_e"]}
    assert evidence == {"harm"}
    assert set(samples["mvtrace_rollout_failed_gates"].values()) == {1.0}


def _step_until(watch: RolloutWatch, condition: Callable[[], bool]) -> None:
    for _ in range(20):
        watch.step()
        if condition():
            return
    raise MvtraceError(str(watch.rollouts))
