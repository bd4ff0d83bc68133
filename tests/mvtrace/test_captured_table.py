"""The README's table of what is captured, made from what tests saw."""

from __future__ import annotations

from pathlib import Path

import captured_table
import pytest
from captured_table import BEGIN, END, HEAD, record, rendered, rows

EMPTY = f"before\n{BEGIN}\n{END}\nafter\n"


def test_lines_of_one_library_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What several tests saw of a library, in several versions, is one row; nothing is told twice.
    """
    path = tmp_path / "table.jsonl"
    monkeypatch.setenv(captured_table.ENVIRON, str(path))
    record("b", "2", ["chat", "streams"])
    record("A", "1", ["a | b"])
    record("b", "3", ["streams", "tools"])
    made = rendered(EMPTY, rows(path.read_text().splitlines()))

    assert made == "\n".join(
        (
            "before",
            BEGIN,
            *HEAD,
            "| `A` | 1 | a \\| b |",
            "| `b` | 2, 3 | chat, streams, tools |",
            END,
            "after",
            "",
        )
    )
    assert rendered(made, rows(path.read_text().splitlines())) == made


def test_nothing_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without a file named in the environment nothing is recorded.
    """
    monkeypatch.delenv(captured_table.ENVIRON, raising=False)
    monkeypatch.chdir(tmp_path)
    record("a", "1", ["chat"])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("readme", ["", BEGIN, END + BEGIN, EMPTY + EMPTY, EMPTY + END])
def test_readme_without_its_markers_is_refused(readme: str) -> None:
    """
    A README whose markers are not there once, in order, is left alone.
    """
    with pytest.raises(ValueError, match="once each"):
        rendered(readme, [])
