"""`explain` of a trace whose sender knows nothing of mvtrace, in the words of every dialect."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attribute_spans import load
from dialect_spans import SPANS

from mvtrace.explain.explainer import explain
from mvtrace.resources import schema_root
from mvtrace.store import Store, migrate, open_store
from mvtrace.store.reader import Reader

KINDS = {
    "chat": "generation",
    "text_completion": "generation",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "retrieval": "retrieval",
}


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The explanations of SPANS, each a trace of its own."""
    folder: Path = tmp_path_factory.mktemp("foreign")
    with open_store(f"chdb://{folder / 'db'}") as store:
        migrate(store)
        load(store, folder, [attributes for attributes, _ in SPANS.values()])
        return dict(zip(SPANS, explanations(store), strict=True))


def explanations(store: Store) -> Iterator[dict[str, Any]]:
    found = store.query("SELECT request_id_text FROM spans ORDER BY toUInt32(name)").rows
    reader = Reader(store, "default")
    for (request_id,) in found:
        yield explain(reader.read(request_id)).to_dict()


@pytest.mark.parametrize("name", [name for name in SPANS if SPANS[name][1].get("operation")])
def test_call_of_a_foreign_trace(name: str, explained: dict[str, Any]) -> None:
    """
    The explanation shows the call that a span of any dialect stands for, with all that it says.
    """
    filled = {key: value for key, value in SPANS[name][1].items() if value is not None}
    (call,) = explained[name]["calls"]
    usage = call["usage"] or {}

    assert call["kind"] == KINDS[filled["operation"]]
    assert (call["basis"], call["source"]) == ("inferred", "span")
    for field in (
        "provider",
        "model_requested",
        "model_served",
        "response_id",
        "finish_reason",
        "fingerprint",
        "seed",
    ):
        assert call[field] == filled.get(field), field
    assert (call["sampling"] or {}) == filled.get("sampling", {})
    assert usage.get("input_tokens") == filled.get("input_tokens")
    assert usage.get("output_tokens") == filled.get("output_tokens")
    assert usage.get("cache_read_input_tokens") == filled.get("cache_read_tokens")
    assert usage.get("cache_write_input_tokens") == filled.get("cache_write_tokens")
    assert usage.get("reasoning_output_tokens") == filled.get("reasoning_tokens")
    assert (call["prompt"] or {}).get("name") == filled.get("prompt_name")
    assert (call["prompt"] or {}).get("version") == filled.get("prompt_version")
    if "tool_name" in filled:
        assert call["name"] == filled["tool_name"]
    assert explained[name]["conversation_id"] == filled.get("conversation_id")


@pytest.mark.parametrize("name", [name for name in SPANS if "documents" in SPANS[name][1]])
def test_documents_of_a_foreign_retrieval(name: str, explained: dict[str, Any]) -> None:
    """
    What a retrieval found is shown with its scores; of which index, in what state, nothing is said.
    """
    (shot,) = explained[name]["index_snapshots"]

    assert [(one["id"], one["score"]) for one in shot["documents"]] == SPANS[name][1]["documents"]
    assert (shot["digest"], shot["fingerprint"]) == (None, None)


def test_span_that_is_no_call_is_none(explained: dict[str, Any]) -> None:
    """
    A span without an operation is among the spans, and no call.
    """
    assert explained["no call"]["calls"] == []
    assert len(explained["no call"]["spans"]) == 1


def test_span_from_before_the_columns_is_read(tmp_path: Path) -> None:
    """
    A span that was stored before the store had columns of a call is shown with what it has.
    """
    former = tmp_path / "former"
    former.mkdir()
    for file in (schema_root() / "clickhouse").iterdir():
        if file.name < "0024":
            shutil.copy(file, former)
    with open_store(f"chdb://{tmp_path / 'db'}") as store:
        migrate(store, former)
        load(store, tmp_path, [{"kept": "as it was"}])
        migrate(store)
        load(store, tmp_path, [{"gen_ai.request.seed": 7}])
        (request_ids,) = zip(
            *store.query("SELECT request_id_text FROM spans ORDER BY received_at").rows, strict=True
        )
        spans = [Reader(store, "default").read(one).spans[0] for one in request_ids]

    assert [dict(span.attributes) for span in spans] == [
        {"kept": "as it was"},
        {"gen_ai.request.seed": 7},
    ]
    assert [(span.seed, dict(span.sampling)) for span in spans] == [(None, {}), (7, {})]
