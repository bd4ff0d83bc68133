"""Python objects that a description names, ``module:attribute``: imported, or only looked for.

``mvtrace pin`` imports them, so it runs the code of the repository it stands in, deliberately. An
application that checks its lock imports nothing on account of it: it takes what is imported
already, and else reads the source file, where that says beyond doubt what an import would give.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

MAX_SOURCE_BYTES: Final = 4 << 20
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class NotLookedError(Exception):
    """What something is was not looked at, and why; it may be as it should be."""


@dataclass(frozen=True, slots=True)
class Source:
    """The source of an object that was read and not imported, as source_of() would give it."""

    text: str


def imported(target: str, folder: Path) -> object:
    """Return the object at *target*; modules are also looked for in *folder*.

    Raises:
        ValueError: it cannot be imported, or its module has no such attribute.
    """
    module, _, attribute = target.partition(":")
    with _found_in(folder):
        try:
            value: Any = importlib.import_module(module)
        except Exception as error:  # the repository's own code, which may do anything
            raise ValueError(
                f"{module!r} cannot be imported: {type(error).__name__}: {error}."
            ) from error
    for name in attribute.split(".") if attribute else ():
        try:
            value = getattr(value, name)
        except AttributeError as error:
            raise ValueError(f"{module!r} has no attribute {attribute!r}.") from error
    return value


def present(target: str, folder: Path) -> object:
    """Return the object at *target* where its module is imported already, else its Source.

    No code runs: neither a module's ``__getattr__`` nor a property is asked.

    Raises:
        NotLookedError: it cannot be told without importing it.
    """
    module, _, attribute = target.partition(":")
    loaded = sys.modules.get(module)
    if isinstance(loaded, ModuleType):
        found = _attribute(loaded, attribute)
        if found is not None:
            return found
    return Source(_source_text(module, attribute, folder))


@contextmanager
def _found_in(folder: Path) -> Iterator[None]:
    """Have modules found in *folder* first, as ``python FILE`` does with the file's folder."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def _attribute(module: ModuleType, attribute: str) -> object | None:
    if not attribute:
        return module
    value: object = module
    for name in attribute.split("."):
        value = inspect.getattr_static(value, name, None)
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
    return value


def _source_text(module: str, attribute: str, folder: Path) -> str:
    """Return what inspect.getsource would give, dedented, without an import."""
    path = _file_of(module, folder)
    if path is None:
        raise NotLookedError(f"{module} is not imported, and its file is not found")
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            raise NotLookedError(f"{module} is not imported, and its file is long")
        text = path.read_text("utf-8")
        if not attribute:
            return textwrap.dedent(text)
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        raise NotLookedError(f"{module} is not imported, and its file cannot be read") from error
    definition = _definition(tree, attribute.split("."))
    if definition is None:
        raise NotLookedError(
            f"{module} is not imported, and its file does not say beyond doubt what {attribute} is"
        )
    lines = io.StringIO(text).readlines()  # as ast counts them: a form feed ends none
    return textwrap.dedent("".join(inspect.getblock(lines[definition.lineno - 1 :])))


def _file_of(module: str, folder: Path) -> Path | None:
    """Return the Python file of *module*, found as an import finds it; nothing is imported."""
    places: list[str] | None = [str(folder), *sys.path]
    spec: ModuleSpec | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _definition(tree: ast.Module, names: list[str]) -> _Definition | None:
    """Return the one plain definition of *names*; None where another value may be bound to it."""
    body: list[ast.stmt] = tree.body
    found: ast.stmt | None = None
    for name in names:
        binding = [one for one in body if name in _bound(one)]
        found = binding[0] if len(binding) == 1 else None
        if not isinstance(found, _Definition) or found.decorator_list:
            return None
        body = found.body
    return found if isinstance(found, _Definition) else None


def _bound(statement: ast.stmt) -> set[str]:
    """Return every name that a statement may bind, at any depth within it."""
    if isinstance(statement, _Definition):
        return {statement.name}
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, _Definition):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names
