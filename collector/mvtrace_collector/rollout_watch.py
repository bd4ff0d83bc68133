"""What runs, looked at each minute, so that /metrics tells verdicts and e-values of rollouts.

In: the decisions about what serves. Out: the numbers of each canary that runs, the latest ones
first and only so many of them. The looks are those that a gate gets, from the same thread, within
an allowance of their own, and nothing of them is kept: a scrape decides nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mvtrace.errors import MvtraceError
from mvtrace.store.store import Store
from mvtrace_collector.compared import Asked
from mvtrace_collector.comparisons import Comparisons
from mvtrace_collector.looks import Found, NoCanaryError, PartMissingError, Wanted
from mvtrace_collector.statements import statement

_LOGGER: Final = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
"""How often is looked, where nothing else is set."""
MAX_ROLLOUTS: Final = 50
"""That are shown: each takes up to some eighty series."""
MAX_METRICS: Final = 16
"""Of one rollout; those that decide come first."""
ACCOUNT: Final = "*"
"""On whose time it looks: its own, so that no gate is sent away for it. No project is called so."""
_WAIT_S: Final = 60.0
_SETTINGS: Final = {"max_threads": 1, "max_execution_time": 20}
_DECIDING: Final = ("goal", "guardrail")

Place = tuple[str, str, str]
"""Project, service, environment: the labels of a rollout."""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What is known of the canaries that run; for any thread."""

    told: Mapping[Place, Mapping[str, Any]]
    """By place, the newest look; see ``looks.told_of``."""
    running: int = 0
    left_out: int = 0
    """Canaries that are not shown: over the limit, or they could not be looked at."""


class State(Protocol):
    """What the watch needs of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def comparisons(self) -> Comparisons[Wanted, Found]: ...


class RolloutWatch:
    """Looks at what runs, in a thread of its own."""

    def __init__(self, state: State, *, interval_s: float = INTERVAL_S) -> None:
        self._state = state
        self._interval_s = interval_s
        self._rollouts = Rollouts({})
        self._stop = threading.Event()
        self._is_able = True
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    @property
    def rollouts(self) -> Rollouts:
        """What was seen last."""
        return self._rollouts

    def start(self) -> None:
        """Begin to look, unless the interval is 0."""
        if self._interval_s > 0:
            self._thread.start()

    def stop(self) -> None:
        """End; a look under way is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while self._is_able and not self._stop.wait(self._interval_s):
            try:
                self.step()
            except Exception as error:
                # Whatever it was: what runs can still be looked at the next time.
                is_foreseen = isinstance(error, MvtraceError)
                _LOGGER.warning("Rollouts cannot be seen: %s", error, exc_info=not is_foreseen)

    def step(self) -> None:
        """Look at everything that runs.

        Raises:
            MvtraceError: it cannot be told what runs.
        """
        places = self._places()
        before = self._rollouts.told
        told: dict[Place, Mapping[str, Any]] = {}
        running = left_out = 0
        for place in places:
            if self._stop.is_set():
                return
            if len(told) >= MAX_ROLLOUTS:
                running, left_out = running + 1, left_out + 1
                continue
            try:
                told[place] = self._look(place)
                running += 1
            except NoCanaryError:
                continue
            except PartMissingError as error:
                _LOGGER.warning("Rollouts are not looked at: %s", error)
                self._is_able = False
                return
            except (MvtraceError, TimeoutError, CancelledError) as error:
                _LOGGER.info("A rollout cannot be looked at: %s", error)
                running += 1
                if place in before:
                    told[place] = before[place]  # with the time at which it was so
                else:
                    left_out += 1
        self._rollouts = Rollouts(told, running, left_out)

    def _look(self, place: Place) -> Mapping[str, Any]:
        project, service, environment = place
        asked = Asked(project=project, service=service, environment=environment)
        pending = self._state.comparisons.ask(Wanted(asked), account=ACCOUNT)
        return pending.result(_WAIT_S).answer.told

    def _places(self) -> list[Place]:
        store = self._state.store
        text = statement("rollouts_running", store.database)
        # More than are shown: some of them have ended by a revert, which the folded state tells.
        found = store.query(text, {"most": 4 * MAX_ROLLOUTS}, settings=_SETTINGS)
        return [(str(project), str(service), str(where)) for project, service, where in found.rows]


def results_shown(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the metrics of a look that are shown, those that decide first."""
    ranked = sorted(told["results"], key=lambda one: one["role"] not in _DECIDING)
    return list(ranked[:MAX_METRICS])
