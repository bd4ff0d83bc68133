"""The bytes at a place: looked at, hashed, removed; through fsspec, and strictly.

In: a :class:`Where` below a root. Out: its files as an artifact lists them, or what stands against
touching them. Of files of this host no step below the root may be a link. A file is removed only if
it still is the one that was hashed; only files that the artifact lists are, and folders only once
they are empty. Left out: folders named ``.git`` and ``__pycache__``, as artifacts leave them out.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from mvtrace.components.artifact import SINGLE_FILE, SKIPPED_FOLDERS
from mvtrace.digest import ARTIFACT_DOMAIN, canonical_bytes, digest_of, parse_canonical
from mvtrace.errors import UnavailableError
from mvtrace.registry.retention.uris import Where

_CHUNK: Final = 1024 * 1024
_DRIVERS: Final = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
_HAS_FOLDERS: Final = ("file", "memory")
"""Elsewhere a folder is but a common beginning of names."""
_MARKS: Final = (
    *("size", "mtime", "ino", "created", "ETag", "etag", "LastModified", "last_modified"),
    *("generation", "md5Hash", "content_md5", "VersionId"),
)
"""What changes where a file does."""


class ForeignError(Exception):
    """What lies there is not touched; the text says why."""


class DriverMissingError(UnavailableError):
    """The library that reaches a kind of storage is not installed."""

    code = "extra-missing"


@dataclass(frozen=True, slots=True)
class File:
    """One file as an artifact lists it; *path* is relative, ``.`` where the place is a file."""

    path: str
    bytes: int
    digest: str
    """``sha256:…``."""


@dataclass(frozen=True, slots=True)
class Found:
    """The files at a place as they were when they were hashed."""

    files: tuple[File, ...]
    marks: Mapping[str, str]
    """By path, what the storage said of it then."""

    @property
    def listing(self) -> bytes:
        """The listing an artifact of these files has."""
        files = [{"path": one.path, "bytes": one.bytes, "digest": one.digest} for one in self.files]
        return canonical_bytes({"files": files})

    @property
    def total_bytes(self) -> int:
        """The size of all."""
        return sum(one.bytes for one in self.files)


def proves(listing: bytes, artifact: str) -> bool:
    """Whether files so listed are *artifact*, which is the digest of their list.

    The plain digest of one file is none: what is known by it alone nobody pinned.
    """
    return digest_of(ARTIFACT_DOMAIN, listing) == f"sha256:{artifact}"


def files_of(listing: bytes) -> tuple[File, ...]:
    """Return the files of a *listing*; raises ValueError where it is none."""
    said = parse_canonical(listing)
    try:
        return tuple(File(one["path"], one["bytes"], one["digest"]) for one in said["files"])
    except (KeyError, TypeError) as error:
        raise ValueError("it is no listing of files") from error


class Storage:
    """Reads and removes files; one is made for each run."""

    def __init__(self, roots: tuple[Where, ...]) -> None:
        self._roots = roots
        self._systems: dict[str, Any] = {}

    def find(self, where: Where) -> Found | None:
        """Return the files at *where*, hashed; None where there is nothing.

        Raises:
            ForeignError: there is something that is not touched.
            OSError: it cannot be read.
            DriverMissingError: nothing here reads such a place.
        """
        files, marks = [], {}
        for path, full in sorted(self._entries(where)):
            info = self._info(where.scheme, full) or {}
            digest = self._hash(where.scheme, full)
            if not info or _mark(self._info(where.scheme, full) or {}) != _mark(info):
                raise ForeignError(f"{path} changed while it was read")
            files.append(File(path, int(info["size"]), f"sha256:{digest}"))
            marks[path] = _mark(info)
        return Found(tuple(files), marks) if files else None

    def remove(self, where: Where, found: Found, listed: tuple[File, ...]) -> Iterator[File]:
        """Remove the files of *found*, and yield each once it is gone.

        Then the folders that held those *listed*, as far as they are empty.

        Raises:
            ForeignError: one is not the one that was hashed.
            OSError: the storage refuses.
        """
        for file in found.files:
            full = _full(where, file.path)
            self._check_links(where, full)
            info = self._info(where.scheme, full)
            if info is not None:
                if _mark(info) != found.marks[file.path]:
                    raise ForeignError(f"{file.path} changed since it was hashed")
                self._remove_file(where.scheme, full)
            yield file
        if where.scheme in _HAS_FOLDERS:
            self._remove_folders(where, listed)

    def left(self, where: Where) -> int:
        """Return how many files are at *where*."""
        return sum(1 for _ in self._entries(where))

    def exists(self, where: Where) -> bool:
        """Whether there is anything at *where*, as seen from here."""
        return self._info(where.scheme, where.path) is not None

    def _entries(self, where: Where) -> Iterator[tuple[str, str]]:
        """Yield relative and whole path of each file at *where*."""
        self._check_links(where, where.path)
        info = self._info(where.scheme, where.path)
        if info is None:
            return
        if info["type"] == "file":
            yield SINGLE_FILE, where.path
            return
        system = self._system(where.scheme)
        for full in system.find(where.path, withdirs=False):
            path = _relative(where, full)
            if SKIPPED_FOLDERS.isdisjoint(path.split("/")[:-1]):
                self._check_links(where, _full(where, path))
                yield path, _full(where, path)

    def _check_links(self, where: Where, full: str) -> None:
        """Raise where a step below the root is a link, or *full* is neither file nor folder."""
        if where.scheme != "file":
            return
        root = next((one for one in self._roots if where.is_below(one)), None)
        if root is None:
            raise ForeignError("it lies under no root of the policy")
        real_root = os.path.realpath(root.path)
        if os.path.realpath(full) != real_root.rstrip("/") + full[len(root.path) :]:
            raise ForeignError("its path has a link")
        try:
            mode = os.lstat(full).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ForeignError("there is something that is neither a file nor a folder")

    def _info(self, scheme: str, full: str) -> dict[str, Any] | None:
        system = self._system(scheme)
        system.invalidate_cache()
        try:
            return dict(system.info(full))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _hash(self, scheme: str, full: str) -> str:
        state = hashlib.sha256()
        with self._system(scheme).open(full, "rb") as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
        return state.hexdigest()

    def _remove_file(self, scheme: str, full: str) -> None:
        try:
            self._system(scheme).rm_file(full)
        except FileNotFoundError:
            return  # another run removed it a moment ago

    def _remove_folders(self, where: Where, listed: tuple[File, ...]) -> None:
        """Remove the folders that held the files, the innermost first, where they are empty."""
        folders = {
            str(folder)
            for file in listed
            if file.path != SINGLE_FILE
            for folder in PurePosixPath(file.path).parents
        }
        for folder in sorted(folders, key=_depth, reverse=True):
            full = where.path if folder == "." else _full(where, folder)
            try:
                self._system(where.scheme).rmdir(full)
            except OSError:
                continue  # it holds what is not ours, or is gone

    def _system(self, scheme: str) -> Any:
        if scheme not in self._systems:
            self._systems[scheme] = _system_of(scheme)
        return self._systems[scheme]


def _system_of(scheme: str) -> Any:
    try:
        import fsspec  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise DriverMissingError(
            "Artifacts are reached through fsspec, which is not installed.",
            hint="pip install 'mvtrace[retention]'",
        ) from error
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        driver = _DRIVERS.get(scheme, scheme)
        raise DriverMissingError(
            f"{scheme}:// is reached through {driver}, which is not installed.",
            hint=f"pip install {driver}",
        ) from error


def _depth(folder: str) -> int:
    return 0 if folder == "." else 1 + folder.count("/")


def _full(where: Where, path: str) -> str:
    return where.path if path == SINGLE_FILE else f"{where.path}/{path}"


def _relative(where: Where, full: str) -> str:
    """Return *full* relative to *where*; storages differ in whether paths begin with a slash."""
    path, base = full.lstrip("/"), where.path.lstrip("/") + "/"
    if not path.startswith(base):
        raise ForeignError("the storage lists what does not lie there")
    relative = path[len(base) :]
    if any(part in ("", ".", "..") for part in relative.split("/")):
        raise ForeignError("a file's name has a step that leads elsewhere")
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise ForeignError("a file's name is not UTF-8") from error
    return relative


def _mark(info: Mapping[str, Any]) -> str:
    return repr([(name, str(info[name])) for name in _MARKS if name in info])
