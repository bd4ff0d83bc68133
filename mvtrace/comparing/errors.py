"""Why two versions are not compared, or a comparison is not kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from mvtrace.errors import CheckFailedError, NotFoundError, UnavailableError, UsageError

_SHOWN: Final = 12
_LISTED: Final = 8


class StatisticsMissingError(UnavailableError):
    """The extra ``quality`` is not installed."""

    code = "extra-missing"

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"Comparing needs a part of mvtrace that is not installed ({missing}).",
            hint="pip install 'mvtrace[quality]'",
        )


class OneVersionError(UsageError):
    """Both names are of one version, or one arm."""

    code = "one-version"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Both are {name}; a version is not compared with itself.",
            hint="'mvtrace deployments' shows which versions serve; --arms compares arms.",
        )


class NothingServedError(NotFoundError):
    """Neither side has answered a request that counts."""

    code = "never-served"

    def __init__(self, baseline: str, canary: str, *, by: str) -> None:
        first, second = (
            (repr(baseline), repr(canary)) if by == "arm" else (baseline[:_SHOWN], canary[:_SHOWN])
        )
        what = "arm" if by == "arm" else "version"
        super().__init__(
            f"Neither the {what} {first} nor {second} has answered a request that counts here.",
            hint="'mvtrace find --since 1d' shows versions and arms, each with service and "
            "environment.",
        )


class UnreadableLookError(CheckFailedError):
    """What the look before saw is not known, so nothing is decided."""

    code = "look-unreadable"

    def __init__(self, event_id: str, until: int) -> None:
        at = datetime.fromtimestamp(until, UTC)
        super().__init__(
            f"The look before, of {at:%Y-%m-%d %H:%M} UTC, was kept by another version of mvtrace "
            f"in a form that this one does not know (event {event_id}); nothing was decided.",
            hint="Compare with the version that kept it; another plan begins another comparison.",
        )


class ClockBehindError(UnavailableError):
    """The clock of who asks is far behind that by which somebody looked before."""

    code = "clock-behind"

    def __init__(self, now: int, until: int) -> None:
        first, second = (datetime.fromtimestamp(one, UTC) for one in (now, until))
        super().__init__(
            f"This clock, at {first:%Y-%m-%d %H:%M:%S} UTC, is behind that of the look before, "
            f"which reached to {second:%Y-%m-%d %H:%M:%S} UTC; nothing was decided.",
            hint="Set both clocks: a look goes on from all looks before it. --until looks at what "
            "was, by the looks until then.",
        )


class NothingToDecideError(NotFoundError):
    """The baseline has no values by which anything could be decided."""

    code = "undecidable"

    def __init__(self, baseline: str, metrics: Sequence[str]) -> None:
        held = f"it has only {', '.join(metrics[:_LISTED])}" if metrics else "it has none"
        super().__init__(
            f"No plan can be made of what {baseline} has: in the last seven days {held}.",
            hint="Score requests with mvtrace.score(), or write a plan: 'mvtrace plan new --help'.",
        )


class PlanMadeError(UsageError):
    """What a plan that is to be made shall have, no plan can have."""

    code = "plan"

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"No plan can be made so; its {key}: {problem}.")
        self.key = key


class NotKeptError(UsageError):
    """A look cannot be kept where there is no collector."""

    code = "kept-nowhere"

    def __init__(self, dsn: str) -> None:
        super().__init__(
            f"The store {dsn} is read directly, so this look cannot be kept: a later one would "
            "not know what it saw.",
            hint="Ask the store's collector instead (--url), or look without keeping it "
            "(--no-keep, remember=False).",
        )


class NotAcceptedError(CheckFailedError):
    """The collector does not keep the look."""

    code = "look-refused"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The look was not kept, so nothing was decided: {why}",
            hint="Keeping a verdict needs a key with the scopes ingest and govern "
            "(MVTRACE_API_KEY); --no-keep looks without keeping it.",
        )
