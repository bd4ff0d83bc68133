"""live_index(): an index that nobody pinned, handed to the call that queries it.

In: the name of the call, and a live object or the pair of a client and a collection's name. Out: a
LiveIndex, the same one for each query of the same index, also where the application opens it anew
for each; None where no adapter fits. Its component is what the index was when it was queried, so
it differs from nothing but what a composite declares for its slot. It is hashed with its first
query: an index that is large, or on a server, is better pinned by mvtrace.index() at the start.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

from mvtrace.components.component import Component, Draft
from mvtrace.components.index import finder
from mvtrace.components.index_source import IndexSource
from mvtrace.components.observed import IndexState, ObservedIndex
from mvtrace.digest import canonical_bytes
from mvtrace.errors import ComponentError

MAX_LIVE: Final = 32
"""Indexes kept for the next query; the one queried longest ago goes first."""
_PAIR: Final = 2


class LiveIndex:
    """A live index under the name of the call that queries it."""

    def __init__(self, name: str, source: object, find: Callable[[], IndexSource]) -> None:
        self.name = name
        self.source = source
        self._find = find
        self._observed = ObservedIndex(find, {})
        self._component: Component | None = None

    @property
    def identity(self) -> Hashable:
        """What another object over the same index shares; None where that cannot be told."""
        return getattr(self._find(), "identity", None)

    def current(self) -> IndexState:
        """Return its state now; raises what ObservedIndex.current() raises."""
        return self._observed.current()

    def component(self, state: IndexState) -> Component | None:
        """Return the component of *state*; None where its content is not known."""
        known = self._component
        if state.digest is None or (known is not None and known.digest == state.digest):
            return known if state.digest is not None else None
        body = canonical_bytes({"kind": "index", "facts": state.facts})
        made = Component(kind="index", name=self.name, digest=state.digest, body=body)
        self._component = made
        return made


_lock: Final = threading.Lock()
_by_object: Final[OrderedDict[tuple[str, int, str | None], LiveIndex]] = OrderedDict()
_by_identity: Final[OrderedDict[tuple[str, Hashable], LiveIndex]] = OrderedDict()


def live_index(name: str, source: object) -> LiveIndex | None:
    """Return the index that *source* is, under *name*; None where no adapter fits.

    Raises:
        Exception: whatever a client raises when a table is opened over it.

    """
    live, collection = _parted(source)
    key = name, id(live), collection
    with _lock:
        known = _by_object.get(key)
        if known is not None and known.source is live:
            _by_object.move_to_end(key)
            return known
    made = _made(name, live, collection)
    if made is not None:
        with _lock:
            _keep(_by_object, key, made)
    return made


def _parted(source: object) -> tuple[Any, str | None]:
    if isinstance(source, tuple) and len(source) == _PAIR and isinstance(source[1], str):
        return source
    return source, None


def _made(name: str, live: Any, collection: str | None) -> LiveIndex | None:
    if live is None or isinstance(live, (str, bytes)):
        return None
    try:
        draft = Draft("index", name)
        find = finder(draft, live, collection)
        made = LiveIndex(name, live, find)
        identity = made.identity
    except ComponentError:
        return None
    if identity is None:
        return made
    with _lock:
        known = _by_identity.get((name, identity))
        if known is not None and known.identity == identity:
            made = known  # another object for the same index: what is known of it goes on
        _keep(_by_identity, (name, identity), made)
    return made


def _keep(store: OrderedDict[Any, LiveIndex], key: Hashable, made: LiveIndex) -> None:
    store[key] = made
    store.move_to_end(key)
    while len(store) > MAX_LIVE:
        store.popitem(last=False)
