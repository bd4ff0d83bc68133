"""``mvtrace status``: one screen about the collector and the spool folders of this host.

In: the documents of ``/api/v1/status`` and of ``spools``. Out: text, every foreign word inert. Pure
but for ``gathered``, which asks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mvtrace.cli.inert import inert
from mvtrace.cli.remote import Collector
from mvtrace.cli.spools import spools
from mvtrace.cli.text import aligned, error_text
from mvtrace.cli.words import plural
from mvtrace.errors import MvtraceError

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_TWO: Final = 2


def gathered(collector: Collector | None, folder: Path) -> tuple[dict[str, Any], int]:
    """Return what is known and the exit code: 0 healthy, 1 something is wrong, 3 unreachable."""
    found: dict[str, Any] = {"spools": spools(folder)}
    code = 0 if found["spools"]["healthy"] else 1
    if collector is None:
        return found, code
    try:
        found["collector"] = collector.status()
    except MvtraceError as error:
        found["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
        return found, error.exit_code
    return found, max(code, 0 if found["collector"].get("healthy") else 1)


def status_words(found: Mapping[str, Any]) -> str:
    """Return *found* as a screen of text."""
    parts = []
    if "collector" in found:
        parts += _collector_parts(found["collector"])
    if "error" in found:
        error = MvtraceError(found["error"]["message"], hint=found["error"]["hint"])
        error.code = found["error"]["code"]
        parts.append(error_text(error).rstrip("\n"))
    parts.append(_spool_part(found["spools"]))
    return "\n\n".join(parts) + "\n"


def _collector_parts(one: Mapping[str, Any]) -> list[str]:
    state = "healthy" if one["healthy"] else "something is wrong"
    head = f"collector {one['version']} at {one['url']}   {state}   up {_span(one['uptime_s'])}"
    parts = [f"{inert(head)}\nstore {inert(one['store'])}"]
    failing = [
        f"! {inert(name)}: {inert(check['reason'])}\n  {inert(check['hint'])}"
        for name, check in one["checks"].items()
        if check["status"] != "ok"
    ]
    parts += ["\n".join(failing)] if failing else []
    parts.append(_section("way", _way(one)))
    parts.append(_section("trouble", _trouble(one)))
    return parts


def _way(one: Mapping[str, Any]) -> list[list[str]]:
    lag, rates, rows = one["lag"], one["rates"], one["stored_rows"]
    accepted = ", ".join(
        f"{rates[key]:,.1f} {key.replace('_', ' ')}/s" for key in ("spans", "log_records")
    )
    waiting = plural(lag["batches"], "batch").replace("batchs", "batches")
    stored = ", ".join(f"{count:,} {inert(table)}" for table, count in sorted(rows.items()))
    free = ", ".join(
        f"{_size(size)} at the {inert(name)}" for name, size in one["disk_free_bytes"].items()
    )
    return [
        ["checks", f"{_holding(one['checks'])} of {len(one['checks'])} hold"],
        ["accepted", f"{accepted}, {_size(rates['bytes'])}/s"],
        ["waiting", f"{waiting}, {_size(lag['bytes'])}, oldest {_span(lag['seconds'])}"],
        ["stored", stored or "nothing since the start"],
        ["disk", f"{free} free"],
    ]


def _trouble(one: Mapping[str, Any]) -> list[list[str]]:
    rows = [
        [
            "quarantine",
            f"{inert(reason)}: {count['rows']:,}, {count['last_hour']:,} of them in the last hour",
        ]
        for reason, count in one["quarantine"].items()
    ]
    rows += [
        [
            "put aside",
            f"{plural(part['parts'], 'part')} of {inert(part['table'])}: {inert(part['reason'])}",
        ]
        for part in one["detached_parts"]
    ]
    if one["gaps"]:
        rows.append(["gaps", f"{plural(one['gaps'], 'range')} of records never came"])
    if one["load_errors"]:
        rows.append(["loads", f"{one['load_errors']:,} failed and were tried again"])
    return rows or [["none"]]


def _spool_part(one: Mapping[str, Any]) -> str:
    producers = one["producers"]
    rows = [
        [
            inert(one["service"] or "unknown service"),
            inert(one["producer"]),
            "alive" if one["alive"] else "orphaned",
            _size(one["undelivered_bytes"]),
            "" if one["oldest_s"] is None else f"oldest {_span(one['oldest_s'])}",
            _answer(one["last_answer"]),
        ]
        for one in producers
    ]
    if one["refused_bytes"]:
        rows.append([f"{_size(one['refused_bytes'])} were refused and are kept in quarantine"])
    return _section(f"spools in {inert(one['folder'])}", rows or [["no producer"]])


def _answer(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return ""
    ago = _span(max(0.0, time.time() - answer["at"] / 1000))
    return f"{inert(answer['verdict'])} {ago} ago: {inert(answer['text'])}"


def _section(title: str, rows: list[list[str]]) -> str:
    return "\n".join([title, *(f"  {line}" for line in aligned(rows))])


def _holding(checks: Mapping[str, Mapping[str, str]]) -> int:
    return sum(check["status"] == "ok" for check in checks.values())


def _size(number: float) -> str:
    """Return a number of bytes with a unit that suits it."""
    unit = 0
    while number >= _STEP and unit < len(_UNITS) - 1:
        number /= _STEP
        unit += 1
    return f"{number:,.0f} {_UNITS[unit]}" if not unit else f"{number:,.1f} {_UNITS[unit]}"


def _span(seconds: float) -> str:
    """Return a length of time with the two units that suit it."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds else "0 s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    if seconds < _TWO * _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:.0f} h"
