"""A collector with suites and scorers, and ``mvtrace eval`` run against it within this process."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from processes import collector
from stored import Filler, new_store
from story import record

from mvtrace.cli.main import run

LOGS = Path(__file__).parents[1] / "mvtrace" / "registry" / "evals" / "logs"
A, B, C, D = ("1a" * 32, "2b" * 32, "3c" * 32, "4d" * 32)
"""Versions that nobody registered."""
EXAMPLES = [{"id": f"q{n}", "question": f"{n} + {n}", "page": f"p{n // 5}"} for n in range(200)]


NUMBERS = itertools.count()


class Told(NamedTuple):
    code: int
    out: str
    err: str


class World(NamedTuple):
    url: str
    folder: Path

    def run(self, *arguments: object, project: str = "", **given: str) -> Told:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
        environ = {key: one for key, one in os.environ.items() if not key.startswith("MVTRACE_")}
        environ |= {"MVTRACE_URL": self.url, **given}
        environ |= {"MVTRACE_PROJECT": project} if project else {}
        with (
            mock.patch.dict(os.environ, environ, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(["eval", *map(str, arguments)])
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return Told(code, *texts)

    def json(self, *arguments: object) -> Any:
        told = self.run(*arguments, "--json")
        assert told.code == 0, told
        return json.loads(told.out)

    def file(self, name: str, rows: list[dict[str, Any]]) -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def record(self, version: str, suite: str, scorer: str, rows: list[dict[str, Any]]) -> Any:
        name = f"results-{next(NUMBERS)}.jsonl"
        pinned = ("--version", version, "--suite", suite, "--scorer", scorer)
        return self.json("record", self.file(name, rows), *pinned)


@contextlib.contextmanager
def evaluated(folder: Path) -> Iterator[World]:
    """Run a collector that has a suite in two versions, another with clusters, and two scorers."""
    with new_store(f"chdb://{folder / 'store'}") as store:
        fill = Filler(store)
        fill.system()
        for number in range(3):
            fill.request(record(number))
    files = folder / "files"
    files.mkdir()
    with collector(folder) as running:
        made = World(running.url, files)
        one, two = made.file("v1.jsonl", EXAMPLES), made.file("v2.jsonl", EXAMPLES[:190])
        for version, path in (("v1", one), ("v2", two)):
            made.json("suite", path, "--name", "sums", "--version", version, "--id", "id")
        made.json("suite", one, "--name", "pages", "--id", "id", "--cluster", "page")
        prompt, code = files / "prompt.txt", files / "score.py"
        prompt.write_text("Is {answer} right?\n")
        code.write_text("def score(answer): return answer == 'x'\n")
        made.json("scorer", "--name", "exact", "--code", code)
        judge = ("--judge", "gpt-5", "--prompt", prompt, "--value", "C=1", "--value", "I=0")
        made.json("scorer", "--name", "judge", *judge)
        yield made


def scored(count: int, is_right: Callable[[int], bool]) -> list[dict[str, Any]]:
    return [{"example": f"q{n}", "value": int(is_right(n))} for n in range(count)]


def refused(told: Told) -> str:
    assert (told.code, told.out) == (1, "")
    return told.err
