"""``mvtrace.compare``: a comparison from a notebook or a script, by the environment's collector."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mvtrace import comparing
from mvtrace.config import DEFAULT_URL

if TYPE_CHECKING:
    from mvtrace.quality.plan import Plan
    from mvtrace.quality.verdict import Verdict


def compare(  # noqa: PLR0913 (one keyword a condition)
    baseline: str,
    canary: str,
    *,
    plan: Plan | str | os.PathLike[str] | None = None,
    dsn: str | None = None,
    project: str | None = None,
    service: str | None = None,
    environment: str | None = None,
    rollout: str | None = None,
    arms: bool = False,
    since: int | None = None,
    until: int | None = None,
    remember: bool = True,
) -> Verdict:
    """Compare version *canary* with version *baseline*, which serve side by side.

    The verdict is ``promote``, ``hold`` or ``revert`` (``.decision``), with its reason, each
    metric's interval and evidence, and all it was computed from; in a notebook it shows itself, and
    ``.figure()`` is a picture of it.

    *plan* is a Plan or the path of its file; without one the first look makes a plan of the metrics
    there are, and later looks go on with it. *dsn* is a collector (``http://…``, else MVTRACE_URL,
    else the one of this host; its key is MVTRACE_API_KEY) or a store that is read directly, which
    keeps nothing: *remember* is False there. All else is as of ``mvtrace.comparing.look``.

    Raises:
        MvtraceError: as of ``mvtrace.comparing.look``; PlanFileError for a file that holds no plan.
    """
    return comparing.compare(
        dsn or os.environ.get("MVTRACE_URL") or DEFAULT_URL, baseline, canary,
        plan=_plan(plan), project=project, service=service, environment=environment,
        rollout=rollout, arms=arms, since=since, until=until, remember=remember,
    )  # fmt: skip


def _plan(said: Plan | str | os.PathLike[str] | None) -> Plan | None:
    if not isinstance(said, (str, os.PathLike)):
        return said
    read: Plan = comparing.part("quality.plan_file").read_plan(Path(said))
    return read
