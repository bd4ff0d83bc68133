"""Answers from caches: each is kept together with the request that made it.

In: the application's own cache decorator, and the function whose answers it keeps. Out: the same
function. Where the cache gives an answer that another request made, the call in progress, or else
the request, names that one as its cache origin. The origin lies in the cache beside the answer, so
it outlives the process and is found by every other that shares the cache.

For caches of libraries, which keep what they like: which request got which response of a provider.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from mvtrace.capture.api import cache_origin, current_request_id
from mvtrace.capture.calls import current_call
from mvtrace.capture.guard import fail_open
from mvtrace.errors import ConfigurationError
from mvtrace.semconv import ALIAS_RESPONSE_ID

_F = TypeVar("_F", bound=Callable[..., Any])

ANSWER: Final = "answer"
MADE_BY: Final = "mvtrace.request_id"
"""Keys of what lies in the cache: a dict, which every cache can hold, pickle or turn into JSON."""
MAX_RESPONSES: Final = 10_000
"""Responses of providers whose request this process remembers."""
UNKNOWN: Final = "unknown"
"""The origin of an answer that came from a cache without an id of its own."""


def cached(cache: Callable[[Any], Any]) -> Callable[[_F], _F]:
    """Keep the answers of a function by *cache*, a decorator such as ``functools.lru_cache()``.

    Use it in its place: ``@mvtrace.cached(functools.lru_cache(maxsize=1000))``, on a function or a
    coroutine function. What *cache* adds to the function, such as ``cache_clear``, is there too. In
    the cache lies a dict of the answer and a request id; an entry of before is returned as it is.

    Raises:
        ConfigurationError: the function is a generator: what it yields is in no cache.

    """

    def decorate(function: _F) -> _F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            name = getattr(function, "__name__", "function")
            raise ConfigurationError("cached", name, "what a generator yields is in no cache")
        is_async = inspect.iscoroutinefunction(function)
        kept = cache(_made_async(function) if is_async else _made(function))
        found = _found_async(kept) if is_async else _found(kept)
        functools.update_wrapper(found, function)
        for name in dir(kept):
            if not name.startswith("_") and not hasattr(found, name):
                setattr(found, name, getattr(kept, name))
        return cast("_F", found)

    return decorate


def _made(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {ANSWER: function(*args, **kwargs), MADE_BY: current_request_id()}

    return make


def _made_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def make(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {ANSWER: await function(*args, **kwargs), MADE_BY: current_request_id()}

    return make


def _found(kept: Callable[..., Any]) -> Callable[..., Any]:
    def find(*args: Any, **kwargs: Any) -> Any:
        return _taken_out(kept(*args, **kwargs))

    return find


def _found_async(kept: Callable[..., Any]) -> Callable[..., Any]:
    async def find(*args: Any, **kwargs: Any) -> Any:
        return _taken_out(await kept(*args, **kwargs))

    return find


def _taken_out(found: Any) -> Any:
    """Return the answer in *found*, and say who made it."""
    if not isinstance(found, dict) or found.keys() != {ANSWER, MADE_BY}:
        return found
    _name_origin(found[MADE_BY])
    return found[ANSWER]


@fail_open
def _name_origin(request_id: str | None) -> None:
    if request_id is None or request_id == current_request_id():
        return
    call = current_call()
    if call is not None and call.is_open:
        call.cache_origin(request_id)
    else:
        cache_origin(request_id)


class Responses:
    """Which request got which response, by an id that came with it; for any thread."""

    def __init__(self) -> None:
        self._requests: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def made(self, response_id: str | None, request_id: str | None) -> None:
        """Note that *request_id* got *response_id*."""
        if response_id is None or request_id is None:
            return
        with self._lock:
            if self._requests.setdefault(response_id, request_id) != request_id:
                self._requests[response_id] = UNKNOWN  # a provider that gives one id to many
            if len(self._requests) > MAX_RESPONSES:
                self._requests.popitem(last=False)

    def origin_of(self, response_id: str | None, *others: str | None) -> str:
        """Return the request that got the response of these ids.

        Where another process got it: the alias of *response_id*, by which readers find the request.
        """
        for known in (response_id, *others):
            if known is not None and known in self._requests:
                return self._requests[known]
        return UNKNOWN if response_id is None else f"{ALIAS_RESPONSE_ID}:{response_id}"


RESPONSES: Final = Responses()
