"""``mvtrace.locked()``: an application serves what its lock pins, or says that it does not.

In: ``mvtrace.lock`` and ``mvtrace.toml`` beside it. Out: the composite version for TraceMiddleware.
Files, prompts and sources are hashed again; nothing is imported or fetched for it. Where something
differs, it refuses to start, or warns and serves under the version of what is really there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mvtrace.components.artifact import Artifact
from mvtrace.components.component import Component
from mvtrace.components.composite import CompositeVersion
from mvtrace.errors import CompositeError, ConfigurationError, MvtraceError
from mvtrace.registry.errors import LockError, SystemFileError
from mvtrace.registry.pin.comparing import Comparison, compare
from mvtrace.registry.pin.description import read_description
from mvtrace.registry.pin.lockfile import DEFAULT_LOCK, Lock, read_lock
from mvtrace.registry.pin.objects import NotLookedError, present
from mvtrace.registry.pin.places import hash_uri, local_path, read_uri
from mvtrace.registry.pin.resolving import Looking

VARIABLE: Final = "MVTRACE_LOCK"
MODES: Final = ("refuse", "warn", "off")
_HINT: Final = (
    "Bring back what was pinned, or run 'mvtrace pin' and commit the lock; "
    f"{VARIABLE}=warn serves what is here, under its own version."
)
_log: Final = logging.getLogger("mvtrace")


def locked(
    lock: str | os.PathLike[str] = DEFAULT_LOCK,
    *,
    mode: str | None = None,
    components: Iterable[Component] = (),
    skip: Iterable[str] = (),
) -> CompositeVersion:
    """Return the version that the file *lock* pins, once what is here was compared with it.

    *mode* (else ``MVTRACE_LOCK``, else ``refuse``) is what happens where something differs:
    ``refuse`` raises; ``warn`` logs it and returns the version of what is here, so that no answer
    is put down to a state that did not give it, or the lock's where that makes no version or the
    description cannot be read; ``off`` looks at nothing. *components* are those the application
    made itself, such as a live index. Slots (``kind/name``) of *skip* are not looked at, such as
    weights that take minutes to hash.

    Raises:
        LockError: the lock cannot be read.
        ConfigurationError: there is no such mode.

    In the mode ``refuse`` also LockMismatchError: something differs; LockError: no description is
    beside the lock; SystemFileError: it cannot be read; CompositeError: what is here makes no
    version.
    """
    path = Path(lock)
    chosen = _mode(mode)
    pinned = read_lock(path)
    if chosen == "off":
        _log.info("%s pins %s; nothing was checked.", path.name, pinned.composite.short)
        return pinned.composite
    if not path.with_suffix(".toml").exists():
        return _unchecked(path, pinned, chosen)
    try:
        found = check_lock(path, pinned, components=components, skip=skip)
    except (SystemFileError, CompositeError) as error:
        if chosen == "refuse":
            raise
        return _uncompared(path, pinned, error)
    if found.is_same:
        _log.info("%s", found.words)
    elif chosen == "refuse":
        raise found.error(_HINT)
    else:
        _log.warning("%s\nServing is version %s.", found.words, found.found.short)
    return found.found


def check_lock(
    path: Path,
    lock: Lock,
    *,
    components: Iterable[Component] = (),
    skip: Iterable[str] = (),
) -> Comparison:
    """Return what is here compared with *lock*; nothing is imported, fetched or changed.

    Raises:
        SystemFileError: the description cannot be read.
        CompositeError: what is here makes no version.
    """
    return compare(
        lock,
        read_description(path.with_suffix(".toml")),
        Looking(present, _hash_here, _read_here, asks_indexes=False),
        lock_name=path.name,
        given=components,
        skip=skip,
    )


def _unchecked(path: Path, lock: Lock, mode: str) -> CompositeVersion:
    problem = f"{path.with_suffix('.toml').name} is not beside it, so nothing can be checked."
    if mode == "refuse":
        raise LockError(
            path.name,
            problem,
            hint=f"Ship both files with what they describe, or set {VARIABLE}=off.",
        )
    _log.warning("%s: %s", path.name, problem)
    return lock.composite


def _uncompared(path: Path, lock: Lock, error: MvtraceError) -> CompositeVersion:
    version = lock.composite
    _log.warning(
        "%s was compared with nothing: %s\nServing is taken for version %s, which it pins.",
        path.name,
        error.message,
        version.short,
    )
    return version


def _mode(mode: str | None) -> str:
    given = os.environ.get(VARIABLE, "").strip() if mode is None else mode
    if not given:
        return MODES[0]
    if given not in MODES:
        key = VARIABLE if mode is None else "mode"
        raise ConfigurationError(key, given, f"it is one of {', '.join(MODES)}")
    return given


def _hash_here(uri: str) -> Artifact:
    _refuse_far(uri)
    return hash_uri(uri)


def _read_here(uri: str) -> bytes:
    _refuse_far(uri)
    return read_uri(uri)


def _refuse_far(uri: str) -> None:
    if local_path(uri, os.environ) is None:
        raise NotLookedError(f"it lies at {uri}, which an application does not fetch")
