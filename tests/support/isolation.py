"""Two projects in one collector, and how each route and command is asked about the other's things.

A new route needs its line in ROUTES, a new command its own in ``isolation_commands.py``:
tests/security fails until it has one.
In a line ``$request`` and the like stand for an id; it is asked once with that of something of
project b and once with one that never was, both times by a key of project a with every scope.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import quote, urlsplit

from certified import a_certificate
from compared import a_comparison
from processes import collector
from stored import Filler, drifted, new_store
from story import SECOND, SYSTEM, record, request_id
from warm import Commands, warm_commands

from mvtrace.capture.keys import load_digest_key
from mvtrace.capture.privacy import subject_digest
from mvtrace.config import TracingConfig
from mvtrace.digest import keyed_digest
from mvtrace.ids import format_uuid7
from mvtrace.registry.entries import entry_of
from mvtrace.registry.evals.results import Pinned, Result
from mvtrace.registry.evals.scorers import scorer_entry
from mvtrace.registry.evals.suites import Examples, suite_entry
from mvtrace.registry.retention.plans import Plan
from mvtrace.registry.retention.values import EXPIRED, Place, Policy, Verdict

SECRET: Final = "b-secret"
"""Stands in every text of project b."""
DIGEST_KEY: Final = "ab" * 32
SCOPES: Final = ("ingest", "read", "sql", "score", "govern", "erase", "admin")
START_MS: Final = 1_787_396_527_123


def subject_of(name: str) -> str:
    """Return a subject's keyed digest, as an application with DIGEST_KEY makes it."""
    config = TracingConfig.from_environ({"MVTRACE_DIGEST_KEY": DIGEST_KEY})
    key = load_digest_key(config)
    return subject_digest(lambda text: keyed_digest(key.key, key.key_id, text), name)


Ids = Mapping[str, str]
THEIRS: Final[Ids] = {
    "request": request_id(1),
    "unread": request_id(2),
    "trace": f"{1:032x}",
    "alias": "client-1",
    "response": "resp-1",
    "conversation": f"{SECRET}-talk-1",
    "service": f"{SECRET}-service-1",
    "route": f"/{SECRET}-route-1",
    "version": SECOND.version,
    "short": SECOND.version[:12],
    "template": SECOND.part("prompt/answer").digest,
    "subject": "hmac-sha256:00000001:" + "1" * 64,
    "person": "customer-1",
    "drift": drifted("b", f"{SECRET}-service-1").id,
    "project": "b",
}
"""What project b has; its key is added once it is made."""
NOBODYS: Final[Ids] = {
    "request": format_uuid7(START_MS + 1000, 77),
    "unread": format_uuid7(START_MS + 2000, 78),
    "trace": f"{9:032x}",
    "alias": "client-9",
    "response": "resp-9",
    "conversation": f"{SECRET}-talk-9",
    "service": f"{SECRET}-service-9",
    "route": f"/{SECRET}-route-9",
    "version": "9" * 64,
    "short": "9" * 12,
    "template": "sha256:" + "9" * 64,
    "subject": "hmac-sha256:00000001:" + "9" * 64,
    "person": "customer-9",
    "drift": "9" * 32,
    "project": "c",
    "key": "8" * 12,
}
"""As long, and where there is a time in it of the same time; but nobody has it."""


@dataclass(frozen=True)
class Ask:
    """One question to a route, with ``$names`` for ids."""

    target: str
    body: str | None = None
    repeats: bool = True
    """Whether it may be asked hundreds of times: it writes nothing and has no limit of its own."""
    content_type: str = "application/json"


def sql(statement: str) -> Ask:
    """Return a question to the SQL endpoint."""
    return Ask("/sql", statement, content_type="text/plain")


def sent(signal: str) -> Ask:
    """Return an export whose resource names ``$project``."""
    resource = {
        "attributes": [{"key": "mvtrace.project", "value": {"stringValue": "$project"}}],
    }
    span = {
        "traceId": "1" * 32, "spanId": "1" * 16, "name": "x",
        "startTimeUnixNano": "1790000000000000000", "endTimeUnixNano": "1790000000000000001",
    }  # fmt: skip
    log = {"eventName": "mvtrace.content", "body": {"stringValue": "x"}}
    inner = (
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
        if signal == "traces"
        else {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [log]}]}]}
    )
    return Ask(f"/v1/{signal}", json.dumps(inner), repeats=False)


OPEN: Final = "open"
"""Asked by whoever keeps the process running: nothing that is stored is told."""
OF_ALL: Final = "of all"
"""Tells of the whole collector: only for an admin of every project."""

