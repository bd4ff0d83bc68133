"""Makes functions of mvtrace.capture raise: found by looking at the modules, broken from inside.

A function is broken by exchanging its code, so that everybody who holds it, under any name, meets
the error: also the guards around it, which are there to be tested.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

import mvtrace.capture

PACKAGE = mvtrace.capture.__name__


class Broken(Exception):
    """What a broken part of mvtrace raises."""


def functions() -> dict[str, FunctionType]:
    """Return every function and method that the modules of mvtrace.capture define, by name."""
    found: dict[str, FunctionType] = {}
    for module in modules():
        for value in vars(importlib.import_module(f"{PACKAGE}.{module}")).values():
            members = vars(value).values() if inspect.isclass(value) else ()
            for function in map(_function, (value, *members)):
                if function is not None and _is_of(function, f"{PACKAGE}.{module}"):
                    found[f"{module}.{function.__qualname__}"] = function
    return found


def modules() -> list[str]:
    """Return the names of all modules of mvtrace.capture."""
    return sorted(found.name for found in pkgutil.iter_modules(mvtrace.capture.__path__))


def _is_of(function: FunctionType, module: str) -> bool:
    is_generated = function.__code__.co_filename.startswith("<")
    is_abstract = getattr(function, "__isabstractmethod__", False)
    return function.__module__ == module and not is_generated and not is_abstract


def _function(value: Any) -> FunctionType | None:
    """Return the innermost function of *value*: below properties, caches and guards."""
    if isinstance(value, property):
        value = value.fget
    value = inspect.unwrap(getattr(value, "__func__", value))
    return value if isinstance(value, FunctionType) else None


@contextlib.contextmanager
def broken(named: Iterable[FunctionType]) -> Iterator[None]:
    """Let all of the functions *named* raise while the block runs."""
    before = [(function, function.__code__) for function in named]
    for function, code in before:
        function.__code__ = _raising(code)
    try:
        yield
    finally:
        for function, code in before:
            function.__code__ = code


def _raising(code: CodeType) -> CodeType:
    """Return code that raises where *code* would run: of the same kind, with as many cells."""
    is_async = bool(code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))
    does_yield = code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)
    cells = [f"cell_{number}" for number in range(len(code.co_freevars))]
    lines = [
        "def outer():",
        *(f"    {cell} = None" for cell in cells),
        f"    {'async ' if is_async else ''}def raising(*args, **kwargs):",
        f"        ({', '.join(cells)},)" if cells else "        pass",
        f"        from {__name__} import Broken",
        f"        raise Broken({code.co_qualname!r})",
        *(["        yield"] if does_yield else []),
        "    return raising",
    ]
    namespace: dict[str, Any] = {}
    exec("\n".join(lines), namespace)
    raising: CodeType = namespace["outer"]().__code__
    return raising
