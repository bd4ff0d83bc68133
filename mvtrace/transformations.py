"""``@mvtrace.transformation``: a function that makes datasets of datasets, and is recorded.

In: a function whose arguments are paths, parameters and perhaps a ``seed``. Out: the same function;
each call hashes what goes in and comes out, and registers both, the code and the parameters, and
what was made from what. What would be said falsely is an error instead: an input that changed
meanwhile, an output that was not written.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, ParamSpec, TypeVar

from mvtrace.capture.pipeline import current_tracing
from mvtrace.registry.datasets.running import Begun, Run, begin, end
from mvtrace.registry.datasets.steps import KIND, Code, Step, function_code, step
from mvtrace.registry.errors import RegistryError

P = ParamSpec("P")
R = TypeVar("R")
SEED: Final = "seed"


class Transformation(Generic[P, R]):
    """A recorded function: called as ever, or by run() for what the call made."""

    def __init__(
        self, function: Callable[P, R], name: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        self._function = function
        self._signature = inspect.signature(function)
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self.name = name
        strays = sorted({*inputs, *outputs} - set(self._signature.parameters))
        if strays:
            raise RegistryError(KIND, f"{name} has no argument {strays[0]!r}.")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise RegistryError(KIND, f"{name} returns before its work is done.")
        self.code: Code = function_code(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function and register what it made."""
        result, run = self._called(args, kwargs)
        _register(run)
        return result

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Call the function, register what it made, and return that."""
        run = self._called(args, kwargs)[1]
        _register(run)
        return run

    def _called(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[R, Run]:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        made = self._step(bound.arguments)
        begun = self._begun(bound.arguments)
        result = self._function(*bound.args, **bound.kwargs)
        return result, end(begun, made)

    def _begun(self, values: Mapping[str, Any]) -> Begun:
        return begin(
            {slot: _path(slot, values[slot]) for slot in self._inputs},
            {slot: _path(slot, values[slot]) for slot in self._outputs},
        )

    def _step(self, values: Mapping[str, Any]) -> Step:
        rest = {k: v for k, v in values.items() if k not in (*self._inputs, *self._outputs)}
        seed = rest.pop(SEED, None)
        return step(self.name, self.code, parameters=rest, seed=seed)


def transformation(
    *, inputs: Sequence[str], outputs: Sequence[str], name: str | None = None
) -> Callable[[Callable[P, R]], Transformation[P, R]]:
    """Record what a function makes of datasets.

    *inputs* and *outputs* are the names of its arguments that are paths of datasets; all others are
    parameters, of which ``seed`` is the seed.

    Raises:
        RegistryError: the function has no source or no such argument; when it is called, a
            parameter has no canonical form.
        DatasetError: when it is called, an input or output is no dataset, or is not what was read.
    """

    def decorate(function: Callable[P, R]) -> Transformation[P, R]:
        return Transformation(function, name or function.__name__, inputs, outputs)

    return decorate


def _register(run: Run) -> None:
    tracing = current_tracing()
    for one in run.entries():
        for event in one.events(tracing.config.register_content):
            tracing.emit_event(event)


def _path(slot: str, value: object) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise RegistryError(KIND, f"{slot} is {value!r}, and a dataset is a path.")
    return Path(value)
