"""The example with a real language model and real embeddings runs as its README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.llm


def test_rag_llm_answers_and_is_explained(tmp_path: Path) -> None:
    """
    Three questions are answered by the model, and the first answer's explanation names the real
    weights, index, prompt and router.
    """
    environ = {
        **os.environ,
        "RAG_LLM_CACHE": str(tmp_path / "cache"),
        "MVTRACE_SPOOL_DIR": str(tmp_path / "spool"),
    }

    run = subprocess.run(
        [sys.executable, "-m", "examples.rag_llm.run"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("\nA: ") == 3
    for part in ("gemma-3-270m", "topics", "answer", "route", "chatcmpl-", "seed"):
        assert part in run.stdout
    assert "drift" not in run.stdout.partition("changed since")[0].lower()
