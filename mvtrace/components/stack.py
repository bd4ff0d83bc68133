"""stack(): the inference stack as a hardware and software *class*, without any fact of one host.

Pinned are interpreter minor version, the listed packages with their versions, quantization,
accelerator model and driver major. Kernel, host name and CPU are in no digest: two replicas are one
version.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mvtrace.components.component import Component, Draft
from mvtrace.components.provenance.sources import of_image

_DRIVER = re.compile(r"^NVRM version:.*?\s(\d{2,})\.\d+", re.MULTILINE)
_MODEL = re.compile(r"^Model:\s*(\S.*?)\s*$", re.MULTILINE)


class Accelerator(NamedTuple):
    """What computes: its model, and the major version of its driver."""

    model: str | None
    driver: str | None


def stack(  # noqa: PLR0913 (a constructor: one keyword a fact)
    name: str = "default",
    /,
    *,
    packages: Iterable[str] = (),
    quantization: object = None,
    accelerator: str | None = None,
    driver: str | int | None = None,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin the inference stack: interpreter, *packages* as installed, *quantization*, accelerator.

    Accelerator model and driver are read from the system where they are not given and an NVIDIA
    driver tells them; ``accelerator="none"`` says that none is used, whatever the machine has.

    Raises:
        ComponentError: a listed package is not installed.

    """
    draft = Draft("stack", name, label, digest)
    found = detect_accelerator() if accelerator is None else Accelerator(accelerator, None)
    if driver is not None:
        found = found._replace(driver=str(driver).partition(".")[0])
    draft.add(
        interpreter=f"{platform.python_implementation()} "
        f"{sys.version_info.major}.{sys.version_info.minor}",
        packages=_installed(draft, packages),
        quantization=quantization,
        accelerator=found.model,
        driver=found.driver,
    )
    draft.add_settings(settings)
    draft.provenance.extend(of_image())
    return draft.pin()


def detect_accelerator(driver_folder: Path = Path("/proc/driver/nvidia")) -> Accelerator:
    """Return what the NVIDIA kernel driver tells in *driver_folder*; reads a few small files."""
    models = set()
    for information in sorted(driver_folder.glob("gpus/*/information")):
        models |= set(_MODEL.findall(_text(information)))
    found = _DRIVER.search(_text(driver_folder / "version"))
    return Accelerator(", ".join(sorted(models)) or None, found.group(1) if found else None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _installed(draft: Draft, packages: Iterable[str]) -> dict[str, str]:
    from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

    listed = [packages] if isinstance(packages, str) else list(packages)
    versions = {}
    for package in listed:
        try:
            versions[re.sub(r"[-_.]+", "-", package).lower()] = metadata.version(package)
        except (metadata.PackageNotFoundError, ValueError, TypeError) as error:
            raise draft.error(
                f"its package {package!r} is not installed.",
                hint="Name distributions as 'pip list' shows them, not modules.",
            ) from error
    return versions
