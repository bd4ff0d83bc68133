"""A transformation: what can be done to datasets, by the digest of its code and its parameters.

In: a function, or a command and the files it runs; parameters and a seed. Out: the entry that names
it, and the text of its code. Paths of inputs and outputs are no part of it, so that the same step
on another machine is the same transformation.

Left out: what the code refers to elsewhere, the interpreter and its packages. A step that is done
again with other ones may give other rows: that is what checking it is for (finding.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mvtrace.components.artifact import hash_artifact
from mvtrace.components.content import Content, pin_content
from mvtrace.components.source import HINT, source_of
from mvtrace.digest import canonical_bytes, digest_of
from mvtrace.otlp import LogEvent
from mvtrace.registry.datasets.redacting import plain_command, plain_parameters
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.refs import Ref
from mvtrace.semconv import CONTENT_DIGEST, EVENT_CONTENT

CODE_DOMAIN: Final = b"mvtrace.code/1\n"
KIND: Final = "transformation"


@dataclass(frozen=True, slots=True)
class Code:
    """What does the work. Law: *digest* is over ``mvtrace.code/1`` and *said* in canonical form."""

    said: Mapping[str, Any]
    """``source``: a content reference; or ``files``: names and digests."""
    pieces: tuple[Content, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """``sha256:…``."""
        return digest_of(CODE_DOMAIN, canonical_bytes(dict(self.said)))


@dataclass(frozen=True, slots=True)
class Step:
    """A transformation that can be registered."""

    entry: Entry
    pieces: tuple[Content, ...] = field(default=(), repr=False)

    @property
    def ref(self) -> Ref:
        """What names it."""
        return self.entry.ref

    def events(self, register_content: bool = True) -> Iterator[LogEvent]:  # noqa: FBT001, FBT002 (as versions have it)
        """Yield the events that register it, its code first."""
        for piece in self.pieces if register_content else ():
            attributes = {CONTENT_DIGEST: piece.digest}
            yield LogEvent(EVENT_CONTENT, time.time_ns(), piece.text, attributes)
        yield from self.entry.events(register_content)


def function_code(function: Callable[..., Any]) -> Code:
    """Return the code of a function: its source.

    Raises:
        RegistryError: it has none.
    """
    try:
        pinned = pin_content(source_of(function))
    except ValueError as error:
        raise RegistryError(KIND, str(error), hint=HINT) from error
    return Code({"source": pinned.reference}, pinned.pieces)


def file_code(paths: Sequence[str | os.PathLike[str]], *, with_text: bool = True) -> Code:
    """Return the code of files and folders: of each its name and digest.

    Of a single file of text also the text, if *with_text*: it is kept as long as the registry.

    Raises:
        RegistryError: there is none, two have one name, or one cannot be read.
    """
    files: dict[str, str] = {}
    for path in map(Path, paths):
        try:
            digest = hash_artifact(path).digest
        except (OSError, ValueError) as error:
            raise RegistryError(KIND, f"its code {str(path)!r} cannot be read: {error}") from error
        if path.name in files:
            raise RegistryError(KIND, f"two files of its code are called {path.name!r}.")
        files[path.name] = digest
    if not files:
        raise RegistryError(
            KIND,
            "no argument of the command is a file that does the work.",
            hint="Say which file or folder does: --code PATH.",
        )
    pinned = _pinned(paths) if with_text else None
    if pinned is None:
        return Code({"files": files})
    return Code({"files": files, "source": pinned.reference}, pinned.pieces)


def step(
    name: str,
    code: Code,
    *,
    parameters: Mapping[str, Any],
    seed: int | None = None,
    command: Sequence[str] = (),
) -> Step:
    """Return the transformation *name*; values that are secret by their names are no part of it.

    Raises:
        RegistryError: a parameter has no canonical form.
    """
    said: dict[str, Any] = {"name": name, "code": code.digest, **code.said}
    said["parameters"] = plain_parameters(parameters)
    said |= {} if seed is None else {"seed": seed}
    said |= {"command": plain_command(command)} if command else {}
    return Step(entry_of(KIND, said), code.pieces)


def _pinned(paths: Sequence[str | os.PathLike[str]]) -> Any:
    """Return the text of the one file that there is; None where it is none."""
    if len(paths) != 1 or not Path(paths[0]).is_file():
        return None
    try:
        return pin_content(Path(paths[0]).read_bytes().decode())
    except ValueError:  # no text, or too much of it: its digest says enough
        return None
