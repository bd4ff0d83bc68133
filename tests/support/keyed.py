"""A running collector with keys: commands and HTTP requests under any of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import Running


def mvtrace(
    *arguments: str, key: str | None = None, code: int = 0, environ: Mapping[str, str] | None = None
) -> str:
    """Run a command; return what it wrote to stdout, or to stderr where it is to fail."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MVTRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "mvtrace", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**kept, **(environ or {}), **({} if key is None else {"MVTRACE_API_KEY": key})},
    )
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def new_key(scopes: str, projects: str, where: list[str], key: str | None = None) -> str:
    """Make a key of *scopes* in *projects*, which are words; its label is its scopes."""
    wanted = [word for scope in scopes.split() for word in ("--scope", scope)]
    wanted += [word for project in projects.split() for word in ("--project", project)]
    made = mvtrace("keys", "create", *wanted, "--label", scopes, "--json", *where, key=key)
    return str(json.loads(made)["key"])


def id_of(key: str) -> str:
    """Return the id in a key's text."""
    return key.split("_")[1]


@dataclass(frozen=True)
class Answer:
    """What a collector answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(
    url: str,
    key: str | None = None,
    body: bytes | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask a collector, with a *key* if there is one; a *body* is posted."""
    given = {"content-type": "application/json", **(headers or {})}
    given |= {} if key is None else {"authorization": f"Bearer {key}"}
    asked = urllib.request.Request(url, body, given, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=40) as reply:
            return _answer(reply.status, reply)
    except urllib.error.HTTPError as error:
        return _answer(error.code, error)


class Keyed:
    """A running collector and the key of its admin."""

    def __init__(self, running: Running, admin: str) -> None:
        self.url = running.url
        self.log: Path = running.log
        self.process = running.process
        self.admin = admin
        self.reader = self.key("read sql", "*")

    def key(self, scopes: str, projects: str) -> str:
        return new_key(scopes, projects, ["--url", self.url], self.admin)

    def run(
        self, *arguments: str, key: str, code: int = 0, environ: Mapping[str, str] | None = None
    ) -> str:
        return mvtrace(*arguments, "--url", self.url, key=key, code=code, environ=environ)

    def ask(self, path: str, key: str | None, body: bytes | None = None, **asked: Any) -> Answer:
        return ask(self.url + path, key, body, **asked)

    def sql(self, statement: str, project: str) -> list[list[Any]]:
        query = {
            "query": statement,
            "project": project,
            "default_format": "JSONCompactEachRow",
        }
        answer = self.ask(f"/sql?{urllib.parse.urlencode(query)}", self.reader)
        assert answer.status == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def rows(self, statement: str, project: str, number: int = 1) -> list[list[Any]]:
        """Ask until there are *number* rows."""
        deadline = time.monotonic() + 15
        while len(found := self.sql(statement, project)) < number and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


def _answer(status: int, reply: Any) -> Answer:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return Answer(status, headers, reply.read().decode())
