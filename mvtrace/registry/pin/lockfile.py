"""``mvtrace.lock``: one composite version, written down to be read, compared and committed.

In: a composite version and what it was made from. Out: JSON whose text depends on these alone (no
path, time or machine), and back. Laws: ``parse(text(lock)) == lock``; a lock that parses holds what
its version and its digests say, since each is recomputed. Contents are not in it: they are files of
the repository, or registered.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mvtrace.components.component import Component
from mvtrace.components.composite import CompositeVersion, composite
from mvtrace.digest import canonical_bytes
from mvtrace.errors import CanonicalFormError, ComponentError, CompositeError
from mvtrace.registry.errors import LockError
from mvtrace.registry.refs import Ref

DEFAULT_LOCK: Final = "mvtrace.lock"
FORMAT: Final = 1
MAX_BYTES: Final = 32 << 20
MAX_PARENTS: Final = 64

_VERSION: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = frozenset(
    {"format", "name", "version", "parents", "experiment", "components", "edges"}
)
_HINT: Final = "'mvtrace pin' writes it anew; a conflict of a merge in it is settled the same way."


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock says."""

    composite: CompositeVersion
    parents: tuple[Ref, ...] = ()
    """What the version was made from: the version of the lock before, or what --parent named."""
    experiment: Ref | None = None

    @property
    def version(self) -> str:
        """The composite version that is pinned."""
        return self.composite.version

    @property
    def by_slot(self) -> dict[str, Component]:
        """The components by ``kind/name``."""
        return {part.slot: part for part in self.composite.components}


def lock_text(lock: Lock) -> str:
    """Return the text of a lock: JSON with sorted keys, a fact a line, nothing hidden in it."""
    said: dict[str, Any] = {
        "format": FORMAT,
        "name": lock.composite.name,
        "version": lock.version,
        "components": {part.slot: _component_said(part) for part in lock.composite.components},
        "edges": [
            {"from": edge.source, "to": edge.target, "role": edge.role}
            for edge in lock.composite.edges
        ],
    }
    if lock.parents:
        said["parents"] = [str(one) for one in lock.parents]
    if lock.experiment:
        said["experiment"] = str(lock.experiment)
    text = json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False)
    return "".join(map(_shown, text)) + "\n"


def write_lock(lock: Lock, path: Path) -> bool:
    """Write *lock* to *path* in one rename; False where it says the same already.

    Raises:
        LockError: it cannot be written.
    """
    text = lock_text(lock).encode()
    with suppress(OSError):
        if path.read_bytes() == text:
            return False
    try:
        handle, partial = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
            Path(partial).chmod(0o666 & ~_umask())
            Path(partial).replace(path)
        except OSError:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LockError(path.name, f"it cannot be written: {error.strerror or error}.") from error
    return True


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Return the lock at *path*.

    Raises:
        LockError: it cannot be read, is no lock, or does not hold what its digests say.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LockError(
            place.name,
            f"it cannot be read: {error.strerror or error}.",
            hint="'mvtrace pin' writes it, from mvtrace.toml.",
        ) from error
    return parse_lock(raw, place.name)


def parse_lock(raw: bytes, name: str = DEFAULT_LOCK) -> Lock:
    """Return the lock that the bytes of a file are; *name* is what errors call the file.

    Raises:
        LockError: they are none.
    """
    try:
        return _lock_of(_parsed(raw))
    except (ComponentError, CompositeError, CanonicalFormError) as error:
        raise LockError(name, error.message, hint=_HINT) from error
    except RecursionError as error:
        raise LockError(name, "it nests too deep.", hint=_HINT) from error
    except (ValueError, TypeError) as error:
        raise LockError(name, f"it is no lock: {error}.", hint=_HINT) from error


def _parsed(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES:,} bytes")
    said = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    if not isinstance(said, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 (of the input)
    if said.get("format") != FORMAT:
        raise ValueError(f"its format is {said.get('format')!r}, known is {FORMAT}")
    if unknown := sorted(said.keys() - _KEYS):
        raise ValueError(f"it has a key {unknown[0]!r} that nobody knows")
    return said


def _lock_of(said: Mapping[str, Any]) -> Lock:
    components = [_component_of(slot, one) for slot, one in _table(said, "components").items()]
    edges = [_edge_of(one) for one in _list(said, "edges")]
    name, version = said.get("name"), said.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        raise ValueError("its name or its version is no text")  # noqa: TRY004 (of the input)
    made = composite(name, *components, edges=edges)
    if not _VERSION.fullmatch(version) or made.version != version:
        raise ValueError(f"its version is {version[:64]!r}, but what it lists makes {made.version}")
    parents = tuple(Ref.parse(_text(one)) for one in _list(said, "parents")[:MAX_PARENTS])
    experiment = said.get("experiment")
    return Lock(made, parents, Ref.parse(_text(experiment)) if experiment else None)


def _component_of(slot: str, said: object) -> Component:
    kind, _, name = slot.partition("/")
    if not isinstance(said, dict) or not isinstance(said.get("facts"), dict):
        raise ValueError(f"{slot!r} has no facts")  # noqa: TRY004 (of the input)
    label = said.get("label")
    if label is not None and not isinstance(label, str):
        raise ValueError(f"the label of {slot!r} is no text")
    body = canonical_bytes({"kind": kind, "facts": said["facts"]})
    return Component(kind, name, _text(said.get("digest")), body, label=label)


def _component_said(part: Component) -> dict[str, Any]:
    said: dict[str, Any] = {"digest": part.digest, "facts": part.facts}
    return said if part.label is None else {**said, "label": part.label}


def _edge_of(said: object) -> tuple[str, str, str]:
    if not isinstance(said, dict) or said.keys() != {"from", "to", "role"}:
        raise ValueError("an edge has from, to and role")
    return _text(said["from"]), _text(said["to"]), _text(said["role"])


def _table(said: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = said.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"its {key} are no object")  # noqa: TRY004 (of the input)
    return value


def _list(said: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = said.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"its {key} are no array")  # noqa: TRY004 (of the input)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is no text")  # noqa: TRY004 (of the input)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys are each there once; a merge may leave one twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _shown(sign: str) -> str:
    """Return a sign of JSON text so that nobody who reads it sees another than is there."""
    return sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
