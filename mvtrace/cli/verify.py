"""``mvtrace verify``: what was recomputed, with counts, and what was wrong.

In: the lines of a verification, from a collector or from a store opened here. Out: progress on a
terminal, then a table, or the result as JSON; every foreign word inert.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mvtrace.cli.errors import ReportedError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.text import aligned

_SHOWN: Final = 78
_FAILED: Final = 1
_UNREACHABLE: Final = 3


def followed(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the result at the end of *lines*, showing progress where stderr is a terminal.

    Raises:
        ReportedError: the verification ended with an error, or without a result.
    """
    is_shown = sys.stderr.isatty()
    try:
        for line in lines:
            if "progress" in line and is_shown:
                _show(line["progress"])
            if "result" in line:
                return dict(line["result"])
            if "error" in line:
                raise _reported(line["error"])
    finally:
        if is_shown:
            sys.stderr.write(f"\r{' ' * _SHOWN}\r")
    message = "The verification ended before its result."
    raise ReportedError("collector", message, hint=None, exit_code=_UNREACHABLE, status=503)


def verification_words(result: Mapping[str, Any], *, as_json: bool) -> tuple[str, int]:
    """Return the result as text and the exit code: 1 where a check failed."""
    code = 0 if result["ok"] else _FAILED
    if as_json:
        return json_text(result), code
    rows = [["", "check", "looked at", "wrong", "repaired", "what holds"]]
    rows += [_row(check) for check in result["checks"]]
    parts = ["\n".join(aligned(rows))]
    parts += [_details(check) for check in result["checks"] if check["wrong"]]
    verdict = "everything checked holds" if result["ok"] else "something is wrong"
    parts.append(f"{verdict} ({result['seconds']:g} s)")
    return "\n\n".join(parts) + "\n", code


def _row(check: Mapping[str, Any]) -> list[str]:
    sign = {"ok": "ok", "note": "note", "wrong": "WRONG"}[check["state"]]
    counts = [f"{check[key]:,}" for key in ("checked", "wrong", "repaired")]
    return [sign, inert(check["check"]), *counts, inert(check["what"])]


def _details(check: Mapping[str, Any]) -> str:
    lines = [f"{inert(check['check'])}: {check['wrong']:,}"]
    lines += [f"  {inert(example)}" for example in check["examples"]]
    more = check["wrong"] - len(check["examples"])
    lines += [f"  and {more:,} more"] if more > 0 and check["examples"] else []
    if check["state"] != "ok":
        lines.append(f"  hint: {inert(check['hint'])}")
    return "\n".join(lines)


def _show(progress: Mapping[str, Any]) -> None:
    text = inert(f"{progress['what']}: {progress['checked']:,} checked")[:_SHOWN]
    sys.stderr.write(f"\r{text:<{_SHOWN}}")
    sys.stderr.flush()


def _reported(error: Mapping[str, Any]) -> ReportedError:
    return ReportedError(
        str(error["code"]),
        str(error["message"]),
        hint=error.get("hint"),
        exit_code=error.get("exit_code", _UNREACHABLE),
        status=503,
    )
