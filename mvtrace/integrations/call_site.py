"""Where an application calls a library from: the slot of what nobody has named.

Out: module and function, such as ``support.answers.ask``: no line, which any edit would move.
"""

from __future__ import annotations

import sys
from typing import Final

MAX_FRAMES: Final = 80
PASSED_OVER: Final = frozenset(
    {
        "accelerate", "anthropic", "anyio", "asyncio", "backoff", "bm25s", "chromadb", "concurrent",
        "contextlib", "faiss", "functools", "hnswlib", "httpx", "httpx2", "lancedb", "langfuse",
        "langgraph", "litellm", "llama_index", "llama_index_instrumentation", "mcp", "mlflow",
        "mvtrace", "openai", "openfeature", "peft", "pydantic", "pymilvus", "qdrant_client",
        "semantic_router", "sentence_transformers", "tenacity", "threading", "torch",
        "transformers", "usearch", "workflows", "wrapt",
    }
)  # fmt: skip
"""Top-level packages that stand between an application and what it calls."""
PASSED_OVER_PREFIX: Final = "langchain"
"""And those of LangChain, which has one a provider."""


def call_site(otherwise: str, *, within: str | None = None) -> str:
    """Return the innermost function that is none of a library's, else *otherwise*.

    With *within* only what the package of that name has called is looked at: who has started it
    may stand on the stack or, where it uses threads, may not.
    """
    frame = sys._getframe(1)  # noqa: SLF001 (the documented way to a frame)
    for _ in range(MAX_FRAMES):
        if frame.f_back is None:
            break
        frame = frame.f_back
        module = str(frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        if package == within:
            break
        if package not in PASSED_OVER and not package.startswith(PASSED_OVER_PREFIX):
            return f"{module}.{frame.f_code.co_qualname.replace('<locals>.', '')}"
    return otherwise
