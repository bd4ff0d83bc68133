"""Where the schemas lie that ship with the package; no I/O but looking for the folder."""

from __future__ import annotations

from pathlib import Path

from mvtrace.errors import ConfigurationError


def schema_root(package: Path | None = None) -> Path:
    """Return the folder of the schemas: inside an installed wheel, else of the checkout.

    *package* is the folder of the package ``mvtrace``, by default the one this module lies in.

    Raises:
        ConfigurationError: neither is there; the installation is not whole.

    """
    package = Path(__file__).resolve().parent if package is None else package
    for folder in (package / "_schemas", package.parent / "schemas"):
        if folder.is_dir():
            return folder
    raise ConfigurationError(
        "The folder of the schemas",
        str(package / "_schemas"),
        "it does not exist, and neither does 'schemas' beside the package",
        hint="Install the package again: pip install --force-reinstall mvtrace",
    )
