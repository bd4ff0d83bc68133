"""What the tools in ``deploy/gates`` do with an answer, as their sources have it.

Argo Rollouts: one measurement of a web metric, and what a run makes of all of them. Flagger: a
canary's way through its hooks. GitHub Actions: a step's shell. Prometheus: the few forms of
expressions that the rules are written in.
"""

from __future__ import annotations

import ast
import base64
import json
import operator
import os
import re
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from keyed import ask
from prometheus_client.parser import text_string_to_metric_families

RUNNING: Final = "Running"
SUCCESSFUL, FAILED, INCONCLUSIVE, ERROR = "Successful", "Failed", "Inconclusive", "Error"


def with_arguments(template: Any, arguments: Mapping[str, str]) -> Any:
    """Return an AnalysisTemplate's part with ``{{args.name}}`` replaced everywhere."""
    text = json.dumps(template)
    found = re.sub(r"\{\{\s*args\.([a-z-]+)\s*\}\}", lambda hit: arguments[hit[1]], text)
    return json.loads(found)


def measured(metric: Mapping[str, Any]) -> str:
    """Ask as a web metric asks; return the phase of the measurement."""
    web = metric["provider"]["web"]
    headers = {one["key"].lower(): one["value"] for one in web["headers"]}
    key = headers["authorization"].removeprefix("Bearer ")
    try:
        answer = ask(web["url"], key)
    except urllib.error.URLError:
        return ERROR
    if not 200 <= answer.status < 300:
        return ERROR
    return _phase(metric, _at_path(answer.json, web["jsonPath"]))


def _at_path(value: Any, path: str) -> Any:
    found = re.fullmatch(r"\{\$((?:\.[A-Za-z_]\w*)*)\}", path)
    assert found, path
    for name in filter(None, found[1].split(".")):
        value = value[name]
    return value


def _phase(metric: Mapping[str, Any], result: Any) -> str:
    """Return the phase: a condition that is missing is the other one's contrary."""
    success, failure = metric.get("successCondition"), metric.get("failureCondition")
    is_success = bool(success) and holds(success, result)
    is_failure = bool(failure) and holds(failure, result)
    if not failure:
        is_failure = bool(success) and not is_success
    if not success:
        is_success = not is_failure
    if is_failure:
        return FAILED
    return SUCCESSFUL if is_success else INCONCLUSIVE


def holds(condition: str, result: Any) -> bool:
    """Evaluate a condition about ``result``."""
    names = {"result": result}

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return names[node.id]
            case ast.Attribute():
                return value(node.value)[node.attr]
            case ast.Compare(ops=[ast.Eq() | ast.NotEq() as compared]):
                is_equal = value(node.left) == value(node.comparators[0])
                return is_equal if isinstance(compared, ast.Eq) else not is_equal
            case ast.BoolOp():
                parts = [value(one) for one in node.values]
                return all(parts) if isinstance(node.op, ast.And) else any(parts)
        raise AssertionError(ast.dump(node))

    text = condition.replace("&&", " and ").replace("||", " or ")
    return bool(value(ast.parse(text, mode="eval").body))


@dataclass
class AnalysisRun:
    """A run of one metric: counts, and the phase after each measurement."""

    metric: Mapping[str, Any]
    phase: str = RUNNING
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    errors_in_a_row: int = 0
    successes_in_a_row: int = 0

    def take(self, measurement: str, times: int = 1) -> str:
        """Take a measurement so many times, until the run is over; return its phase."""
        for _ in range(times):
            if self.phase != RUNNING:
                break
            if measurement == ERROR:
                self.errors_in_a_row += 1
            else:
                self.errors_in_a_row = 0
                self.counts[measurement] += 1
            self.successes_in_a_row = (
                self.successes_in_a_row + 1 if measurement == SUCCESSFUL else 0
            )
            self.phase = self._assessed()
        return self.phase

    def _assessed(self) -> str:
        phase = RUNNING
        failure_limit = self.metric.get("failureLimit", 0)
        if 0 <= failure_limit < self.counts[FAILED]:
            phase = FAILED
        if self.counts[INCONCLUSIVE] > self.metric.get("inconclusiveLimit", 0):
            phase = INCONCLUSIVE
        if self.errors_in_a_row > self.metric.get("consecutiveErrorLimit", 4):
            phase = ERROR
        if phase != RUNNING:
            return phase
        needed = self.metric.get("consecutiveSuccessLimit", 0)
        if needed and self.successes_in_a_row >= needed:
            return SUCCESSFUL
        count = self.metric.get("count") or (None if self.metric.get("interval") else 1)
        if count is None or sum(self.counts.values()) < count:
            return RUNNING
        if not needed:
            return SUCCESSFUL
        return INCONCLUSIVE if failure_limit >= 0 else FAILED


_COUNTED: Final = (SUCCESSFUL, FAILED, INCONCLUSIVE)


