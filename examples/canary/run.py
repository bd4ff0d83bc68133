"""Run canaries against real servers until they are decided, and act on the verdict.

    python -m examples.canary.run [--json] [worse|hot|equal|broken ...]

A collector, one server a canary, and a crowd of users, all on loopback and free ports. The canary
gets one user in twenty. After each round of questions the verdict is asked for; the first that is
not hold is carried out (``mvtrace canary revert``, ``promote``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import mvtrace
from examples.canary.users import Crowd

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
PLAN: Final = HERE / "plan.toml"
SHARE: Final = 0.05
ENVIRONMENT: Final = "example"
START_S: Final = 60.0
BOTH: Final = 2
ROUND: Final = 1200
"""Questions between two looks."""
LAST: Final = 200
"""Questions after the verdict was carried out."""
LISTENS: Final = re.compile(
    r"listens on (http://[0-9.:]+)[^0-9.:](?:\(stable (\w+), canary (\w+)\))?"
)


@dataclass(frozen=True)
class Canary:
    """One story: which version is tried, and how its traffic is split."""

    version: str
    rounds: int
    """Looks until it is given up."""
    balancer_share: float | None = None
    """What a balancer in front really sends to the canary; None: mvtrace draws."""


CANARIES: Final = {
    "worse": Canary("small-index", rounds=6),
    "hot": Canary("hot", rounds=6),
    "equal": Canary("reworded", rounds=10),
    "broken": Canary("reworded", rounds=2, balancer_share=0.01),
}


@dataclass
class Told:
    """What became of one canary."""

    name: str
    looks: list[dict[str, Any]] = field(default_factory=list)
    after: dict[str, int] = field(default_factory=dict)
    """Requests by version after the verdict was carried out, by what was recorded."""
    answered: dict[str, int] = field(default_factory=dict)
    """The same, by who gave the answers."""
    late_s: float = 0.0
    """How long after its question feedback came: the median of what is stored."""
    stable: str = ""
    canary: str = ""

    @property
    def decision(self) -> str:
        """The last verdict."""
        return str(self.looks[-1]["decision"]) if self.looks else "hold"


class Stage:
    """A folder, a collector, and what runs beside it."""

    def __init__(self, folder: Path, *, is_silent: bool) -> None:
        self._folder, self._is_silent = folder, is_silent
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MVTRACE_")},
            "PYTHONPATH": os.pathsep.join((str(ROOT), *filter(None, sys.path))),
            "MVTRACE_ENVIRONMENT": ENVIRONMENT,
        }

    def say(self, text: str) -> None:
        """Print what happens."""
        if not self._is_silent:
            print(text, flush=True)

    def mvtrace(self, line: str) -> str:
        """Run a command as it is printed; return what it says."""
        self.say(f"$ mvtrace {line}")
        done = subprocess.run(
            [sys.executable, "-m", "mvtrace", *shlex.split(line)],
            env=self.environ, capture_output=True, check=False, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"mvtrace {line} ended with {done.returncode}: {done.stderr}")
        self.say(done.stdout.rstrip())
        return done.stdout

    @contextlib.contextmanager
    def collector(self) -> Iterator[str]:
        """Run the collector; commands, servers and comparisons find it by MVTRACE_URL."""
        store = f"chdb://{self._folder / 'store'}"
        command = ["mvtrace", "collector", "--store", store, "--listen", "127.0.0.1:0"]
        # Sums are made anew every two seconds, where once a minute is the rule.
        with self._process(command, "collector", {"MVTRACE_QUALITY_INTERVAL_S": "2"}) as found:
            self.environ["MVTRACE_URL"] = os.environ["MVTRACE_URL"] = found.group(1)
            yield found.group(1)

    @contextlib.contextmanager
    def server(self, name: str, canary: Canary) -> Iterator[re.Match[str]]:
        """Run the server with *canary*; give its address, and both versions."""
        command = ["examples.canary.app", canary.version]
        if canary.balancer_share is not None:
            command += ["--arm-header", "x-arm"]
        environ = {
            "MVTRACE_SERVICE": name,
            "MVTRACE_SPOOL_DIR": str(self._folder / name),
            "MVTRACE_SPAN_RATIO": "0.05",  # a verdict needs records, and no inner spans
        }
        with self._process(command, name, environ) as found:
            yield found

    @contextlib.contextmanager
    def _process(
        self, command: list[str], name: str, environ: dict[str, str]
    ) -> Iterator[re.Match[str]]:
        log = self._folder / f"{name}.log"
        with (
            log.open("wb") as sink,
            subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**self.environ, **environ}, stdout=sink, stderr=sink,
            ) as process,
        ):  # fmt: skip
            try:
                yield _listening(log, process)
            finally:
                process.terminate()


def _listening(log: Path, process: subprocess.Popen[bytes]) -> re.Match[str]:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := LISTENS.search(log.read_text(errors="replace")):
            return found
        time.sleep(0.05)
    raise RuntimeError(f"it does not serve: {log.read_text(errors='replace')[-2000:]}")


async def tell(stage: Stage, name: str) -> Told:
    """Run one canary to its verdict."""
    canary, told = CANARIES[name], Told(name)
    with stage.server(name, canary) as server:
        url, told.stable, told.canary = server.group(1), server.group(2), server.group(3)
        stage.say(f"\n# {name}: {canary.version} beside stable, one user in twenty")
        await begun(stage, told)
        crowd = Crowd(url, canary_share=canary.balancer_share)
        for _ in range(canary.rounds):
            await crowd.ask(ROUND)
            told.looks.append(await looked(stage, told, crowd))
            if told.decision != "hold":
                break
        if told.decision != "hold":
            await carried_out(stage, told, crowd)
        await crowd.leave()
        told.late_s = late_s(told)
    return told


async def begun(stage: Stage, told: Told) -> None:
    """Deploy the stable version, start the canary, and wait until the server knows."""
    place = f"--service {told.name} --environment {ENVIRONMENT}"
    await until(lambda: are_known(told), "the versions were not registered")
    await asyncio.to_thread(stage.mvtrace, f"deploy {told.stable[:12]} {place}")
    await asyncio.to_thread(
        stage.mvtrace, f"canary start {told.canary[:12]} --share {SHARE} {place}"
    )
    await asyncio.sleep(1.5)  # servers look twice a second


def are_known(told: Told) -> bool:
    """Whether the server has registered both versions."""
    sql = "SELECT count(DISTINCT version) FROM composites WHERE version IN {both:Array(String)}"
    return bool(mvtrace.query(sql, {"both": [told.stable, told.canary]}).rows[0][0] == BOTH)


async def looked(stage: Stage, told: Told, crowd: Crowd) -> dict[str, Any]:
    """Ask for the verdict once all answers are in the sums; feedback goes on coming meanwhile."""
    await until(lambda: summed(told) >= crowd.counts.answers, "the sums were not made")
    verdict = await asyncio.to_thread(
        mvtrace.compare,
        told.stable,
        told.canary,
        plan=PLAN,
        service=told.name,
        environment=ENVIRONMENT,
    )
    helpful = verdict.result("helpful")
    look = {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "metrics": list(verdict.metrics),
        "sentence": verdict.sentence,
        "digest": verdict.digest,
        "requests": helpful.baseline_requests + helpful.canary_requests,
        "canary_requests": helpful.canary_requests,
        "asked": crowd.counts.answers,
        "feedback_to_come": crowd.counts.waiting,
        "promote_if_equal_at_most": verdict.forecast.promote_if_equal_at_most_requests,
        "gates": {one.name: one.state for one in verdict.gates},
    }
    stage.say(f"after {look['asked']:,} answers, feedback on {look['requests']:,}: "
              f"{verdict.sentence}")  # fmt: skip
    return look


def summed(told: Told) -> int:
    """Return how many requests are in the sums that a comparison reads."""
    sql = (
        "SELECT sum(requests) FROM quality_hourly FINAL "
        "WHERE metric = 'request' AND service = {service:String}"
    )
    return int(mvtrace.query(sql, {"service": told.name}).rows[0][0])


async def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until *holds*."""
    deadline = time.monotonic() + START_S
    while not await asyncio.to_thread(holds):
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        await asyncio.sleep(1)


