"""Versions with real files behind them, registered at a real collector, for tests of retention."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyed import Answer, ask

import mvtrace as library
from mvtrace.cli.main import run
from mvtrace.cli.registering import Registrable, register
from mvtrace.components.composite import CompositeVersion
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.lineage.derivations import derivation
from mvtrace.registry.refs import Ref


@dataclass(frozen=True)
class Made:
    """A version, and where the bytes of its one artifact lie."""

    composite: CompositeVersion
    artifact: str
    path: Path
    bytes: int

    @property
    def version(self) -> str:
        return self.composite.version

    @property
    def uri(self) -> str:
        return self.path.as_uri()

    @property
    def is_there(self) -> bool:
        return self.path.exists()

    def entry(self, uri: str | None = None) -> Entry:
        said = {"artifact": self.artifact, "uri": uri or self.uri, "bytes": self.bytes}
        return entry_of("artifact", said)


@dataclass
class Shelf:
    """A folder of models below a root, and the collector they are registered at."""

    url: str
    root: Path
    service: str
    made: dict[str, Made] = field(default_factory=dict)

    def model(
        self, name: str, files: dict[str, str] | None = None, *, uris: Sequence[str] | None = None
    ) -> Made:
        """Write a model (one file, or *files* in a folder), and register a version of it."""
        one = self._written(name, files)
        places = [one.entry(uri) for uri in ([one.uri] if uris is None else uris)]
        self.register(one.composite, *places)
        return one

    def models(self, *names: str, files: dict[str, str] | None = None) -> list[Made]:
        """Write several models, and register a version of each at once."""
        made = [self._written(name, files) for name in names]
        self.register(*(thing for one in made for thing in (one.composite, one.entry())))
        return made

    def _written(self, name: str, files: dict[str, str] | None) -> Made:
        path = self.root / name
        for inner, text in (files or {}).items():
            (path / inner).parent.mkdir(parents=True, exist_ok=True)
            (path / inner).write_text(f"{text} of {name}")
        if not files:
            path.write_text(f"weights of {name}")
        model = library.model("answer", path=path)
        facts = model.facts["artifact"]
        composite = library.composite(name, model)
        digest = facts["digest"].removeprefix("sha256:")
        one = Made(composite, digest, path, int(facts["bytes"]))
        self.made[name] = one
        return one

    def heir(self, name: str, parent: Made) -> CompositeVersion:
        """Register another version that has the model of *parent*, and a prompt besides."""
        model = library.model("answer", path=parent.path)
        composite = library.composite(name, model, library.prompt("answer", name))
        self.register(composite)
        return composite

    def register(self, *things: Registrable) -> None:
        """Register *things*."""
        register(things, url=self.url)

    def derive(self, child: Made, parent: Made) -> None:
        """Register that the model of *child* was made from that of *parent*."""
        entry = derivation(
            Ref("artifact", child.artifact), [(Ref("artifact", parent.artifact), "base")]
        )
        register([entry], url=self.url)

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command against the collector, in this process; return what it wrote."""
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                found = run([*words, "--url", self.url])
            except SystemExit as left:
                found = int(left.code or 0)
        told = out.buffer.getvalue().decode()
        assert found == code, told
        return told

    def decide(self, action: str, *words: str, environment: str = "prod", code: int = 0) -> str:
        """Run a deciding command."""
        place = ("--service", self.service, "--environment", environment)
        return self.run(action, *words, *place, code=code)

    def deploy(self, one: Made, *words: str, environment: str = "prod", code: int = 0) -> str:
        """Deploy a version."""
        return self.decide("deploy", one.version, *words, environment=environment, code=code)

    def serve(self, one: Made, environment: str = "prod") -> None:
        """Deploy a version without a command."""
        said = {"action": "deploy", "service": self.service, "environment": environment}
        answer = self.post("/api/v1/deploy", {**said, "version": one.version})
        assert answer.status == 201, answer.text

    def plan(self, *words: str, root: Path | str | None = None) -> tuple[Path, dict[str, Any]]:
        """Make a plan without a window; return its file and what the command says."""
        out = self.root.parent / f"plan-{len(list(self.root.parent.glob('plan-*')))}.json"
        where = str(root or self.root)
        said = ("--root", where, "--window", "0h", *words, "--out", str(out), "--json")
        return out, json.loads(self.run("retention", "plan", *said))

    def rules(self, plan: Path) -> dict[str, str]:
        """Return the rule of each artifact of a plan, by the name of its version."""
        names = {one.artifact: name for name, one in self.made.items()}
        verdicts = json.loads(plan.read_text())["verdicts"]
        return {names[one["artifact"]]: one["rule"] for one in verdicts if one["artifact"] in names}

    def apply(self, plan: Path) -> dict[str, Any]:
        """Apply a plan; return what the command says."""
        return dict(json.loads(self.run("retention", "apply", str(plan), "--json")))

    def post(self, path: str, said: dict[str, Any]) -> Answer:
        """Post a JSON document to the collector."""
        return ask(self.url + path, None, json.dumps(said).encode())

    def sql(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""
        return list(json.loads(self.run("sql", statement, "--format", "json")))