def refused_by_argo(metric: Mapping[str, Any]) -> str:
    """Return why Argo Rollouts would not take a metric; empty where it would."""
    count, failures = metric.get("count", 0), metric.get("failureLimit", 0)
    successes, unclear = (
        metric.get("consecutiveSuccessLimit", 0),
        metric.get("inconclusiveLimit", 0),
    )
    if min(successes, unclear, metric.get("consecutiveErrorLimit", 0)) < 0 or failures < -1:
        return "a limit is negative"
    if successes == 0 and failures == -1:
        return "failureLimit and consecutiveSuccessLimit are both off"
    if count and count < max(failures, 0) + successes:
        return "count is below failureLimit + consecutiveSuccessLimit"
    if count and count < unclear:
        return "count is below inconclusiveLimit"
    if count > 1 and not metric.get("interval"):
        return "count without interval"
    interval = metric.get("interval", "1s")
    return "" if re.fullmatch(r"([0-9]+(ms|s|m|h))+", interval) else f"interval {interval}"


def rolled_out(canary: Mapping[str, Any], intervals: int) -> str:
    """Run a Canary of Flagger for so many intervals; return its phase."""
    analysis = canary["spec"]["analysis"]
    phase, weight = "Progressing", 0
    for _ in range(intervals):
        if any(_passes(canary, hook, phase) for hook in _hooks(analysis, "rollback")):
            return "Failed"
        if weight < analysis["maxWeight"]:
            weight += analysis["stepWeight"]
            continue
        if all(_passes(canary, hook, phase) for hook in _hooks(analysis, "confirm-promotion")):
            return "Succeeded"
        phase = "WaitingPromotion"
    return phase


def _hooks(analysis: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [one for one in analysis["webhooks"] if one["type"] == kind]


def _passes(canary: Mapping[str, Any], hook: Mapping[str, Any], phase: str) -> bool:
    """Whether a webhook answers yes: a status up to 202."""
    payload = {
        "name": canary["metadata"]["name"],
        "namespace": "default",
        "phase": phase,
        "checksum": "85d557f47b",
        "metadata": hook["metadata"],
    }
    parts = urlsplit(hook["url"])
    token = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    address = urlunsplit(parts._replace(netloc=f"{parts.hostname}:{parts.port}"))
    try:
        answer = ask(
            address,
            body=json.dumps(payload).encode(),
            headers={"authorization": f"Basic {token}"},
        )
    except urllib.error.URLError:
        return False
    return answer.status <= 202


@dataclass(frozen=True)
class Stepped:
    """What a step of a workflow left behind."""

    code: int
    outputs: Mapping[str, str]
    summary: str
    log: str


def stepped(step: Mapping[str, Any], folder: Path, environ: Mapping[str, str]) -> Stepped:
    """Run a step's shell as a runner does, with ``mvtrace`` on its path."""
    assert step["shell"] == "bash"
    folder.mkdir(parents=True)
    command = folder / "bin" / "mvtrace"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mvtrace "$@"\n')
    command.chmod(0o755)
    script = folder / "step.sh"
    script.write_text(step["run"])
    files = {name: folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MVTRACE_")}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=folder,
        env={
            **kept,
            **environ,
            **{name: str(path) for name, path in files.items()},
            "PATH": f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    output, summary = (path.read_text() if path.exists() else "" for path in files.values())
    outputs = dict(line.split("=", 1) for line in output.splitlines())
    return Stepped(done.returncode, outputs, summary, done.stdout + done.stderr)


Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>[0-9.]+)|(?P<time>time\(\))|(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})?"
    r"|(?P<operator>==|>|<|[-*]))"
)
_ORDER: Final = (("==", ">", "<"), ("-",), ("*",))
_CHOOSING: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


def samples_in(text: str) -> dict[str, Vector]:
    """Return the samples of a scrape by name, as the client's own parser reads them."""
    found: dict[str, Vector] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def evaluated(expression: str, samples: Mapping[str, Vector]) -> Vector:
    """Return what an expression selects; a metric that the scrape does not have is an error."""
    tokens, place = [], 0
    text = expression.strip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        assert found, text[place:]
        tokens.append(_operand(found, samples))
        place = found.end()
    value = _reduced(tokens, 0)
    assert isinstance(value, dict), expression
    return value


def _operand(found: re.Match[str], samples: Mapping[str, Vector]) -> Any:
    if found["operator"]:
        return found["operator"]
    if found["number"]:
        return float(found["number"])
    if found["time"]:
        return time.time()
    wanted = frozenset(re.findall(r'(\w+)="([^"]*)"', found["labels"] or ""))
    vector = samples[found["name"]]
    if vector:
        assert {name for name, _ in wanted} <= {name for name, _ in next(iter(vector))}, found[0]
    return {labels: value for labels, value in vector.items() if wanted <= labels}


def _reduced(tokens: list[Any], level: int) -> Any:
    if level == len(_ORDER):
        assert len(tokens) == 1, tokens
        return tokens[0]
    places = [at for at, one in enumerate(tokens) if one in _ORDER[level]]
    if not places:
        return _reduced(tokens, level + 1)
    at = places[-1]
    left, right = _reduced(tokens[:at], level), _reduced(tokens[at + 1 :], level + 1)
    return dict(_combined(tokens[at], left, right))


def _combined(sign: str, left: Any, right: Any) -> Iterator[tuple[Labels, float]]:
    """Combine elements of equal labels, a number with each; a comparison keeps the left value."""
    labels = [set(one) for one in (left, right) if isinstance(one, dict)]
    for element in set.intersection(*labels):
        first, second = (one[element] if isinstance(one, dict) else one for one in (left, right))
        if sign in _CHOOSING:
            if _CHOOSING[sign](first, second):
                yield element, first
        else:
            yield element, first - second if sign == "-" else first * second
