"""Results of one run of a suite: a score an example, pinned to a version, a suite and a scorer.

In: results, in any order. Out: entries of kind ``results``, the run cut into pieces that fit an
event. The run is named by the digest of all it says, so the same results recorded again are the
same entries, and what was left out of a run shows. An example may come several times, numbered by
*repeat*. Read back in the
order of the pieces, the results are the same, sorted by example.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mvtrace.digest import canonical_bytes
from mvtrace.ids import UUID7_PATTERN
from mvtrace.registry.entries import MAX_ENTRY_BYTES, Entry, entry_of
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.evals.scorers import UNDECLARED
from mvtrace.registry.evals.suites import line_of

KIND: Final = "results"
_WORDS: Final = "set of results"
RUN_DOMAIN: Final = b"mvtrace.eval-run/1\n"
MAX_RESULTS: Final = 1_000_000
"""Of one run: they are held in memory while the run is named."""
MAX_LABEL: Final = 256
MAX_REPEAT: Final = 1_000_000
_PIECE_BYTES: Final = MAX_ENTRY_BYTES - 8_192
"""What a piece's results may take, beside what it is pinned to."""
_KEYS: Final = frozenset({"example", "value", "label", "cluster", "request_id", "repeat"})


class Result(NamedTuple):
    """What the scorer gave the answer to one example: a *value*, a *label*, or both.

    A label without a value is an example that was not scored, and says why.
    """

    example: str
    repeat: int = 0
    value: float | None = None
    label: str | None = None
    cluster: str = ""
    """The group of examples it belongs to; empty: it is a group of its own."""
    request_id: str | None = None
    """The request that was answered, where it went through the traced system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """What results are pinned to: digits of the composite and the suite, and the scorer."""

    composite: str
    suite: str
    scorer: str
    """64 hex digits, or ``undeclared:<source>/<name>``."""

    def __post_init__(self) -> None:
        """Refuse what is no digest."""
        for name in ("composite", "suite"):
            if not _is_digest(getattr(self, name)):
                raise RegistryError(_WORDS, f"its {name} is no 64 hex digits.")
        if not _is_digest(self.scorer) and not self.scorer.startswith(UNDECLARED):
            raise RegistryError(_WORDS, "its scorer is no 64 hex digits.")


def result_of(said: Mapping[str, Any], values: Mapping[str, float] | None = None) -> Result:
    """Return the result that *said* is; *values* turn labels into numbers.

    Raises:
        ValueError: it is none; the text says why.
    """
    strange = sorted(said.keys() - _KEYS)
    if strange:
        raise ValueError(f"{', '.join(map(repr, strange[:3]))} means nothing here")
    value, label = said.get("value"), said.get("label")
    if value is not None:
        value = _number(value)
    if label is not None and not (
        isinstance(label, str) and 0 < len(label) <= MAX_LABEL and label.isprintable()
    ):
        raise ValueError(f"label is no line of 1 to {MAX_LABEL} printable characters")
    if value is None and label is not None and values:
        value = values.get(label)
    if value is None and label is None:
        raise ValueError("value and label are missing")
    repeat = said.get("repeat", 0)
    if type(repeat) is not int or not 0 <= repeat <= MAX_REPEAT:
        raise ValueError(f"repeat is no whole number from 0 to {MAX_REPEAT:,}")
    cluster, request_id = said.get("cluster"), said.get("request_id")
    if request_id is not None and not (
        isinstance(request_id, str) and UUID7_PATTERN.fullmatch(request_id)
    ):
        raise ValueError("request_id is no request id")
    return Result(
        example=line_of(said.get("example"), "example"),
        repeat=repeat,
        value=value,
        label=label,
        cluster="" if cluster is None else line_of(cluster, "cluster"),
        request_id=request_id,
    )


def pieces_of(pinned: Pinned, results: Iterable[Result], *, recorded_at: str) -> list[Entry]:
    """Return the entries that record one run; *recorded_at* is Unix nanoseconds in digits.

    Raises:
        RegistryError: there are no results or too many, or an example comes twice.
    """
    ordered = _ordered(results)
    lists = list(_cut(ordered))
    said = {
        "composite": pinned.composite,
        "suite": pinned.suite,
        "scorer": pinned.scorer,
        "recorded_at": recorded_at,
    }
    run = run_of(said, (body for _, bodies in lists for body in bodies))
    return [
        entry_of(
            KIND,
            {
                **said,
                "run": run,
                "piece": number,
                "pieces": len(lists),
                "results": [_said(result) for result in part],
            },
        )
        for number, (part, _) in enumerate(lists, 1)
    ]


def run_of(pinned: Mapping[str, str], bodies: Iterable[bytes]) -> str:
    """Return the name of a run: what it is pinned to, and its results in order."""
    hashed = hashlib.sha256(RUN_DOMAIN + canonical_bytes(dict(pinned)))
    for body in bodies:
        hashed.update(b"\n" + body)
    return hashed.hexdigest()


def _ordered(results: Iterable[Result]) -> list[Result]:
    ordered: list[Result] = []
    for result in results:
        ordered.append(result)
        if len(ordered) > MAX_RESULTS:
            raise RegistryError(
                _WORDS,
                f"there are more than {MAX_RESULTS:,} of them.",
                hint="Split the suite; results of parts are recorded apart.",
            )
    if not ordered:
        raise RegistryError(_WORDS, "there are none.")
    ordered.sort(key=lambda one: one[:2])
    for before, after in itertools.pairwise(ordered):
        if before[:2] == after[:2]:
            raise RegistryError(
                _WORDS,
                f"the example {before.example!r} comes twice as repeat {before.repeat}.",
                hint="Number the samples of one example with repeat: 0, 1, 2.",
            )
    return ordered


def _cut(ordered: Sequence[Result]) -> Iterator[tuple[list[Result], list[bytes]]]:
    """Yield parts of *ordered* that fit an entry, each with its results' canonical bytes."""
    part: list[Result] = []
    bodies: list[bytes] = []
    size = 0
    for result in ordered:
        body = canonical_bytes(_said(result))
        if part and size + len(body) + 1 > _PIECE_BYTES:
            yield part, bodies
            part, bodies, size = [], [], 0
        part.append(result)
        bodies.append(body)
        size += len(body) + 1
    yield part, bodies


def _said(result: Result) -> dict[str, Any]:
    said: dict[str, Any] = {"example": result.example}
    if result.repeat:
        said["repeat"] = result.repeat
    for name in ("value", "label", "request_id"):
        if (value := getattr(result, name)) is not None:
            said[name] = value
    if result.cluster:
        said["cluster"] = result.cluster
    return said


def _number(value: object) -> float:
    if type(value) not in (int, float, bool):
        raise ValueError("value is no number")
    number = finite(value)
    if number is None:
        raise ValueError("value is not finite; say why there is no score as its label")
    return number


def finite(value: object) -> float | None:
    """Return *value* as a finite number; None where it is none, or beyond what a float holds."""
    if type(value) not in (int, float, bool):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")  # noqa: PLR2004
