"""What the registry raises on purpose, below the branches of ``mvtrace.errors``.

UsageError: RegistryError, SystemFileError (``mvtrace.toml``), LockError. NotFoundError:
EntryNotFoundError, AmbiguousEntryError. CheckFailedError: LockMismatchError, PartlyCollectedError,
BeingCollectedError, ArtifactKeptError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mvtrace.errors import CheckFailedError, NotFoundError, UsageError

_MAX_SHOWN: Final = 80
_MAX_SHOWN_IDS: Final = 20


def _shown(text: str) -> str:
    """Return *text* short enough for a message."""
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


class RegistryError(UsageError):
    """Something cannot be registered: nothing of it was."""

    code = "registry"

    def __init__(self, kind: str, problem: str, *, hint: str | None = None) -> None:
        article = "An" if kind[:1] in "aeio" else "A"
        super().__init__(f"{article} {kind} cannot be registered: {problem}", hint=hint)
        self.kind = kind


class SystemFileError(UsageError):
    """A system's description says what cannot be: nothing was pinned."""

    code = "system-file"

    def __init__(
        self, file: str, table: str, key: str, problem: str, *, hint: str | None = None
    ) -> None:
        """*table* is empty at the top of the file; *key* where it is about a table as a whole."""
        place = f"{file}, [{table}]" if table else file
        super().__init__(f"{place}{f', {key}' if key else ''}: {problem}", hint=hint)
        self.file = file
        self.table = table
        self.key = key


class LockError(UsageError):
    """A lock cannot be read, or nothing can be compared with it."""

    code = "lock"

    def __init__(self, file: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{file}: {problem}", hint=hint)
        self.file = file


class EntryNotFoundError(NotFoundError):
    """Nothing of that kind is registered under such a name, or with such a digest."""

    code = "entry-not-found"

    def __init__(self, kind: str, text: str, *, hint: str | None = None) -> None:
        super().__init__(f"No {kind} {_shown(text)!r} is registered.", hint=hint)
        self.kind = kind
        self.text = text


class AmbiguousEntryError(NotFoundError):
    """Several of that kind are registered under such a name, or their digests start like that."""

    code = "ambiguous-entry"

    def __init__(self, kind: str, text: str, hits: Sequence[str]) -> None:
        listed = "".join(f"\n  {' '.join(hit.splitlines())}" for hit in hits[:_MAX_SHOWN_IDS])
        super().__init__(
            f"{_shown(text)!r} names {len(hits)} of kind {kind}:{listed}",
            hint="Give the digest of one of them.",
        )
        self.kind = kind
        self.text = text
        self.hits = tuple(hits)


class LockMismatchError(CheckFailedError):
    """What is there is not what the lock pins."""

    code = "lock-mismatch"


class PartlyCollectedError(CheckFailedError):
    """Artifacts of a version no longer exist, so it is not deployed."""

    code = "partly-collected"

    def __init__(self, version: str, artifacts: int, gone: Sequence[str]) -> None:
        listed = "".join(f"\n  {' '.join(one.splitlines())}" for one in gone[:_MAX_SHOWN_IDS])
        more = f"\n  and {len(gone) - _MAX_SHOWN_IDS} more" if len(gone) > _MAX_SHOWN_IDS else ""
        super().__init__(
            f"Version {version[:12]} is not whole, so it is not deployed: {len(gone)} of its "
            f"{artifacts} artifacts no longer exist:{listed}{more}",
            hint="Put the bytes back and say 'mvtrace retention restore ARTIFACT', or say "
            "--without-artifacts if it runs without them.",
        )
        self.version = version


class BeingCollectedError(CheckFailedError):
    """An artifact that a version needs is being collected right now."""

    code = "being-collected"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"The decision was not taken: {detail}.",
            hint="Let 'mvtrace retention apply' end what it began (run it again if it was "
            "interrupted); then deploying tells what no longer exists.",
        )


class TooDeepError(CheckFailedError):
    """Components pin components over too many levels to tell what is needed."""

    code = "too-deep"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"Components are nested over {most} levels deep, so it is not known which artifacts "
            "are needed; nothing was done.",
            hint="Pin what is at the bottom directly.",
        )


class ArtifactKeptError(CheckFailedError):
    """An artifact is not collected: a rule keeps it."""

    code = "artifact-kept"

    def __init__(self, artifact: str, rule: str, why: str) -> None:
        super().__init__(
            f"The artifact {artifact[:12]} is kept ({rule}): {why}.",
            hint="'mvtrace retention plan' tells what becomes of every artifact, and why.",
        )
        self.rule = rule
