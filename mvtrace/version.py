"""The version of the installed distribution; a checkout that was never installed has none.

``__version__`` of this module, and of the package, is looked up when it is asked for: the look-up
imports what takes 10 ms of an import that servers wait for.
"""

from __future__ import annotations


def module_attribute(name: str) -> str:
    """Return the version as a module's ``__getattr__`` (PEP 562); no other *name* is there."""
    if name != "__version__":
        raise AttributeError(f"module 'mvtrace' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 (its cost: above)

    try:
        return version("mvtrace")
    except PackageNotFoundError:
        return "0+uninstalled"


__getattr__ = module_attribute
