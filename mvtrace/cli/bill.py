"""What is installed beside mvtrace, as a CycloneDX 1.6 bill of materials.

In: the metadata of every distribution that this Python can import. Out: a document with name,
version, licences, package URL and hashes of each, and who needs whom. A hash of the archive is
known only where an installer wrote it down; a digest over the installed files is there for all.
Left out: distributions whose metadata has no name (what an interrupted install leaves), and
vulnerabilities, which are for a scanner that reads this. Written here, with nothing installed for
it, since a generator in the environment would be part of what it describes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import Distribution
from typing import Any, Final

from mvtrace.cli.errors import ExtraMissingError
from mvtrace.version import __version__

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
FILES_DIGEST: Final = "mvtrace:files:sha256"
"""Property of a component: SHA-256 over ``path,sha256`` lines of its files, sorted."""

_NAMESPACE: Final = uuid.UUID("6f7d9c0e-2f0b-5d0c-9a35-5f6c2a9be1d4")
_ROOT: Final = "mvtrace"
_INSTALLERS: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})
"""Files that an installer adds: they tell of the installation, not of the distribution."""
_ALGORITHMS: Final = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_MAX_NAME: Final = 100
"""Characters of a licence's name; longer ones are texts."""
_BEFORE_NAME: Final = "License :: "


def bill(found: Iterable[Distribution], *, made: datetime) -> dict[str, Any]:
    """Return the bill of the distributions *found*; of two with one name the first counts."""
    installed: dict[str, Distribution] = {}
    for one in found:
        if _first(one, "Name"):
            installed.setdefault(_name(one), one)
    others = [_component(name, installed[name]) for name in sorted(installed) if name != _ROOT]
    root = _root(installed.get(_ROOT))
    needed = needs(installed)
    document = {
        "components": [_python(), *others],
        "dependencies": [
            {"ref": name, "dependsOn": sorted(needed.get(name, ()))}
            for name in sorted({_ROOT, *installed})
        ],
    }
    content = json.dumps([root, document], sort_keys=True)
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(_NAMESPACE, content).urn,
        "version": 1,
        "metadata": {
            "timestamp": made.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "tools": {
                "components": [{"type": "application", "name": _ROOT, "version": __version__}]
            },
            "component": root,
        },
        **document,
    }


def needs(installed: Mapping[str, Distribution]) -> dict[str, set[str]]:
    """Return what each installed distribution needs of the others, on this platform.

    Of extras those count that somebody installed asks for; of mvtrace's own, which nobody asks for
    in writing, those that are there as a whole.
    """
    try:
        from packaging.requirements import Requirement  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise ExtraMissingError("cli", str(error)) from error

    asked = {
        name: [Requirement(text) for text in one.requires or ()] for name, one in installed.items()
    }

    def direct(name: str, extra: str) -> list[Requirement]:
        return [
            one
            for one in asked[name]
            if one.marker is None or one.marker.evaluate({"extra": extra})
        ]

    waiting = [(name, "") for name in installed]
    own = installed[_ROOT].metadata.get_all("Provides-Extra") or () if _ROOT in installed else ()
    waiting += [
        (_ROOT, extra)
        for extra in own
        if all(_normal(one.name) in installed for one in direct(_ROOT, extra))
    ]
    seen, needed = set(waiting), {name: set[str]() for name in installed}
    while waiting:
        name, extra = waiting.pop()
        for one in direct(name, extra):
            other = _normal(one.name)
            if other not in installed:
                continue
            needed[name] |= {other} - {name}
            new = {(other, wanted) for wanted in one.extras} - seen
            seen |= new
            waiting += new
    return needed


def _component(name: str, one: Distribution) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "library",
        "bom-ref": name,
        "name": name,
        "version": one.version,
        "purl": f"pkg:pypi/{name}@{one.version}",
    }
    if hashes := _archive_hashes(one):
        shown["hashes"] = hashes
    if licences := _licences(one):
        shown["licenses"] = licences
    if digest := _files_digest(one):
        shown["properties"] = [{"name": FILES_DIGEST, "value": digest}]
    return shown


def _root(one: Distribution | None) -> dict[str, Any]:
    """Return mvtrace's own component; a checkout that was never installed has no metadata."""
    if one is not None:
        return {**_component(_ROOT, one), "type": "application"}
    return {"type": "application", "bom-ref": _ROOT, "name": _ROOT, "version": __version__}


def _python() -> dict[str, Any]:
    name = platform.python_implementation()
    return {
        "type": "platform",
        "bom-ref": "python",
        "name": name,
        "version": platform.python_version(),
        "properties": [{"name": "mvtrace:platform", "value": platform.platform()}],
    }


def _archive_hashes(one: Distribution) -> list[dict[str, str]]:
    """Return the hashes of the archive it came from, where an installer wrote them (PEP 610)."""
    text = one.read_text("direct_url.json")
    try:
        hashes = json.loads(text or "{}").get("archive_info", {}).get("hashes", {})
        return [
            {"alg": _ALGORITHMS[name], "content": str(value).lower()}
            for name, value in sorted(hashes.items())
            if name in _ALGORITHMS
        ]
    except (ValueError, AttributeError):
        return []


def _files_digest(one: Distribution) -> str | None:
    """Return a digest of the files as they were packed; None where no record lists them."""
    lines = sorted(
        f"{file.as_posix()},{file.hash.value}\n"
        for file in one.files or ()
        if file.hash is not None and file.hash.mode == "sha256"
        if file.name not in _INSTALLERS and ".." not in file.parts
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None


def _licences(one: Distribution) -> list[dict[str, Any]]:
    expression = _first(one, "License-Expression")
    if expression:
        return [{"expression": expression}]
    classifiers = one.metadata.get_all("Classifier") or []
    names = {text.rpartition(" :: ")[2] for text in classifiers if text.startswith(_BEFORE_NAME)}
    stated = _first(one, "License")
    if not names and stated.isprintable() and 0 < len(stated) <= _MAX_NAME:
        names = {stated}
    return [{"license": {"name": name}} for name in sorted(names)]


def _name(one: Distribution) -> str:
    return _normal(_first(one, "Name"))


def _first(one: Distribution, field: str) -> str:
    """Return a field of the metadata; empty where there is none."""
    return str((one.metadata.get_all(field) or [""])[0]).strip()


def _normal(name: str) -> str:
    """Return *name* as indexes write it (PEP 503)."""
    return "-".join(filter(None, name.lower().replace("_", "-").replace(".", "-").split("-")))
