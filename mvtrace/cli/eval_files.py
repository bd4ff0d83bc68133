"""The file that ``mvtrace eval record`` reads: results, one JSON object a line.

In: a path. Out: the results and when the file was written, or what is wrong with which line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert
from mvtrace.cli.words import plural
from mvtrace.errors import CheckFailedError
from mvtrace.registry.evals.results import MAX_RESULTS, Result, result_of

MAX_LINE_BYTES: Final = 1024 * 1024
_SHOWN: Final = 20


class ResultsFile(NamedTuple):
    """The results of a file, and when it was written."""

    results: list[Result]
    written_ns: str


def read_results(file: Path, values: Mapping[str, float]) -> ResultsFile:
    """Return the results of *file*; *values* turn labels into numbers.

    Raises:
        CommandLineError: it cannot be read.
        CheckFailedError: lines of it are no results.
    """
    results: list[Result] = []
    problems: list[str] = []
    wrong = number = 0
    seen: dict[tuple[str, int], int] = {}
    try:
        with file.open("rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES + 1):
                number += 1
                if not line.strip():
                    continue
                try:
                    results.append(_result(line, values, seen, number))
                except ValueError as error:
                    wrong += 1
                    if len(problems) < _SHOWN:
                        problems.append(f"\n  line {number}: {inert(error)}")
        written_ns = str(file.stat().st_mtime_ns)
    except OSError as error:
        raise CommandLineError(
            f"{file} cannot be read: {error.strerror or error}.",
            hint="It is a file with one JSON object a line.",
        ) from error
    if wrong:
        more = f"\n  and {wrong - _SHOWN:,} more" if wrong > _SHOWN else ""
        raise CheckFailedError(
            f"{plural(wrong, 'line')} of {wrong + len(results):,} "
            f"{'is' if wrong == 1 else 'are'} no result, so nothing was sent:"
            f"{''.join(problems)}{more}",
            hint="'mvtrace eval record --help' tells what a line has.",
        )
    return ResultsFile(results, written_ns)


def _result(
    line: bytes, values: Mapping[str, float], seen: dict[tuple[str, int], int], number: int
) -> Result:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"it has more than {MAX_LINE_BYTES:,} bytes")
    if len(seen) >= MAX_RESULTS:
        raise ValueError(f"there are more than {MAX_RESULTS:,} results")
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 (of the input)
    result = result_of(said, values)
    first = seen.setdefault((result.example, result.repeat), number)
    if first != number:
        raise ValueError(
            f"the example {result.example!r} is in line {first} already; "
            "number its samples with repeat"
        )
    return result
