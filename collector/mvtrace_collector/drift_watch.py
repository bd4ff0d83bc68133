"""The scheduled sweep for drift: over whatever has become queryable since the last one.

In: after each load, the minutes its requests lie in; at the start, what came in since the last
sweep before. Out: rows of drift and its episodes, an event in the log for each that begins or ends,
and the numbers for /metrics. One thread, one statement at a time, each bounded in time and memory.
How far was swept is in a file of the inbox's directory; without it the last day is swept again,
which changes nothing that is known.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mvtrace.errors import StatementFailedError, UnavailableError
from mvtrace.explain.drift import Episode, dashed
from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace_collector.drift_dirty import Dirty, Minutes, chunks, halves
from mvtrace_collector.drift_sweep import QUIET_MS, DriftSweep
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.logs import event
from mvtrace_collector.statements import statement

_LOGGER: Final = logging.getLogger(__name__)

INTERVAL_S: Final = 30.0
"""How often is swept, where nothing else is set."""
EVENT: Final = "mvtrace.drift"
LOOK_BACK_MS: Final = 86_400_000
"""How far the first sweep of all looks back."""
SLACK_MS: Final = 600_000
WIDE: Final = 120
"""Of a range with more minutes those with new requests are asked for."""
MAX_PROJECTS: Final = 256
KINDS: Final = frozenset(
    {
        *("model", "embedding_model", "index", "prompt", "tools", "router", "postprocess"),
        *("guardrail", "sampling", "stack", "code", "custom"),
    }
)
"""What a metric may be labelled by; the rest, which senders may invent, is ``other``."""
_REFRESH_S: Final = 60.0
_MAX_BACKOFF_S: Final = 60.0
_MINUTE_MS: Final = 60_000
_DAY_MINUTES: Final = 1_440
_RECENT_DAYS: Final = 33
_FILE: Final = "drift.json"
_SETTINGS: Final = {
    "max_threads": 1,
    "max_execution_time": 20,
    "max_memory_usage": 1 << 30,
    "optimize_read_in_order": 1,
}


@dataclass(frozen=True, slots=True)
class DriftNumbers:
    """What the sweep says at one moment."""

    open: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Open episodes by kind and basis."""
    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests they affected, likewise."""
    swept_at: float = 0.0
    """Unix time of the last sweep that came to its end; 0 before the first."""
    failed: int = 0
    """Minutes that could not be swept, since the start."""


class DriftWatch:
    """Sweeps what one collector stores."""

    def __init__(self, store: Store, inbox: Inbox, *, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._inbox = inbox
        self._interval_s = interval_s
        self._file = inbox.directory / _FILE
        self._numbers = DriftNumbers()
        self._session: Session | None = None
        self._sweeps: dict[str, DriftSweep] = {}
        self._refreshed_at = 0.0
        self._swept_ms: int | None = None
        self._news = threading.Lock()
        self._dirty = Dirty()
        self._stepping = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)

    @property
    def numbers(self) -> DriftNumbers:
        """What is known of open drift, for any thread."""
        return self._numbers

    def stored(self, numbers: Sequence[tuple[Any, ...]]) -> None:
        """Note what a load has stored; from the loader's thread."""
        with self._news:
            for project, *_, lowest_ms, highest_ms in numbers:
                self._dirty.add(project, (lowest_ms // _MINUTE_MS, highest_ms // _MINUTE_MS))

    def start(self) -> None:
        """Begin to sweep, unless the interval is 0."""
        if self._interval_s > 0:
            self._thread.start()

    def stop(self) -> None:
        """End; a statement under way is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._stepping:
            self._forget_session()

    def sweep_now(self) -> None:
        """Sweep what is stored by now, for somebody who asks what drifted.

        Raises:
            UnavailableError: the store does not answer.

        """
        with self._stepping:
            if not self._stop.is_set():
                self._guarded_step()

    def _run(self) -> None:
        pause = self._interval_s
        while not self._stop.wait(pause):
            try:
                with self._stepping:
                    self._guarded_step()
                pause = self._interval_s
            except Exception as error:
                # Whatever it was: what drifted can still be found the next time.
                is_foreseen = isinstance(error, UnavailableError)
                _LOGGER.warning("Drift cannot be swept: %s", error, exc_info=not is_foreseen)
                pause = min(2 * pause, max(_MAX_BACKOFF_S, self._interval_s))

    def _guarded_step(self) -> None:
        try:
            self.step()
        except Exception:
            self._forget_session()
            raise

    def step(self) -> None:
        """Sweep everything that is new; not for two threads at once.

        Raises:
            UnavailableError: the store does not answer; the next step begins with the same.

        """
        lag = self._inbox.lag()
        reached_ms = min(lag.oldest_ms or 1 << 62, time.time_ns() // 1_000_000)
        if self._swept_ms is None:
            self._begin()
        with self._news:
            taken = self._dirty.take()
        try:
            while taken and not self._stop.is_set():
                project, minutes = taken[0]
                for one in self._narrowed(project, minutes):
                    taken += [(project, more) for more in self._sweep(project, one)]
                del taken[0]
        finally:
            with self._news:
                for project, minutes in taken:
                    self._dirty.add(project, minutes)
        if not self._stop.is_set():
            self._note_end(reached_ms)

    def _begin(self) -> None:
        """Take up what came in since the last sweep of an earlier process."""
        now_ms = time.time_ns() // 1_000_000
        kept = _read(self._file)
        self._swept_ms = now_ms - LOOK_BACK_MS if kept is None else min(kept, now_ms)
        newest = now_ms // _MINUTE_MS + _DAY_MINUTES
        try:
            minutes = self._received("", (0, newest))
        except StatementFailedError as error:  # too many requests to look at all of them
            _LOGGER.warning("Late records of old requests are not looked for: %s", error)
            minutes = self._received("", (newest - _RECENT_DAYS * _DAY_MINUTES, newest))
        with self._news:
            for project, minute in minutes:
                self._dirty.add(project, (minute, minute))

    def _narrowed(self, project: str, minutes: Minutes) -> list[Minutes]:
        """Return *minutes* in chunks; of a wide range only those in which something is new."""
        if minutes[1] - minutes[0] <= WIDE:
            return list(chunks(minutes))
        only = Dirty()
        try:
            found = self._received(project, minutes)
        except StatementFailedError as error:
            _LOGGER.warning("A range of minutes cannot be swept for drift: %s", error)
            self._failed(minutes)
            found = []
        for _, minute in found:
            only.add(project, (minute, minute))
        return [one for _, part in only.take() for one in chunks(part)]

    def _received(self, project: str, minutes: Minutes) -> list[tuple[str, int]]:
        rows = self._current_session().query(
            statement("drift_received", self._store.database),
            {
                "since_ms": (self._swept_ms or 0) - SLACK_MS,
                "project": project,
                "first": f"{minutes[0] * _MINUTE_MS:012x}{'0' * 20}",
                "last": f"{(minutes[1] + 1) * _MINUTE_MS - 1:012x}{'f' * 20}",
            },
        )
        return [(str(of_project), int(minute)) for of_project, minute in rows.rows]

    def _sweep(self, project: str, minutes: Minutes) -> tuple[Minutes, ...]:
        """Sweep *minutes*, in halves where that is too much at once; return what is to be swept."""
        try:
            swept = self._of(project).sweep(minutes)
        except UnavailableError:
            raise
        except StatementFailedError as error:
            if minutes[0] < minutes[1]:
                return tuple(
                    again for half in halves(minutes) for again in self._sweep(project, half)
                )
            _LOGGER.warning("A minute cannot be swept for drift: %s", error)
            return self._failed(minutes)
        except Exception:
            # Whatever somebody's records hold: others are swept, and nothing is tried for ever.
            _LOGGER.exception("Minutes cannot be swept for drift")
            self._forget_session()
            return self._failed(minutes)
        for episode in swept.episodes:
            tell(episode)
        return swept.again

    def _failed(self, minutes: Minutes) -> tuple[Minutes, ...]:
        count = minutes[1] - minutes[0] + 1
        self._numbers = _changed(self._numbers, failed=self._numbers.failed + count)
        return ()

    def _of(self, project: str) -> DriftSweep:
        session = self._current_session()
        if project not in self._sweeps:
            if len(self._sweeps) >= MAX_PROJECTS:
                self._sweeps.clear()
            self._sweeps[project] = DriftSweep(session, self._store.database, project)
        return self._sweeps[project]

    def _note_end(self, reached_ms: int) -> None:
        quiet = max(0, time.time_ns() // 1_000_000 - QUIET_MS)
        rows = self._current_session().query(
            statement("drift_open", self._store.database), {"quiet": f"{quiet:012x}{'0' * 20}"}
        )
        episodes: Counter[tuple[str, str]] = Counter()
        requests: Counter[tuple[str, str]] = Counter()
        for kind, basis, count, affected in rows.rows:
            key = (kind if kind in KINDS else "other", basis)
            episodes[key] += count
            requests[key] += affected
        self._numbers = _changed(
            self._numbers, open=episodes, requests=requests, swept_at=time.time()
        )
        if reached_ms != self._swept_ms:
            self._swept_ms = reached_ms
            with contextlib.suppress(OSError):  # then the next start sweeps more than it needs to
                _write(self._file, reached_ms)

    def _current_session(self) -> Session:
        is_shared = self._store.kind != "embedded"
        if is_shared and time.monotonic() - self._refreshed_at > _REFRESH_S:
            self._sweeps.clear()  # other collectors of the same store learn of changes too
            self._refreshed_at = time.monotonic()
        if self._session is None:
            self._session = self._store.open_session(_SETTINGS)
        return self._session

    def _forget_session(self) -> None:
        self._sweeps.clear()
        if self._session is not None:
            session, self._session = self._session, None
            self._store.close_session(session)


def tell(episode: Episode) -> None:
    """Write that an episode begins or ended: ids and counts, nothing a sender wrote."""
    event(
        _LOGGER,
        logging.WARNING,
        EVENT,
        "Drift ended" if episode.state == "ended" else "Drift found",
        drift=episode.id,
        state=episode.state,
        basis=episode.key.basis,
        requests=episode.requests,
        first_request=dashed(episode.first),
        last_request=dashed(episode.last),
    )


def _changed(numbers: DriftNumbers, **facts: Any) -> DriftNumbers:
    kept = {name: getattr(numbers, name) for name in numbers.__slots__}
    return DriftNumbers(**{**kept, **facts})


def _read(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_text("utf-8"))["swept_ms"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(path: Path, swept_ms: int) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"swept_ms": swept_ms}), "utf-8")
    temporary.replace(path)