_COUNT: Final = "SELECT count() FROM "
SQL_ASKS: Final = (
    sql(f"{_COUNT}requests WHERE request_id_text = '$request'"),
    sql("SELECT record FROM requests WHERE project = '$project'"),
    sql(f"{_COUNT}spans WHERE trace_id_hex = '$trace'"),
    sql(f"{_COUNT}request_aliases WHERE alias = '$alias'"),
    sql("SELECT * FROM components WHERE digest = '$template' FORMAT JSONEachRow"),
    sql("SELECT * FROM composites WHERE version = '$version' FORMAT JSONEachRow"),
    Ask("/sql?project=$project", "SELECT 1", content_type="text/plain"),
)
_EXPLAINED: Final = tuple(
    Ask(f"/api/v1/explanation?wait=0&id={text}")
    for text in ("$request", "trace:$trace", "x-request-id:$alias", "response:$response", "$alias")
)

_FLAGGER: Final = "/api/v1/compare/flagger?hook=rollback"

ROUTES: Final[dict[str, tuple[Ask, ...] | str]] = {
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /sql/ping": OPEN,
    "GET /metrics": OF_ALL,
    "GET /api/v1/status": OF_ALL,
    "POST /api/v1/verification": OF_ALL,
    "POST /v1/traces": (sent("traces"),),
    "POST /v1/logs": (sent("logs"),),
    "GET /api/v1/explanation": (
        *_EXPLAINED,
        Ask("/api/v1/explanation?wait=0&id=$request&project=$project"),
    ),
    "GET /api/v1/requests": (
        Ask("/api/v1/requests?version=$short"),
        Ask("/api/v1/requests?version=$version"),
        Ask("/api/v1/requests?conversation=$conversation"),
        Ask("/api/v1/requests?service=$service"),
        Ask("/api/v1/requests?route=$route"),
        Ask("/api/v1/requests?project=$project"),
    ),
    "GET /api/v1/gaps": (
        Ask("/api/v1/gaps?service=$service"),
        Ask("/api/v1/gaps?project=$project"),
    ),
    "GET /api/v1/drift": (
        Ask("/api/v1/drift?wait=0&service=$service"),
        Ask("/api/v1/drift?wait=0&project=$project"),
    ),
    "GET /api/v1/affected": (
        Ask("/api/v1/affected?id=$request&list=1"),
        Ask("/api/v1/affected?id=$template&list=1"),
        Ask("/api/v1/affected?id=drift:$drift"),
        Ask("/api/v1/affected?id=$drift"),
        Ask("/api/v1/affected?id=$request&project=$project"),
    ),
    "GET /api/v1/content": (
        Ask("/api/v1/content?id=$request"),
        Ask("/api/v1/content?id=x-request-id:$alias"),
        Ask("/api/v1/content?id=$request&project=$project"),
    ),
    "POST /api/v1/erasures": (
        Ask("/api/v1/erasures", '{"subject": "$subject", "reason": "x"}', repeats=False),
        Ask("/api/v1/erasures?project=$project", '{"subject": "$subject", "reason": "x"}'),
    ),
    "GET /api/v1/keys": (Ask("/api/v1/keys"),),
    "POST /api/v1/keys": (
        Ask("/api/v1/keys", '{"scopes": ["read"], "projects": ["$project"], "label": "x"}'),
    ),
    "POST /api/v1/keys/{key_id}/rotate": (Ask("/api/v1/keys/$key/rotate", "{}"),),
    "POST /api/v1/keys/{key_id}/revoke": (Ask("/api/v1/keys/$key/revoke", "{}"),),
    "GET /api/v1/access": (
        Ask("/api/v1/access?action=explain&request=$unread", repeats=False),
        Ask("/api/v1/access?action=explain&actor=$key", repeats=False),
        Ask("/api/v1/access?project=$project", repeats=False),
    ),
    "POST /api/v1/deploy": (
        Ask(
            "/api/v1/deploy",
            '{"action": "deploy", "service": "s", "environment": "e", "version": "$version"}',
        ),
        Ask(
            "/api/v1/deploy?project=$project",
            '{"action": "deploy", "service": "s", "environment": "e", "version": "$version"}',
        ),
    ),
    "POST /api/v1/retention": (
        Ask(
            "/api/v1/retention",
            '{"action": "collect", "artifact": "$version", "uri": "/models/x", "listing": "{}"}',
        ),
        Ask(
            "/api/v1/retention?project=$project",
            '{"action": "collected", "artifact": "$version", "uri": "/models/x"}',
        ),
    ),
    "GET /api/v1/deployments": (
        Ask("/api/v1/deployments?service=$service"),
        Ask("/api/v1/deployments?project=$project"),
    ),
    "GET /api/v1/rollout": (
        Ask("/api/v1/rollout?service=$service&environment=production"),
        Ask("/api/v1/rollout?service=s&environment=e&version=$version&version=$short"),
        Ask("/api/v1/rollout?service=s&environment=e&project=$project"),
    ),
    # Each project has an allowance of its own for these, which hundreds would use up.
    "GET /api/v1/compare": (
        Ask("/api/v1/compare?baseline=$version&canary=$short", repeats=False),
        Ask("/api/v1/compare?service=$service&environment=production", repeats=False),
        Ask("/api/v1/compare?service=s&environment=e&project=$project", repeats=False),
    ),
    "POST /api/v1/compare": (
        Ask("/api/v1/compare?service=$service&environment=production", "{}", repeats=False),
        Ask("/api/v1/compare?service=s&environment=e&project=$project", "{}", repeats=False),
    ),
    "POST /api/v1/compare/flagger": (
        Ask(f"{_FLAGGER}&service=$service&environment=e", "{}", repeats=False),
        Ask(f"{_FLAGGER}&project=$project", "{}", repeats=False),
    ),
    "POST /api/v1/scores": (
        # Rate-limited; and nothing is looked up before it is answered.
        Ask("/api/v1/scores", '{"request_id": "$request", "name": "n", "value": 1}', repeats=False),
    ),
    "GET /sql": (Ask(f"/sql?query={quote(_COUNT)}requests+WHERE+route='$route'"),),
    "POST /sql": SQL_ASKS,
    "GET /sql/": (Ask(f"/sql/?query={quote(_COUNT)}requests+WHERE+route='$route'"),),
    "POST /sql/": (Ask("/sql/?project=$project", "SELECT 1", content_type="text/plain"),),
}
"""Each route of the collector: what is asked of it, or why nothing is."""


