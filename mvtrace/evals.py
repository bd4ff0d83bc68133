"""Evals from an application: suites, scorers and results, sent as everything else is.

In: a file of examples, what scores, and results as mappings. Out: entries, queued for the spool of
the process (``mvtrace.flush()`` waits for the collector); what is recorded twice is there once::

    capitals = evals.suite("capitals.jsonl", name="capitals", id_key="id")
    exact = evals.scorer("exact", code=score)
    evals.record(system, capitals, exact, [{"example": "q1", "value": 1.0}])

Comparing is the command line's: ``mvtrace eval compare``. Larger runs than a few ten thousand
results are better recorded from a file: ``mvtrace eval record``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from mvtrace.capture.pipeline import current_tracing
from mvtrace.components.composite import CompositeVersion
from mvtrace.otlp import LogEvent
from mvtrace.registry.entries import Entry
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.evals.examples import check_fits, examples_of, suite_of
from mvtrace.registry.evals.results import Pinned, pieces_of, result_of
from mvtrace.registry.evals.scorers import Scorer, scorer_entry, values_said

_PREFIX: Final = "sha256:"


class _Registrable(Protocol):
    def events(self, register_content: bool = True) -> Iterable[LogEvent]: ...  # noqa: FBT001, FBT002


def suite(
    path: str | os.PathLike[str],
    *,
    name: str,
    version: str = "",
    id_key: str = "",
    cluster_key: str = "",
) -> Entry:
    """Register the examples at *path* as a suite and return its entry.

    *id_key* is the key of a row that names its example (else the digest of the row does),
    *cluster_key* that of what groups examples whose errors go together.

    Raises:
        CheckFailedError: a row has no such key, or two have one id.
        RegistryError: a text is none.
    """
    made = suite_of(Path(path), name=name, version=version, id_key=id_key, cluster_key=cluster_key)
    _register(made.entries)
    return made.suite


def scorer(
    name: str,
    *,
    code: str | Callable[..., object] | Mapping[str, str] | None = None,
    judge: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    values: Mapping[str, float] | None = None,
    better: str = "higher",
) -> Scorer:
    """Register what scores and return it; arguments as of scorer_entry.

    Raises:
        RegistryError: neither code nor judge is given, or something of it is none.
    """
    made = scorer_entry(
        name, code=code, judge=judge, parameters=parameters, values=values, better=better
    )
    _register([made])
    return made


def record(
    composite: CompositeVersion | str,
    suite: Entry,
    scorer: Scorer,
    results: Iterable[Mapping[str, Any]],
    *,
    recorded_at: int | None = None,
    examples: str | os.PathLike[str] | None = None,
) -> str:
    """Record one run: what *scorer* gave the answers of *composite* to *suite*; return its name.

    A result has ``example``, and ``value`` or ``label``; perhaps ``cluster``, ``request_id`` and
    ``repeat``. *recorded_at* is Unix time in nanoseconds; now, where it is not given. With the
    suite's file as *examples* each result has to be of one of them, and gets its cluster from it.

    Raises:
        RegistryError: a result is none, an example comes twice, or too many come.
        CheckFailedError: they are not of the suite, or some name no cluster.
    """
    version = composite if isinstance(composite, str) else composite.version
    values = values_said(scorer.entry.said)
    read = []
    for number, said in enumerate(results, 1):
        try:
            read.append(result_of(said, values))
        except ValueError as error:
            raise RegistryError("set of results", f"result {number:,}: {error}.") from error
    if examples is not None:
        read = examples_of(Path(examples), suite).checked(read)
    check_fits(suite, read)
    pinned = Pinned(
        composite=version,
        suite=suite.digest.removeprefix(_PREFIX),
        scorer=scorer.digest.removeprefix(_PREFIX),
    )
    now_ns = time.time_ns() if recorded_at is None else recorded_at
    entries = pieces_of(pinned, read, recorded_at=str(now_ns))
    _register(entries)
    return str(entries[0].said["run"])


def _register(things: Iterable[_Registrable]) -> None:
    tracing = current_tracing()
    for thing in things:
        for event in thing.events(tracing.config.register_content):
            tracing.emit_event(event)
