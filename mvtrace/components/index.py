"""index(): pins a retrieval index, and keeps it to tell at query time whether it is still that one.

In: a live index of a known library, a plain Python object, anything with the three methods of
IndexSource, or a path. Out: a Component whose source is an ObservedIndex. No library of indexes is
imported here: an adapter is chosen by the module that the object's class comes from.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FunctionType, MethodType
from typing import Any, Final

from mvtrace.components.component import Component, Draft
from mvtrace.components.index_faiss import FaissIndex
from mvtrace.components.index_plain import PlainIndex
from mvtrace.components.index_source import IndexSource
from mvtrace.components.index_usearch import UsearchIndex
from mvtrace.components.observed import ObservedIndex
from mvtrace.errors import CanonicalFormError

_LIBRARIES: Final[dict[str, Callable[[Any], IndexSource | None]]] = {
    "usearch": UsearchIndex.over,
    "faiss": FaissIndex.over,
}


def index(
    name: str,
    source: object,
    /,
    *,
    embedding_model: Component | str | None = None,
    lock: AbstractContextManager[Any] | None = None,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin an index by its content, and keep *source* to tell at query time whether it changed.

    *source* is an index of ``usearch`` or ``faiss``, a dict or list or NumPy array of vectors or
    documents (see mvtrace.components.index_plain), an object with the methods of IndexSource, a
    function without parameters that returns one of those (for an application that swaps its index),
    or the path of index files (pinned by their content, not observed).

    *lock* is held while the index is read; give the one that guards its changes, unless the library
    allows reading and writing at once (usearch does, faiss does not). It must be re-entrant if
    retrieval happens under it.

    Raises:
        ComponentError: no adapter fits *source*, or its content cannot be read.

    """
    draft = Draft("index", name, label, digest)
    if isinstance(embedding_model, Component):
        draft.add(embedding_model=draft.add_part("embedding_model", embedding_model))
    elif embedding_model is not None:
        draft.add(embedding_model={"name": embedding_model})
    draft.add_settings(settings)
    if isinstance(source, (str, os.PathLike)):
        draft.add_artifact(source)
        return draft.pin()
    observed = ObservedIndex(_finder(draft, source), draft.facts, lock=lock)
    try:
        state = observed.current()
    except CanonicalFormError as error:
        raise draft.error(
            f"of its content, {error.message[:1].lower()}{error.message[1:]}",
            hint="Items are arrays, bytes, dataclasses or JSON values; "
            "for others give an object with the methods of mvtrace.components.IndexSource.",
        ) from error
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise draft.error(
            f"its content cannot be read: {type(error).__name__}: {error}",
            hint="If other threads change it meanwhile, give lock=… that guards it.",
        ) from error
    draft.facts = state.facts
    return draft.pin(source=observed)


def _finder(draft: Draft, source: object) -> Callable[[], IndexSource]:
    if not isinstance(source, (FunctionType, MethodType)):
        adapter = _adapter(draft, source)
        return lambda: adapter
    last: list[Any] = [None, None]

    def find() -> IndexSource:
        live = source()
        if live is not last[0] or last[1] is None:
            last[:] = [live, _adapter(draft, live)]
        adapter: IndexSource = last[1]
        return adapter

    return find


def _adapter(draft: Draft, live: object) -> IndexSource:
    if isinstance(live, IndexSource) and not isinstance(live, type):
        return live
    roots = {cls.__module__.partition(".")[0] for cls in type(live).__mro__}
    library = next((name for name in _LIBRARIES if name in roots), None)
    adapter = PlainIndex.over(live) if library is None else _LIBRARIES[library](live)
    if adapter is not None:
        return adapter
    raise draft.error(
        f"no adapter fits a {type(live).__module__}.{type(live).__qualname__}.",
        hint="Give a usearch or faiss index, a dict, list or NumPy array, a path, or an object "
        "with the methods of mvtrace.components.IndexSource.",
    )
