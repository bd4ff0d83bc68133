"""Functions, classes and modules by their source text.

In: a live object. Out: its source, dedented, so that nesting does not matter. Left out: what the
source refers to — closures, defaults computed elsewhere, called functions, installed packages
(those are the stack's). The source is read from its file, so pin before anyone edits that file.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
from types import FunctionType, MethodType, ModuleType
from typing import Final

HINT: Final = "Give a function defined with 'def' in a file, or pin the file by its path."


def source_of(target: object) -> str:
    """Return the source of *target*, dedented.

    Raises:
        ValueError: it has no source that would say what it does; says why.

    """
    shown = describe(target)
    if isinstance(target, functools.partial):
        raise ValueError(  # noqa: TRY004 (one kind of error: there is no source)
            f"{shown} is a functools.partial, whose bound arguments are in no source text."
        )
    if getattr(target, "__name__", "") == "<lambda>":
        raise ValueError(f"{shown} is a lambda, whose source is the line around it.")
    if not isinstance(target, (FunctionType, MethodType, ModuleType, type)):
        raise ValueError(  # noqa: TRY004 (as above)
            f"{shown} is no Python function, class or module, so it has no source."
        )
    try:
        return textwrap.dedent(inspect.getsource(target))
    except (OSError, TypeError) as error:
        raise ValueError(f"the source of {shown} is in no file that can be read.") from error


def file_of(target: object) -> str | None:
    """Return the file that the source of *target* stands in; None where it has none."""
    try:
        return inspect.getsourcefile(target)  # type: ignore[arg-type]
    except TypeError:
        return None


def describe(target: object) -> str:
    """Return what to call *target* in a message."""
    name = getattr(target, "__qualname__", None)
    return str(name) if name else f"{type(target).__qualname__} object"
