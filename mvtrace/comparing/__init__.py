"""Two versions, compared where they are stored: what the statistics of ``quality`` say of a store.

In: a store or its address, and the names of two versions (or of two arms). Out: a ``Verdict``, kept
as an event ``mvtrace.verdict`` with all it was computed from. The looks before it are read back, so
what one look saw no later one forgets. The statistics need the extra ``quality`` and are imported
when something is compared, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mvtrace.otlp import LogEvent

if TYPE_CHECKING:  # an import of them is an import of numpy, scipy and the database's client
    from mvtrace.comparing.looking import Look
    from mvtrace.quality.plan import Plan
    from mvtrace.quality.verdict import Verdict
    from mvtrace.store.store import Store

Keep = Callable[[Iterable[LogEvent]], None]
"""Makes events durable: it returns once they are accepted, or raises a MvtraceError."""


def look(  # noqa: PLR0913 (one keyword a condition)
    source: Store | str,
    baseline: str,
    canary: str,
    *,
    plan: Plan | None = None,
    project: str | None = None,
    environment: str | None = None,
    service: str | None = None,
    rollout: str | None = None,
    arms: bool = False,
    since: int | None = None,
    until: int | None = None,
    remember: bool = True,
    keep: Keep | None = None,
    api_key: str | None = None,
) -> Look:
    """Look at a comparison once; return the verdict with the looks before it and what was kept.

    *source* is an open store, or a DSN: ``http(s)://`` a collector, ``chdb:///`` or
    ``clickhouse://`` a store that is read directly. *baseline* and *canary* name versions as
    everywhere (the first 8 digits, ``prod@now``, a deployment, a lock file); with *arms* they name
    arms as requests do. *project* is None for the one of the API key, else ``default``.

    *environment*, *service* and *rollout* (an id) choose requests; None is any. *since* and *until*
    are Unix seconds: exposures from *since* on, None for all; *until* None is now. Another *since*
    is another comparison, and a look at an earlier moment is never kept.

    *plan* None goes on with the plan of the looks before; at the first look it is made of the
    metrics there are, and from then on it stands. Another plan is another comparison: its looks are
    counted for themselves.

    *remember* keeps the verdict, and registers the plan: *keep* takes the events, and None sends
    them to the collector at *source*. Where there is neither, ``remember=True`` is refused: a look
    that is not remembered may be taken, but its chance of error counts again.

    ``Look`` has ``verdict``, ``before`` (earlier looks, oldest first), ``baseline``, ``canary``,
    ``service``, ``environment``, ``rollout``, ``is_kept``, ``notes`` (sentences) and ``to_dict()``,
    the body of the event ``mvtrace.verdict``.

    Raises:
        NotFoundError: no such version, or neither has served a request.
        UsageError: both are one, the plan does not fit, or a time or an address is none.
        CheckFailedError: the collector refuses to keep it (its key has not the scope govern).
        UnavailableError: store or collector does not answer, the extra is not installed, or the
            store's roll-up lacks what was received an hour ago (QualityBehindError).
    """
    from_store, looking = part("comparing.from_store"), part("comparing.looking")
    asked = looking.Asked(
        baseline=baseline, canary=canary, environment=environment, service=service,
        rollout=rollout, by_arm=arms, since=since, until=until,
    )  # fmt: skip
    looked: Look = from_store.look_at(
        source, asked, plan, project=project, api_key=api_key, keep=keep, remember=remember
    )
    return looked


def part(name: str) -> Any:
    """Return a module of mvtrace that needs the extra ``quality``.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        return import_module(f"mvtrace.{name}")
    except ImportError as error:
        from mvtrace.comparing.errors import StatisticsMissingError  # noqa: PLC0415 (seldom)

        raise StatisticsMissingError(str(error)) from error


def compare(  # noqa: PLR0913 (as look)
    store_or_dsn: Store | str,
    baseline: str,
    canary: str,
    *,
    plan: Plan | None = None,
    project: str | None = None,
    environment: str | None = None,
    service: str | None = None,
    rollout: str | None = None,
    arms: bool = False,
    since: int | None = None,
    until: int | None = None,
    remember: bool = True,
    keep: Keep | None = None,
    api_key: str | None = None,
) -> Verdict:
    """Compare *canary* with *baseline* once and return the verdict; all else is as of look."""
    return look(
        store_or_dsn, baseline, canary, plan=plan, project=project, environment=environment,
        service=service, rollout=rollout, arms=arms, since=since, until=until,
        remember=remember, keep=keep, api_key=api_key,
    ).verdict  # fmt: skip
