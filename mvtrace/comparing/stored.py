"""Kept verdicts, listed, and computed again from what is kept with them.

In: an Ask and a filter. Out: plain values; by event the problem of each that is not what its
statistics make. What somebody sent under that name and is no verdict of ours is listed as far as it
says something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mvtrace.comparing.events import RecomputeError, read_body, recomputed
from mvtrace.digest import parse_canonical
from mvtrace.errors import FilterError
from mvtrace.quality.verdict import Verdict
from mvtrace.registry.deployments import time_text
from mvtrace.registry.reading import MIN_DIGITS, Ask, in_parts, statement

_MILLISECOND: Final = 1_000_000
_TEXTS: Final = (
    "decision", "reason", "sentence", "baseline", "candidate", "by", "service", "environment",
    "rollout", "digest", "plan_digest",
)  # fmt: skip


def listed(
    ask: Ask, *, digest: str, version: str, limit: int, **texts: str
) -> list[dict[str, Any]]:
    """Return the verdicts that a filter lets through, the newest first; empty texts let any.

    Raises:
        FilterError: a digest or a version is none.
    """
    wanted = {
        "digest": _hex("digest", digest, "sha256:"),
        "version": _hex("version", version, ""),
        **{name: texts[name] for name in ("service", "environment", "decision")},
        "limit": limit,
    }
    return [_one(row) for row in ask(statement("verdicts_listed"), wanted)]


def problems(ask: Ask, found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return, by event, why a verdict of *found* is not what its statistics make."""
    read: dict[str, Verdict] = {}
    wrong: dict[str, str] = {}
    for one in found:
        try:
            read[one["event_id"]] = read_body(one["body"])
        except ValueError as error:
            wrong[one["event_id"]] = str(error)
    needed = sorted({digest for one in found for digest in one["before"]})
    before = _by_digest(ask, needed)
    for one in found:
        if one["event_id"] in read:
            last = [before[digest] for digest in one["before"] if digest in before]
            if len(last) < len(one["before"]):
                wrong[one["event_id"]] = "a look that it went on from is not there"
                continue
            try:
                recomputed(read[one["event_id"]], last)
            except RecomputeError as error:
                wrong[one["event_id"]] = error.message
    return wrong


def _by_digest(ask: Ask, digests: Sequence[str]) -> dict[str, Verdict]:
    found = {}
    for some in in_parts(digests):
        for row in ask(statement("verdicts_by_digest"), {"digests": some}):
            try:
                found[str(row["digest"])] = read_body(row["body"])
            except ValueError:
                continue  # told as missing by who needs it
    return found


def _one(row: Mapping[str, Any]) -> dict[str, Any]:
    said = _said(row["body"])
    sums, past, plan = (_part(said, name) for name in ("sufficient", "past", "plan"))
    before = said.get("before")
    return {
        "event_id": str(row["event"]),
        "at": time_text(int(row["at_ms"]) * _MILLISECOND),
        "actor": str(row["actor"]),
        "actor_label": str(row["actor_label"]),
        **{name: _text(said, name) for name in _TEXTS},
        "plan_name": _text(plan, "name"),
        "requests": [_number(sums, "baseline"), _number(sums, "canary")],
        "looks": _number(past, "looks"),
        "before": [one for one in before if isinstance(one, str)]
        if isinstance(before, list)
        else [],
        "body": row["body"],
    }


def _said(body: str) -> Mapping[str, Any]:
    try:
        said = parse_canonical(body.encode("utf-8", "surrogatepass"))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _part(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _number(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name)
    return value if type(value) is int else 0


def _hex(key: str, text: str, begins: str) -> str:
    digits = text.lower().removeprefix("sha256:")
    if digits and (len(digits) < MIN_DIGITS or set(digits) - set("0123456789abcdef")):
        raise FilterError(key, text, f"it is at least {MIN_DIGITS} hex digits")
    return f"{begins}{digits}" if digits else ""
