"""A RAG application that says nothing of itself: every part of what answered is seen."""

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

for library in ("litellm", "langchain_litellm", "usearch"):
    pytest.importorskip(library)

pytestmark = [
    pytest.mark.litellm,
    pytest.mark.skipif(sys.platform != "linux", reason="sockets are handed over by descriptor"),
    pytest.mark.filterwarnings("ignore"),  # LiteLLM's own
]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = ("-m", "uvicorn", "--fd", "{fd}", "--log-level", "warning", "rag_app:app")
SECRET = "Where does the secret bridge lead?"
SLOT = "rag_app.ask"


def asked(port: int) -> str:
    reply = httpx2.post(f"http://127.0.0.1:{port}/ask", json={"question": SECRET}, timeout=60)
    assert reply.json() == {"answer": "Hello"}
    return str(reply.headers["x-mvtrace-request-id"])


def test_every_part_is_named_and_observed(tmp_path: Path) -> None:
    """
    Model and served model, prompt, tools, index snapshot, router and stack are named, all of them
    observed; a silent reindex and a deployment that fails are told by the request that met them.
    """
    (tmp_path / "collector").mkdir()
    with collector(tmp_path / "collector") as one, provider() as server:
        environ = {
            "MVTRACE_URL": one.url,
            "MVTRACE_SERVICE": "rag",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "MVTRACE_SPOOL_DIR": str(tmp_path / "spool"),
            "PROVIDER_URL": server.url,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'collector'}:{HERE}",
        }
        with serving(COMMAND, tmp_path / "app.log", HERE, environ) as app:
            for _ in range(4):
                settled = asked(app.port)
            httpx2.post(f"http://127.0.0.1:{app.port}/reindex", timeout=60).raise_for_status()
            reindexed = asked(app.port)
            server.failures["large"] = 429
            second_choice = asked(app.port)
        before, after, other = (
            explained(one.url, each) for each in (settled, reindexed, second_choice)
        )

    parts = before["composite"]["components"]
    assert {part["basis"] for part in parts} == {"observed"}
    by_kind: dict[str, set[str]] = {}
    for part in parts:
        by_kind.setdefault(part["kind"], set()).add(part["name"])
    assert set(by_kind) >= {
        "embedding_model", "index", "model", "prompt", "router", "sampling", "stack", "tools",
    }  # fmt: skip
    assert by_kind["index"] == {SLOT}
    generation = next(call for call in before["calls"] if call["kind"] == "generation")
    assert (generation["model_requested"], generation["model_served"]) == (
        "openai/large",
        "m-2024",
    )
    assert generation["prompt"] is not None
    (snapshot,) = before["index_snapshots"]
    assert [document["id"] for document in snapshot["documents"]] == ["1"]
    assert "secret" not in json.dumps(before)

    assert after["composite"]["version"] != before["composite"]["version"]
    assert [finding["code"] for finding in after["findings"] if "index" in finding["text"]] == [
        "state_changed"
    ]
    assert after["index_snapshots"][0]["digest"] != snapshot["digest"]

    decision = next(one for one in other["router_decisions"] if one["name"] == "answers")
    reasons = {candidate["name"]: candidate["reason"] for candidate in decision["candidates"]}
    assert decision["chosen"] == "openai/small"
    assert set(reasons) == {"openai/large", "openai/small"}
    assert "429" in reasons["openai/large"]
