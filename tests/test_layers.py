"""The direction of imports, held by a table: what a package may know of this repository."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FOUNDATION = {"mvtrace.errors", "mvtrace.semconv", "mvtrace.ids", "mvtrace.version"}
VALUES = FOUNDATION | {"mvtrace.digest", "mvtrace.records", "mvtrace.tables"}
WIRE = VALUES | {"mvtrace.otlp", "mvtrace.wire", "mvtrace.config", "mvtrace.content"}
WIRE |= {"mvtrace.scores"}

MAY_IMPORT = {
    "mvtrace/errors.py": set(),
    "mvtrace/semconv.py": set(),
    "mvtrace/ids.py": set(),
    "mvtrace/resources.py": FOUNDATION,
    "mvtrace/version.py": set(),
    "mvtrace/digest.py": FOUNDATION,
    "mvtrace/plain_values.py": set(),
    "mvtrace/record_values.py": {"mvtrace.plain_values"},
    "mvtrace/records.py": FOUNDATION
    | {"mvtrace.digest", "mvtrace.plain_values", "mvtrace.record_values"},
    "mvtrace/tables.py": FOUNDATION,
    "mvtrace/otlp.py": VALUES,
    "mvtrace/wire.py": VALUES | {"mvtrace.otlp"},
    "mvtrace/config.py": VALUES,
    "mvtrace/content.py": VALUES,
    "mvtrace/dialects.py": FOUNDATION | {"mvtrace.resources"},
    "mvtrace/scores.py": VALUES | {"mvtrace.otlp"},
    "mvtrace/registry": WIRE | {"mvtrace.components", "mvtrace.registry"},
    "mvtrace/transformations.py": WIRE | {"mvtrace.capture.pipeline", "mvtrace.registry"},
    "mvtrace/analytics.py": FOUNDATION | {"mvtrace.config"},
    "mvtrace/evals.py": WIRE
    | {"mvtrace.capture.pipeline", "mvtrace.components", "mvtrace.registry"},
    "mvtrace/quality": FOUNDATION | {"mvtrace.digest", "mvtrace.quality"},
    "mvtrace/comparing": WIRE
    | {"mvtrace.comparing", "mvtrace.quality", "mvtrace.registry", "mvtrace.store"},
    "mvtrace/reproduce": FOUNDATION | {"mvtrace.reproduce"},
    "mvtrace/components": WIRE | {"mvtrace.components", "mvtrace.resources"},
    "mvtrace/capture": WIRE
    | {"mvtrace.components", "mvtrace.capture", "mvtrace.dialects"}
    | {"mvtrace.registry.entries", "mvtrace.registry.errors", "mvtrace.registry.refs"}
    | {"mvtrace.registry.lineage.derivations"},
    "mvtrace/explain": VALUES | {"mvtrace.explain", "mvtrace.registry", "mvtrace.scores"},
    "mvtrace/store": WIRE
    | {"mvtrace.resources", "mvtrace.explain.evidence", "mvtrace.explain.gaps", "mvtrace.store"}
    | {"mvtrace.explain.drift", "mvtrace.explain.ancestry"}
    | {"mvtrace.registry", "mvtrace.quality"},
    "mvtrace/integrations": WIRE
    | {"mvtrace.capture", "mvtrace.components", "mvtrace.integrations"},
    "mvtrace/proxy": WIRE | {"mvtrace.capture", "mvtrace.proxy"},
    "mvtrace/cli": WIRE
    | {"mvtrace.capture", "mvtrace.components"}
    | {"mvtrace.cli", "mvtrace.store", "mvtrace.explain", "mvtrace.demo", "mvtrace_collector"}
    | {"mvtrace.comparing", "mvtrace.proxy", "mvtrace.quality", "mvtrace.registry"},
    "collector/mvtrace_collector": WIRE
    | {"mvtrace.resources", "mvtrace.store", "mvtrace.explain", "mvtrace_collector"}
    | {"mvtrace.components", "mvtrace.dialects"}
    | {"mvtrace.registry", "mvtrace.comparing", "mvtrace.quality"},
}
"""Package or module -> what it may import from this repository (a prefix allows what is below)."""

SERVING = "import mvtrace; mvtrace.TraceMiddleware"
HEAVY = ("clickhouse_connect", "chdb", "pandas", "numpy", "starlette", "click", "rich", "google")


def modules_of(package: str) -> list[Path]:
    """The Python files of *package*, which is a folder or one file."""
    path = ROOT / package
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def is_module(parent: str, name: str) -> bool:
    """Whether *name* is a module or package within the package *parent* of this repository."""
    places = (ROOT.joinpath(*root, *parent.split("."), name) for root in ((), ("collector",)))
    return any(place.is_dir() or place.with_suffix(".py").exists() for place in places)


def imported_modules(path: Path) -> set[str]:
    """Every module *path* imports, at any depth; ``from a import b`` counts as ``a.b`` and ``a``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parent = node.module
            submodules = {
                f"{parent}.{alias.name}" for alias in node.names if is_module(parent, alias.name)
            }
            found |= submodules or {parent}
    return {name for name in found if name.split(".")[0] in ("mvtrace", "mvtrace_collector")}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(package: str) -> None:
    """
    A module imports, from this repository, nothing that its package is not allowed to know.
    """
    allowed = MAY_IMPORT[package]

    strays = {
        (path.relative_to(ROOT).as_posix(), module)
        for path in modules_of(package)
        for module in imported_modules(path)
        if not any(module == known or module.startswith(known + ".") for known in allowed)
    }

    assert strays == set()


def test_every_module_is_in_the_table() -> None:
    """
    No module stands outside the table, so a new one has to take its place in the direction.
    """
    placed = {path for package in MAY_IMPORT for path in modules_of(package)}
    outside = {"mvtrace/__init__.py", "mvtrace/__main__.py"}

    modules = {*(ROOT / "mvtrace").rglob("*.py"), *(ROOT / "collector").rglob("*.py")}
    strays = {
        path.relative_to(ROOT).as_posix()
        for path in modules - placed
        if "demo" not in path.parts and path.relative_to(ROOT).as_posix() not in outside
    }

    assert strays == set()


def test_only_the_store_imports_clickhouse_connect() -> None:
    """
    One package knows the database's client.
    """
    importers = {
        path.relative_to(ROOT).parts[:2]
        for folder in ("mvtrace", "collector")
        for path in (ROOT / folder).rglob("*.py")
        if "import clickhouse_connect" in path.read_text()
        or "from clickhouse_connect" in path.read_text()
        or "import chdb" in path.read_text()
    }

    assert importers == {("mvtrace", "store")}


def test_the_serving_process_stays_light() -> None:
    """
    Importing the middleware brings no database, no web framework and no data frames along.
    """
    check = f"{SERVING}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"

    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, check=True, text=True
    )

    assert found.stdout.strip() == "[]"
