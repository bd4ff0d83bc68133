"""What the tests saw captured from each library, and the README's table of it.

In: one line of JSON a test, appended to the file named by MVTRACE_TEST_TABLE (without it nothing is
written). Out: a Markdown table between two markers. The tests run in several environments, so the
lines of all are gathered in one file, or in several, before the table is made::

    MVTRACE_TEST_TABLE=captured.jsonl python -m pytest -m peers tests
    python tests/support/captured_table.py captured.jsonl
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ENVIRON = "MVTRACE_TEST_TABLE"
README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN = "<!-- captured: begin -->"
END = "<!-- captured: end -->"
HEAD = ("| library | tested | what is captured |", "| --- | --- | --- |")


class Row(NamedTuple):
    """One library."""

    library: str
    versions: tuple[str, ...]
    captured: tuple[str, ...]


def record(library: str, version: str, captured: Sequence[str]) -> None:
    """Say that a test saw all of *captured* from *library*; does nothing unless asked to.

    Several tests of one library add up. One write a line, so that processes may share the file.
    """
    if path := os.environ.get(ENVIRON):
        line = json.dumps({"library": library, "version": version, "captured": list(captured)})
        with Path(path).open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


def rows(lines: Iterable[str]) -> list[Row]:
    """Unite the lines of each library, in the order of its name."""
    versions: dict[str, dict[str, None]] = {}
    captured: dict[str, dict[str, None]] = {}
    for line in filter(str.strip, lines):
        said = json.loads(line)
        versions.setdefault(said["library"], {})[said["version"]] = None
        captured.setdefault(said["library"], {}).update(dict.fromkeys(said["captured"]))
    names = sorted(versions, key=str.casefold)
    return [Row(name, tuple(versions[name]), tuple(captured[name])) for name in names]


def table(rows: Iterable[Row]) -> str:
    """Return the rows as Markdown."""
    made = (
        f"| `{row.library}` | {', '.join(row.versions)} | {_cell(', '.join(row.captured))} |"
        for row in rows
    )
    return "\n".join((*HEAD, *made))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def rendered(readme: str, rows: Iterable[Row]) -> str:
    """Return *readme* with the table of *rows* between its markers.

    Raises:
        ValueError: the markers are not there, once each and in this order.

    """
    before, begin, rest = readme.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in old + after or END in after:
        raise ValueError(f"{BEGIN} and {END} are not there once each, in this order")
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


def main(files: Sequence[str]) -> None:
    """Render the lines of *files*, else of the one in the environment, into the README."""
    named = files or [os.environ[ENVIRON]]
    lines = [line for name in named for line in Path(name).read_text().splitlines()]
    README.write_text(rendered(README.read_text(), rows(lines)))


if __name__ == "__main__":
    main(sys.argv[1:])
