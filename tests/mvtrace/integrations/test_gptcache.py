"""The real GPTCache beneath ``mvtrace.cached``: a hit names the request that made the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell

import mvtrace

gptcache = pytest.importorskip("gptcache")

from gptcache.adapter.api import get, put  # noqa: E402
from gptcache.manager import get_data_manager  # noqa: E402
from gptcache.processor.pre import get_prompt  # noqa: E402

pytestmark = [pytest.mark.second_tier, pytest.mark.filterwarnings("ignore")]


def kept(function: Callable[[str], Any]) -> Callable[[str], Any]:
    """Answers by GPTCache, which keeps texts."""

    def find(question: str) -> Any:
        found = get(question)
        if found is None:
            found = json.dumps(function(question))
            put(question, found)
        return json.loads(found)

    return find


def test_a_hit_names_who_made_it(captured: Captured, tmp_path: Path) -> None:
    """
    The answer is made once, and the second request names the first.
    """
    kept_in = get_data_manager(data_path=str(tmp_path / "answers"))  # also when it ends
    gptcache.cache.init(pre_embedding_func=get_prompt, data_manager=kept_in)
    asked: list[str] = []

    @mvtrace.cached(kept)
    def answer(question: str) -> str:
        asked.append(question)
        return question.upper()

    for _ in range(2):
        with mvtrace.request(route="/ask"):
            assert answer("why") == "WHY"

    first, second = captured.records
    assert asked == ["why"]
    assert (first.cache_origin, second.cache_origin) == (None, first.request_id)
    tell("gptcache", version("gptcache"), ["answers from it, with who made them (mvtrace.cached)"])
