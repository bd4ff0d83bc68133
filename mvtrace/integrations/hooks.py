"""Functions of other libraries, wrapped so that nothing of theirs can break by it.

In: a class or module, the name of one of its public functions, what to do around a call. Out: the
function wrapped, and a way back. Whatever we do before and after a call is counted and swallowed
when it fails; the library's own function is called exactly once, with what it was given, and its
errors pass as they are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mvtrace.capture.guard import fail_open


class Around(Protocol):
    """What goes on around one call of a library; every method is `fail_open`."""

    def enter(self) -> object:
        """Before the library's function."""

    def leave(self) -> object:
        """After it, whatever came of it."""

    def answered(self, result: Any) -> object:
        """It returned *result*."""

    def failed(self, error: BaseException) -> object:
        """It raised *error*."""


class Installed(Protocol):
    """Something of ours in a library."""

    def remove(self) -> None:
        """Take it out again, or let it do nothing."""


Begin = Callable[..., Any]
"""Told what the method is called with (its object first): returns an `Around`, else None, which
leaves the call alone."""


class Hook:
    """One wrapped method."""

    def __init__(self, owner: Any, name: str, begin: Begin) -> None:
        self._owner = owner
        self._name = name
        self._begin = fail_open(begin)
        self._inherited = name not in vars(owner)
        self._before: Callable[..., Any] = getattr(owner, name)
        self._is_on = True
        is_async = inspect.iscoroutinefunction(inspect.unwrap(self._before))
        self._wrapper = self._wrapped_async() if is_async else self._wrapped()
        setattr(owner, name, self._wrapper)

    def remove(self) -> None:
        """Put the method back, or do nothing in it where somebody has wrapped it again."""
        self._is_on = False
        if vars(self._owner).get(self._name) is not self._wrapper:
            return
        if self._inherited:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._before)

    def _wrapped(self) -> Callable[..., Any]:
        before = self._before

        @functools.wraps(before)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            around = self._begin(*args, **kwargs) if self._is_on else None
            if around is None:
                return before(*args, **kwargs)
            around.enter()
            try:
                result = before(*args, **kwargs)
            except BaseException as error:
                around.leave()
                around.failed(error)
                raise
            around.leave()
            around.answered(result)
            return result

        return wrapper

    def _wrapped_async(self) -> Callable[..., Awaitable[Any]]:
        before = self._before

        @functools.wraps(before)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            around = self._begin(*args, **kwargs) if self._is_on else None
            if around is None:
                return await before(*args, **kwargs)
            around.enter()
            try:
                result = await before(*args, **kwargs)
            except BaseException as error:
                around.leave()
                around.failed(error)
                raise
            around.leave()
            around.answered(result)
            return result

        return wrapper


class ArgumentsHook(Hook):
    """A function that is called with other arguments: ``begin`` returns ``(args, kwargs)``.

    None leaves them as they are.
    """

    def _wrapped(self) -> Callable[..., Any]:
        before = self._before

        @functools.wraps(before)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            given: Any = self._begin(*args, **kwargs) if self._is_on else None
            if given is not None:
                args, kwargs = given
            return before(*args, **kwargs)

        return wrapper


class ResultHook(Hook):
    """A function whose result is replaced: ``begin(result, *args, **kwargs)`` returns another.

    None leaves it as it is.
    """

    def _wrapped(self) -> Callable[..., Any]:
        before = self._before

        @functools.wraps(before)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = before(*args, **kwargs)
            replaced: Any = self._begin(result, *args, **kwargs) if self._is_on else None
            return result if replaced is None else replaced

        return wrapper
