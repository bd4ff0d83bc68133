"""Whether the roll-up is far enough for a comparison.

In: a store, a project, the hours that are compared. Out: nothing, or a refusal that says how far it
is behind. What a sweep did not reach is missing of both arms alike only by luck: bad news that came
last would be left out. How far the collector swept is in the store, so the answer is the same for
whoever asks, and after a restart.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from mvtrace.errors import UnavailableError
from mvtrace.store.statements import Statements
from mvtrace.store.store import Store

BEHIND_MS: Final = 3_600_000
"""What was received that long ago is in the roll-up, or nothing is compared."""
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
_ID_DIGITS: Final = 20
"""What an id has after its milliseconds."""


class QualityBehindError(UnavailableError):
    """The roll-up lacks what was received long ago; nothing is compared by it."""

    code = "quality-behind"

    def __init__(self, project: str, since_ms: int, behind_ms: int, lacking: int) -> None:
        minutes = behind_ms // _MINUTE_MS
        if lacking:
            hours = "an hour" if lacking == 1 else f"{lacking} hours"
            which = f": {hours} of it could not be made anew"
        else:
            which = ""
        late = f"{minutes // 60} h {minutes % 60} min"
        super().__init__(
            f"The roll-up of quality of project {project!r} is {late} behind{which}. It lacks what "
            f"was received since {_time(since_ms)}, so nothing is compared.",
            hint="The collector of this store makes it, every MVTRACE_QUALITY_INTERVAL_S: its log "
            "says what fails, its metric mvtrace_quality_behind_seconds how far it is; where none "
            "runs, start it, and ask again.",
        )
        self.behind_ms = behind_ms


def check_swept(
    store: Store, project: str, hours: tuple[int, int], *, now_ms: int | None = None
) -> None:
    """Refuse where the roll-up of the *hours* (the first and the last since 1970) is behind.

    What came within the last hour may be missing. Nothing is missing where nothing came.

    Raises:
        QualityBehindError: something is that was received longer ago.
        StatementFailedError: the store refuses, for example since it is older than the roll-up.
        UnavailableError: it does not answer.
    """
    statements = Statements(store, project)
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    place = {"since_hour": hours[0], "until_hour": hours[1]}
    swept_ms, lacking, since_ms = map(int, statements.run("quality/swept", **place).rows[0])
    if lacking and now - since_ms > BEHIND_MS:
        raise QualityBehindError(project, since_ms, now - since_ms, lacking)
    if now - swept_ms <= BEHIND_MS:
        return
    oldest_ms, waiting = statements.run(
        "quality/waiting",
        swept_ms=swept_ms,
        first=f"{hours[0] * _HOUR_MS:012x}{'0' * _ID_DIGITS}",
        last=f"{(hours[1] + 1) * _HOUR_MS - 1:012x}{'f' * _ID_DIGITS}",
    ).rows[0]
    if int(waiting) and now - int(oldest_ms) > BEHIND_MS:
        raise QualityBehindError(project, int(oldest_ms), now - int(oldest_ms), 0)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
