"""The version of the installed distribution; a checkout that was never installed has none."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed() -> str:
    try:
        return version("mvtrace")
    except PackageNotFoundError:
        return "0+uninstalled"


__version__: Final = _installed()
