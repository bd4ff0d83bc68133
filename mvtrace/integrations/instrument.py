"""``mvtrace.instrument()``: observe the libraries that are installed, once they are imported.

In: names of libraries, or none for all. Out: their public methods wrapped. A library that is not
imported yet stays unimported: it is wrapped at the end of its own import.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from mvtrace.capture.guard import fail_open
from mvtrace.errors import ConfigurationError
from mvtrace.integrations import (
    celery,
    grpc_metadata,
    http_clients,
    langchain,
    litellm,
    openai,
    vector_stores,
)
from mvtrace.integrations.hooks import Installed

_ON_DEMAND: Final = (
    "anthropic",
    "langfuse",
    "langgraph",
    "langsmith",
    "llama_index",
    "mcp",
    "mlflow",
    "openfeature",
    "semantic_router",
    "sentence_transformers",
    "transformers",
)
"""Libraries observed by our module of the same name, which is imported when they are."""


def _install_by_module(name: str) -> tuple[Installed, ...]:
    module = import_module(f"mvtrace.integrations.{name}")
    hooks: tuple[Installed, ...] = module.install()
    return hooks


LIBRARIES: Final[dict[str, Callable[[], tuple[Installed, ...]]]] = {
    **vector_stores.INSTALLED_BY,
    **{name: partial(_install_by_module, name) for name in _ON_DEMAND},
    celery.LIBRARY: celery.install,
    grpc_metadata.LIBRARY: grpc_metadata.install,
    http_clients.AIOHTTP: http_clients.install_aiohttp,
    http_clients.HTTPX2: http_clients.install_httpx2,
    http_clients.HTTPX: http_clients.install_httpx,
    http_clients.URLLIB3: http_clients.install_urllib3,
    langchain.LIBRARY: langchain.install,
    litellm.LIBRARY: litellm.install,
    openai.LIBRARY: openai.install,
}
"""Packages that can be observed, and what does it."""
_MODULES: Final = {
    **http_clients.MODULES,
    **vector_stores.MODULES,
    "langgraph": "langgraph.graph",
    "llama_index": "llama_index.core",
    "openfeature": "openfeature.api",
    "transformers": "transformers.generation.utils",
}
"""Where a package has no module of its own: the one whose import is waited for."""

_lock: Final = threading.RLock()
_hooks: Final[dict[str, tuple[Installed, ...]]] = {}
_waiting: Final[dict[str, Finder]] = {}


def instrument(*libraries: str) -> tuple[str, ...]:
    """Observe *libraries*, else all that are known; return those that are installed.

    Twice is once. Call it where the application starts; clients that exist are observed too.

    Raises:
        ConfigurationError: a library of that name is not known.

    """
    for name in libraries:
        if name not in LIBRARIES:
            known = ", ".join(sorted(LIBRARIES))
            raise ConfigurationError("instrument", name, f"known are {known}")
    wanted = [name for name in libraries or sorted(LIBRARIES) if _is_installed(name)]
    with _lock:
        for name in wanted:
            module = _MODULES.get(name, name)
            if module in sys.modules:
                _install(name)
            elif name not in _waiting:
                _waiting[name] = Finder(module, partial(_install, name))
                sys.meta_path.insert(0, _waiting[name])
    return tuple(wanted)


def uninstrument(*libraries: str) -> None:
    """Leave *libraries* alone again, else all."""
    with _lock:
        for name in libraries or tuple(LIBRARIES):
            for hook in _hooks.pop(name, ()):
                hook.remove()
            _forget(name)


def _is_installed(name: str) -> bool:
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@fail_open
def _install(name: str) -> None:
    with _lock:
        _forget(name)
        if name not in _hooks:
            _hooks[name] = LIBRARIES[name]()


def _forget(name: str) -> None:
    finder = _waiting.pop(name, None)
    if finder is not None and finder in sys.meta_path:
        sys.meta_path.remove(finder)


class Finder(importlib.abc.MetaPathFinder):
    """Says when one module has been imported; finding it is left to the others."""

    def __init__(self, name: str, then: Callable[[], object]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the package's own spec, whose loader calls us at its end."""
        if fullname != self._name:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    self._watch(spec.loader)
                return spec
        return None

    def _watch(self, loader: importlib.abc.Loader) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == self._name:  # a loader may have others to load as well
                self._then()

        loader.exec_module = exec_module  # type: ignore[method-assign]
