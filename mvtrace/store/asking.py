"""A store as the registry's readers ask it: SQL and parameters in, rows by column out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mvtrace.store.statements import Statements
from mvtrace.store.store import Store


def ask_of(store: Store, project: str) -> Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]:
    """Return what runs a SELECT of *project* in *store*; safe for several threads."""
    statements = Statements(store, project)

    def ask(text: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(statements.run_text(text, parameters).dicts())

    return ask