async def carried_out(stage: Stage, told: Told, crowd: Crowd) -> None:
    """Do as the verdict says, and see who serves from then on."""
    place = f"--service {told.name} --environment {ENVIRONMENT}"
    reason = shlex.quote(told.looks[-1]["sentence"])
    await asyncio.to_thread(stage.mvtrace, f"canary {told.decision} {place} --reason {reason}")
    await asyncio.sleep(1.5)
    since, before = time.time_ns(), crowd.counts.versions.copy()
    await crowd.ask(LAST)
    await until(lambda: sum(served_since(told, since).values()) >= LAST, "they were not stored")
    told.after = served_since(told, since)
    names = {told.stable: "stable", told.canary: "canary"}
    told.answered = {names[one]: n for one, n in (crowd.counts.versions - before).items()}
    stage.say(f"since then: {told.after}")


def late_s(told: Told) -> float:
    """Return how late the feedback on this canary's questions is, by what is stored."""
    sql = (
        "SELECT median(dateDiff('millisecond', started_at, scored_at)) / 1000 FROM scores "
        "INNER JOIN requests USING (request_id) WHERE service = {service:String}"
    )
    return float(mvtrace.query(sql, {"service": told.name}).rows[0][0])


def served_since(told: Told, since_ns: int) -> dict[str, int]:
    """Return the requests of each version since then."""
    rows = mvtrace.query(
        "SELECT if(composite_version = {canary:String}, 'canary', 'stable'), "
        "count(DISTINCT request_id) FROM requests WHERE service = {service:String} "
        "AND started_at >= fromUnixTimestamp64Nano({since:Int64}) GROUP BY 1",
        {"canary": told.canary, "service": told.name, "since": since_ns},
    ).rows
    return {str(row[0]): int(row[1]) for row in rows}


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("names", nargs="*", default=["worse", "equal", "broken"])
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mvtrace-canary-") as folder:
        stage = Stage(Path(folder), is_silent=said.json)
        with stage.collector():
            if said.json:  # nobody reads along: all at once
                told = await asyncio.gather(*(tell(stage, name) for name in said.names))
            else:
                told = [await tell(stage, name) for name in said.names]
    if said.json:
        print(json.dumps([vars(one) for one in told], indent=2, allow_nan=False))


if __name__ == "__main__":
    asyncio.run(_main())
