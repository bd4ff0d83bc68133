"""The container's image, as the environment declares it in OpenTelemetry's resource attributes.

In: ``OTEL_RESOURCE_ATTRIBUTES`` with ``container.image.repo_digests`` (one, or several in any
form: a list's commas part attributes, and are read as the list's), ``container.image.name`` and
``container.image.tags``. Out: a note, ``declared``: a process cannot see which image it runs in.
What is no digest is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from mvtrace.components.provenance.note import Note

SOURCE: Final = "oci"
VARIABLE: Final = "OTEL_RESOURCE_ATTRIBUTES"
DIGESTS: Final = "container.image.repo_digests"
_OTHERS: Final = {"container.image.name": "name", "container.image.tags": "tags"}
_DIGEST: Final = re.compile(r"(?:[A-Za-z0-9][\w./:-]{0,200}@)?sha256:[0-9a-f]{64}")
MAX_CHARACTERS: Final = 16_384


def note_of(environ: Mapping[str, str]) -> Note | None:
    """Return which image *environ* declares; None where it declares none."""
    said = dict(_pairs(environ.get(VARIABLE, "")[:MAX_CHARACTERS]))
    digests = sorted({one.group() for one in _DIGEST.finditer(said.get(DIGESTS, ""))})
    if not digests:
        return None
    others = {name: said[key] for key, name in _OTHERS.items() if said.get(key)}
    return Note(SOURCE, "declared", {"repo_digests": digests, **others})


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the attributes; what follows a comma without ``=`` belongs to the one before."""
    found: list[tuple[str, str]] = []
    for part in text.split(","):
        key, sign, value = part.partition("=")
        if sign:
            found.append((key.strip(), unquote(value.strip())))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {unquote(part.strip())}")
    return found
