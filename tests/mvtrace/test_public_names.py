"""What ``import mvtrace`` gives, and what it must not cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import mvtrace

HEAVY = [
    "chdb",
    "clickhouse_connect",
    "click",
    "fastapi",
    "jinja2",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "starlette",
    "usearch",
    "uvicorn",
]


def test_public_names_are_sorted_and_there() -> None:
    """
    The public names are sorted, each exists, and nothing else is imported by a star.
    """
    assert list(mvtrace.__all__) == sorted(mvtrace.__all__)
    assert [name for name in mvtrace.__all__ if not hasattr(mvtrace, name)] == []


def test_package_has_no_code() -> None:
    """
    The package's own module imports and names, and does nothing.
    """
    tree = ast.parse(Path(mvtrace.__file__).read_text())

    kinds = [type(node).__name__ for node in tree.body]
    assert kinds[0] == "Expr"
    assert set(kinds[1:]) <= {"ImportFrom", "Assign"}
    assert kinds.count("Assign") == 1


def test_import_stays_light() -> None:
    """
    The serving process imports no store, no framework, no numerics.
    """
    program = f"import sys, mvtrace; print([m for m in {HEAVY!r} if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, check=True, text=True
    )

    assert done.stdout.strip() == "[]"
