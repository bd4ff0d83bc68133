"""An application that says nothing about its calls: ``mvtrace.instrument()`` sees them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx2
import pytest
from explained import explained
from openai_server import serving as provider
from processes import collector
from servers import serving

pytest.importorskip("openai")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = (
    *("-m", "uvicorn", "--fd", "{fd}", "--log-level", "warning"),
    "instrumented_app:app",
)


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are handed over by descriptor")
def test_nothing_but_the_middleware_and_instrument(tmp_path: Path) -> None:
    """
    The explanation names models asked and served, tools, sampling and stack, all of it observed.
    """
    (tmp_path / "collector").mkdir()
    with collector(tmp_path / "collector") as one, provider() as server:
        environ = {
            "MVTRACE_URL": one.url,
            "MVTRACE_SERVICE": "notes",
            "MVTRACE_SPOOL_DIR": str(tmp_path / "spool"),
            "PROVIDER_URL": server.url,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'collector'}:{HERE}",
        }
        with serving(COMMAND, tmp_path / "app.log", HERE, environ) as app:
            for _ in range(4):
                reply = httpx2.post(
                    f"http://127.0.0.1:{app.port}/ask", json={"question": "a secret?"}, timeout=30
                )
                assert reply.json() == {"answer": "Hello"}
        explanation = explained(one.url, reply.headers["x-mvtrace-request-id"])

    parts = explanation["composite"]["components"]
    assert {part["basis"] for part in parts} == {"observed"}
    assert {f"{part['kind']}/{part['name']}" for part in parts} >= {
        "embedding_model//ask instrumented_app.ask",
        "model//ask instrumented_app.ask",
        "tools//ask instrumented_app.ask",
        "sampling//ask instrumented_app.ask",
        "stack/default",
    }
    calls = {call["kind"]: call for call in explanation["calls"]}
    assert calls["generation"]["model_requested"] == "m"
    assert calls["generation"]["model_served"] == "m-2024"
    assert calls["embedding"]["model_served"] == "e-1"
    assert "secret" not in json.dumps(explanation)
