"""Reading what a version needs: all of it, or else nothing is decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mvtrace.registry.errors import TooDeepError
from mvtrace.registry.reading import statement
from mvtrace.registry.retention.inputs import read_version

VERSION = "f" * 64


def chain(length: int) -> Any:
    """Return what answers for a version whose components pin each other, one the next."""

    def ask(text: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        if text == statement("retention_versions"):
            return [{"version": VERSION, "components": [f"{0:064x}"], "received_ms": 0}]
        if text != statement("retention_mentions"):
            return []
        numbers = [int(one.removeprefix("sha256:"), 16) for one in parameters["components"]]
        return [
            {"component": f"{number:064x}", "mentions": [f"{number + 1:064x}"]}
            for number in numbers
            if number < length
        ]

    return ask


def test_what_is_nested_too_deep_is_refused() -> None:
    """
    Up to 60 levels are followed; of more it is said that it is not known what they need.
    """
    known = read_version(chain(60), VERSION)
    assert len(known.mentions) == 61

    with pytest.raises(TooDeepError) as refused:
        read_version(chain(100), VERSION)

    assert str(refused.value).startswith(
        "Components are nested over 64 levels deep, so it is not known which artifacts are needed; "
        "nothing was done."
    )
