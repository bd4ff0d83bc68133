"""A call as a decorator, on functions, coroutines, generators and async generators.

In: a function of the application. Out: a function that looks the same, each use of which is a call
of its own. The span of a generator stays open until it is exhausted or closed; it is current only
while the generator runs, never in the code that consumes it: nothing crosses a ``yield``.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Self, TypeVar, cast

from mvtrace.capture.guard import fail_open

_F = TypeVar("_F", bound=Callable[..., Any])


class Decorator(ABC):
    """What can be opened and closed around code, and so around a function."""

    def __call__(self, function: _F) -> _F:
        """Return *function* with a call around each of its uses."""
        wrapped: Any
        if inspect.isasyncgenfunction(function):
            wrapped = self._around_async_generator(function)
        elif inspect.iscoroutinefunction(function):
            wrapped = self._around_coroutine(function)
        elif inspect.isgeneratorfunction(function):
            wrapped = self._around_generator(function)
        else:
            wrapped = self._around_function(function)
        functools.update_wrapper(wrapped, function)
        return cast("_F", wrapped)

    @abstractmethod
    def fresh(self) -> Self:
        """Return one like this that has not begun."""

    @abstractmethod
    def open(self) -> None:
        """Begin."""

    @abstractmethod
    def attach(self) -> None:
        """Be current from here."""

    @abstractmethod
    def detach(self) -> None:
        """Be current no more."""

    @abstractmethod
    def close(self, error: BaseException | None = None) -> None:
        """End."""

    def returned(self, result: object) -> None:  # noqa: B027 (most kinds have nothing to see)
        """Look at what the function returned."""

    def yielded(self, item: object) -> None:  # noqa: B027 (most kinds have nothing to see)
        """Look at what the generator yielded."""

    def _around_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            current = self.fresh()
            current.open()
            current.attach()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                current.detach()
                current.close(error)
                raise
            current.detach()
            if inspect.iscoroutine(result):  # of an object with an async __call__, of a wrapper
                return _awaited(current, result)
            _note_returned(current, result)
            current.close()
            return result

        return call

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self.fresh() as current:  # type: ignore[attr-defined]
                result = await function(*args, **kwargs)
                _note_returned(current, result)
                return result

        return call

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            current = self.fresh()
            current.open()
            generator = function(*args, **kwargs)
            error: BaseException | None = None
            step, sent = generator.send, None
            try:
                while True:
                    current.attach()
                    try:
                        item = step(sent)
                    except StopIteration as stop:
                        return stop.value
                    finally:
                        current.detach()
                    _note_yielded(current, item)
                    try:
                        step, sent = generator.send, (yield item)
                    except GeneratorExit:
                        _closed(current, generator)
                        raise
                    except BaseException as thrown:  # noqa: BLE001 (it goes into the generator)
                        step, sent = generator.throw, thrown
            except BaseException as raised:
                error = raised
                raise
            finally:
                current.close(error)

        return call

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            current = self.fresh()
            current.open()
            generator = function(*args, **kwargs)
            error: BaseException | None = None
            step, sent = generator.asend, None
            try:
                while True:
                    current.attach()
                    try:
                        item = await step(sent)
                    except StopAsyncIteration:
                        return
                    finally:
                        current.detach()
                    _note_yielded(current, item)
                    try:
                        step, sent = generator.asend, (yield item)
                    except GeneratorExit:
                        await _aclosed(current, generator)
                        raise
                    except BaseException as thrown:  # noqa: BLE001 (it goes into the generator)
                        step, sent = generator.athrow, thrown
            except BaseException as raised:
                error = raised
                raise
            finally:
                current.close(error)

        return call


async def _awaited(current: Decorator, coroutine: Coroutine[Any, Any, Any]) -> Any:
    current.attach()
    try:
        result = await coroutine
    except BaseException as error:
        current.detach()
        current.close(error)
        raise
    current.detach()
    _note_returned(current, result)
    current.close()
    return result


@fail_open
def _note_returned(current: Decorator, result: object) -> None:
    current.returned(result)


@fail_open
def _note_yielded(current: Decorator, item: object) -> None:
    current.yielded(item)


def _closed(current: Decorator, generator: Generator[Any, Any, Any]) -> None:
    current.attach()
    try:
        generator.close()
    finally:
        current.detach()


async def _aclosed(current: Decorator, generator: AsyncGenerator[Any, Any]) -> None:
    current.attach()
    try:
        await generator.aclose()
    finally:
        current.detach()
