"""Where an application calls a library from: the slot of what nobody has named.

Out: module and function, such as ``support.answers.ask``: no line, which any edit would move.
"""

from __future__ import annotations

import sys
from typing import Final

MAX_FRAMES: Final = 80
PASSED_OVER: Final = frozenset(
    {
        "anyio", "asyncio", "backoff", "concurrent", "contextlib", "functools", "httpx", "httpx2",
        "langchain_core", "langchain_openai", "langgraph", "litellm", "mvtrace", "openai",
        "tenacity", "threading",
    }
)  # fmt: skip
"""Top-level packages that stand between an application and what it calls."""


def call_site(otherwise: str) -> str:
    """Return the innermost function that is none of a library's, else *otherwise*."""
    frame = sys._getframe(1)  # noqa: SLF001 (the documented way to a frame)
    for _ in range(MAX_FRAMES):
        if frame.f_back is None:
            break
        frame = frame.f_back
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in PASSED_OVER:
            return f"{module}.{frame.f_code.co_qualname.replace('<locals>.', '')}"
    return otherwise
