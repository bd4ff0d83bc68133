"""A collector with three services whose canaries run: one to promote, one to revert, one to hold.

Roll-up, plans, versions and decisions are put into the store as they would be after a day of
requests; gates ask by HTTP, under keys.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
from hourly import COLUMNS, KEY, SUMS, folded
from keyed import Answer, ask
from processes import Running, collector_command, running
from stored import Filler, new_store
from story import SECOND, SYSTEM

from mvtrace.comparing.events import entry_of_plan
from mvtrace.quality.plan import Gates, Horizon, Metric, Plan
from mvtrace.registry.deployments import Decision
from mvtrace.store import Store

ADMIN: Final = "static-key-of-a-test-" + "k" * 16
ENVIRONMENT: Final = "production"
SERVICES: Final[Mapping[str, tuple[float, int]]] = {
    "better": (0.9, 4000),
    "worse": (0.8, 4000),
    "young": (0.9, 60),
}
"""By service: the canary's rate (the baseline's is 0.9), and requests an hour."""
DECISIONS: Final = {"better": "promote", "worse": "revert", "young": "hold"}
HOURS: Final = 26
SHARE: Final = 0.1
BUCKETS: Final = 64
PLAN: Final = Plan(
    name="gated",
    metrics=(Metric(name="resolved", kind="rate", margin=0.03),),
    gates=Gates(sample_ratio=False, completeness=None),
)
HORIZON: Final = Plan(
    name="with a horizon",
    metrics=PLAN.metrics,
    gates=PLAN.gates,
    horizon=Horizon(requests=1000, final=0.9),
)
IMPOSTOR: Final = Plan(name="ab" * 8, metrics=PLAN.metrics, gates=PLAN.gates)
"""A plan that is called as another's digest may begin."""


@dataclass(frozen=True)
class Gated:
    """The collector, and keys that may read, and read and govern."""

    url: str
    reader: str
    governor: str
    running: Running

    def compare(self, key: str | None = None, *, post: bool = False, **asked: str) -> Answer:
        """Ask for a verdict."""
        body = b"{}" if post else None
        return ask(f"{self.url}/api/v1/compare?{urlencode(asked)}", key or self.reader, body)

    def at(self, service: str, **asked: str) -> dict[str, str]:
        """Return the parameters that ask for the canary of *service* by the plan."""
        said = {"service": service, "environment": ENVIRONMENT, "plan": digits(PLAN)}
        return {**said, **asked}


def digits(plan: Plan) -> str:
    """Return what names *plan* in an address."""
    return plan.digest.removeprefix("sha256:")[:16]


def fill(store: Store, project: str = "default") -> None:
    """Put the versions, the plans and a day of all services into *store*."""
    filler = Filler(store, project)
    for system in (SYSTEM, SECOND):
        filler.system(system)
    for plan in (PLAN, HORIZON, IMPOSTOR):
        filler.entry(entry_of_plan(plan))
    rows = [row for service in SERVICES for row in _rows(project, service)]
    decided = [row for service in SERVICES for row in decision_rows(project, service)]
    with store.session() as session:
        session.insert("quality_hourly", COLUMNS, folded(rows))
        session.insert("deployments", list(decided[0]), [list(row.values()) for row in decided])


def _rows(project: str, service: str) -> Iterator[dict[str, Any]]:
    rate, requests = SERVICES[service]
    generator = np.random.default_rng(sorted(SERVICES).index(service))
    newest = int(time.time()) // 3600
    for hour in range(newest - HOURS, newest):
        canary = round(requests * SHARE)
        sides = ((SYSTEM.version, "stable", requests - canary, 0.9),)
        sides += ((SECOND.version, "canary", canary, rate),)
        for version, arm, number, good in sides:
            counts = generator.multinomial(number, np.full(BUCKETS, 1 / BUCKETS))
            totals = generator.binomial(counts, good)
            moment = datetime.fromtimestamp(hour * 3600, UTC)
            for bucket in np.flatnonzero(counts):
                count, total = int(counts[bucket]), float(totals[bucket])
                place = (project, ENVIRONMENT, service, version)
                end = ("", arm, moment, str(SHARE), "")
                for metric, value in (("resolved", total), ("request", float(count))):
                    sums = (count, value, value, float(count), float(count), value)
                    cell = dict(zip((*KEY, *SUMS), (*place, metric, *end, *sums), strict=True))
                    yield {**cell, "bucket": int(bucket)}


@contextmanager
def gated(folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[Gated]:
    """Run a collector over such a store, with a canary of each service decided."""
    with new_store(f"chdb://{folder / 'store'}") as store:
        fill(store)
    set_up = {
        "MVTRACE_API_KEY": ADMIN,
        "MVTRACE_ROLLOUT_INTERVAL_S": "0.5",
        "MVTRACE_COMPARE_SHARE": "10",  # so that no test is sent away on a busy machine
        **(environ or {}),
    }
    command = collector_command(folder / "store")
    with running(command, folder / "collector.log", set_up) as one:
        _key(one.url, "admin", "*")  # the first one has to be an admin's
        reader, governor = (_key(one.url, scopes) for scopes in ("read", "read govern"))
        gate = Gated(one.url, reader, governor, one)
        while gate.compare(**gate.at("young")).status == 503:
            time.sleep(0.1)  # the statistics are imported at the first look
        yield gate


def decision_rows(project: str, service: str, *actions: str) -> list[dict[str, Any]]:
    """Return the rows of decisions; without *actions* what serves, and the canary beside it."""
    began = datetime.now(UTC) - timedelta(hours=HOURS)
    rows = []
    for place, action in enumerate(actions or ("deploy", "canary")):
        decision = Decision(
            action=action,  # type: ignore[arg-type]  # one of them
            service=service,
            environment=ENVIRONMENT,
            composite=(SYSTEM if action == "deploy" else SECOND).version,
            share=SHARE if action == "canary" else 1.0,
        )
        at = began + timedelta(seconds=place + (60 if actions else 0))
        rows.append({
            "project": project, "service": service, "environment": ENVIRONMENT, "seq": place,
            "at": at, "event_id": os.urandom(16), "action": action,
            "composite": decision.composite, "share": decision.share, "actor": "test",
            "body": decision.to_bytes().decode(), "received_at": at,
        })  # fmt: skip
    return rows


def _key(url: str, scopes: str, project: str = "default") -> str:
    wanted = {"scopes": scopes.split(), "projects": [project], "label": scopes}
    answer = ask(f"{url}/api/v1/keys", ADMIN, json.dumps(wanted).encode())
    assert answer.status == 201, answer.text
    return str(answer.json["key"])