class World:
    """A running collector with the projects a and b, and a key of each that may do everything."""

    def __init__(self, url: str, admin: str, folder: Path, commands: Commands) -> None:
        self.url = url
        self.admin = admin
        self.folder = folder
        self._commands = commands
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self.mine = self.new_key("a")
        self.their_key = self.new_key("b")
        self.numeric = self.new_key("n")
        self.theirs: Ids = {**THEIRS, "key": self.their_key.split("_")[1]}
        # So that the access log has an entry of b about a request of b's.
        read = Ask("/api/v1/explanation?id=$unread&wait=0")
        assert self.ask(read, self.theirs, self.their_key)[0] == 200

    def new_key(self, project: str) -> str:
        label = f"{SECRET}-key" if project == "b" else "mine"
        wanted = {"scopes": list(SCOPES), "projects": [project], "label": label}
        status, text = self.ask(Ask("/api/v1/keys", json.dumps(wanted)), {}, self.admin)
        assert status == 201, text
        return str(json.loads(text)["key"])

    def ask(
        self, ask: Ask, ids: Ids, key: str | None, method: str | None = None
    ) -> tuple[int, str]:
        """Return status and body of an answer; one connection is kept for all."""
        body = None if ask.body is None else Template(ask.body).safe_substitute(ids).encode()
        quoted = {name: quote(value, safe="") for name, value in ids.items()}
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        headers |= {} if body is None else {"content-type": ask.content_type}
        verb = method or ("GET" if body is None else "POST")
        return self._send(verb, Template(ask.target).safe_substitute(quoted), body, headers)

    def _send(
        self, verb: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str]:
        """Return status and body; sent again where the server had closed the idle connection."""
        for is_last in (False, True):
            if self._connection.sock is None:
                self._connection.connect()
            try:
                self._connection.request(verb, target, body, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read().decode(errors="replace")
            except (ConnectionError, http.client.HTTPException):
                self._connection.close()
                if is_last:
                    raise
        raise AssertionError("unreachable")

    def query(self, statement: str, key: str) -> tuple[int, str]:
        """Return the answer to a statement, sent as it is."""
        body = statement.encode("utf-8", "surrogatepass")
        return self._send("POST", "/sql", body, {"authorization": f"Bearer {key}"})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def told(self, ask: Ask, ids: Ids, key: str) -> tuple[int, str]:
        """Return an answer with every id in it replaced by its name."""
        status, text = self.ask(ask, ids, key)
        return status, unnamed(text, ids)

    def command(self, name: str, arguments: Sequence[str], ids: Ids, key: str) -> tuple[int, str]:
        """Run a command; return its exit code and all it wrote, every id replaced by its name."""
        ids = {**ids, "folder": tempfile.mkdtemp(dir=self.folder)}
        scores = Path(ids["folder"], "scores.jsonl")
        scores.write_text(f'{{"request_id": "{ids["request"]}", "name": "n", "value": 1}}\n')
        ids["scores"] = str(scores)
        ids["plan"] = str(a_plan(Path(ids["folder"], "plan.json"), ids["version"]))
        described = 'name = "x"\n[prompt.a]\ntext = "x"\n'
        Path(ids["folder"], "mvtrace.toml").write_text(described)
        Path(ids["folder"], "rows.jsonl").write_text('{"row": 1}\n')
        Path(ids["folder"], "bot.toml").write_text(A_PLAN)
        asked = [Template(one).safe_substitute(ids) for one in arguments]
        place = asked.index("--") if "--" in asked else len(asked)
        asked[place:place] = ["--url", self.url]
        done = self._commands.run([*name.split(), *asked], environ_of(key))
        return done.code, unnamed(f"{done.output}\n---\n{done.errors}", ids)


A_PLAN: Final = 'name = "x"\n[[metrics]]\nname = "ok"\nkind = "rate"\nmargin = 0.1\n'


def a_plan(file: Path, artifact: str) -> Path:
    """Write a plan that collects *artifact* from where something lies; return its file."""
    place = Place(artifact, (file.parent / "mvtrace.toml").as_uri(), 1, 1)
    policy = Policy(roots=(file.parent.as_uri(),), window_ns=0)
    made = Plan(
        project="default",
        made_at="2026-08-22T11:02:07Z",
        policy=policy,
        verdicts=(Verdict(place, EXPIRED, "last used 2026-08-22"),),
    )
    file.write_bytes(made.to_bytes())
    return file


def environ_of(key: str) -> dict[str, str]:
    """Return the environment a command runs in: no setting of ours but the keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MVTRACE_")}
    return {**kept, "MVTRACE_API_KEY": key, "MVTRACE_DIGEST_KEY": DIGEST_KEY}


def unnamed(text: str, ids: Ids) -> str:
    """Return *text* with ids replaced by their names, the longest first."""
    for name, value in sorted(ids.items(), key=lambda pair: -len(pair[1])):
        if len(value) > 1:
            text = text.replace(value, f"<{name}>").replace(quote(value), f"<{name}>")
        text = text.replace(repr(value), f"<{name}>")
    return text


@contextmanager
def two_projects(folder: Path) -> Iterator[World]:
    """Run a collector over a store in which a and b have one of everything."""
    dsn = f"chdb://{folder / 'store'}"
    with new_store(dsn) as store:
        _fill_a(Filler(store, project="a"))
        _fill_b(Filler(store, project="b"))
        for number in range(5):
            Filler(store, project="n").numbers(f"side:{number}")
    made = subprocess.run(
        [
            *(sys.executable, "-m", "mvtrace", "keys", "create", "--scope", "admin"),
            *("--project", "*", "--label", "admin", "--json", "--store", dsn),
        ],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    with collector(folder) as running, warm_commands() as commands:
        world = World(running.url, str(json.loads(made.stdout)["key"]), folder, commands)
        try:
            yield world
        finally:
            world.close()


def _fill_a(fill: Filler) -> None:
    fill.system(SYSTEM)
    for number in (0, 3, 4):
        fill.request(record(number))
    fill.content_of(request_id(0), subject="hmac-sha256:00000001:" + "0" * 64)
    fill.gap(service="support")
    fill.drift(service="support")


def _fill_b(fill: Filler) -> None:
    fill.system(SECOND)
    data = entry_of("dataset", {"name": f"{SECRET}-dataset-1", "root": "d" * 64})
    fill.entry(data)
    fill.entry(entry_of("experiment", {"name": f"{SECRET}-service-1"}))
    fill.entry(entry_of("suite", {"name": f"{SECRET}-suite-1", "examples": {"root": "d" * 64}}))
    fill.entry(a_certificate(f"{SECRET}-service-1"))
    scorer = scorer_entry(f"{SECRET}-service-1", code="sha256:" + "5" * 64).entry
    suite = suite_entry(f"{SECRET}-service-1", Examples("5" * 64, 1))
    fill.entry(scorer)
    fill.entry(suite)
    fill.results(
        Pinned(composite=SECOND.version, suite=suite.digest[7:], scorer=scorer.digest[7:]),
        [Result(f"{SECRET}-example-1", value=1.0)],
        "5" * 64,
    )
    fill.edge(f"composite:{SECOND.version}", f"dataset:{'d' * 64}", "dataset", data.digest)
    for number in (1, 2):
        changed: dict[str, Any] = {
            "service": f"{SECRET}-service-1",
            "route": f"/{SECRET}-route-1",
            "conversation_id": f"{SECRET}-talk-1",
            "composite_version": SECOND.version,
            "composite_name": f"{SECRET}-system",
        }
        fill.request(record(number, **changed))
        for subject in (THEIRS["subject"], subject_of(THEIRS["person"])):
            fill.content_of(request_id(number), subject=subject)
    plan, verdict = a_comparison(f"{SECRET}-service-1", SECOND.version)
    fill.entry(plan)
    fill.verdict(verdict)
    fill.gap(service=f"{SECRET}-service-1")
    fill.drift(service=f"{SECRET}-service-1")
