"""An answer from a cache, after the index changed: the explanation goes to the state that spoke."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import jsonschema
import pytest
from explained import explained
from openai_server import serving as provider
from processes import collector
from servers import serving

pytest.importorskip("openai")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCHEMA = json.loads((ROOT / "schemas" / "explanation.schema.json").read_text())
COMMAND = (
    *("-m", "uvicorn", "--fd", "{fd}", "--log-level", "warning"),
    "answer_cache_app:app",
)


def as_text(url: str, request_id: str) -> str:
    """What ``mvtrace explain`` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mvtrace", "explain", request_id, "--url", url],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'collector'}", "COLUMNS": "200"},
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are handed over by descriptor")
def test_an_answer_from_a_cache_after_the_index_changed(tmp_path: Path) -> None:
    """
    The explanation names the request that made the answer and the index that it was made from, in
    JSON and in text, while the index is another by now.
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

            def post(path: str, **asked: str) -> str:
                reply = httpx2.post(f"http://127.0.0.1:{app.port}{path}", json=asked, timeout=30)
                assert reply.status_code == 200
                return reply.headers["x-mvtrace-request-id"]

            first = post("/ask", question="why?")
            post("/index", name="c")
            after = post("/ask", question="why now?")
            from_cache = post("/ask", question="why?")
        made, hit, new = (explained(one.url, each) for each in (first, from_cache, after))
        text = as_text(one.url, from_cache)

    jsonschema.validate(hit, SCHEMA)
    assert len(server.asked) == 2
    assert hit["calls"] == hit["index_snapshots"] == []
    origin = hit["cache_origin"]
    assert (origin["request_id"], origin["chain"]) == (first, [first])
    [old] = origin["explanation"]["index_snapshots"]
    [old_made], [now] = made["index_snapshots"], new["index_snapshots"]
    assert old["digest"] == old_made["digest"] != now["digest"]
    assert (old["size"], now["size"]) == (2, 3)
    served = origin["explanation"]["composite"]["version"]
    assert served == made["composite"]["version"] != hit["composite"]["version"]
    assert "cache_origin" in {finding["code"] for finding in hit["findings"]}
    assert f"the cached answer came from request {first}" in text
    assert f"then index notes, queried as {old['digest'][:19]}" in text
