"""What lies at a URI, hashed where it lies: nothing is kept of it.

In: ``file://``, ``http(s)://``, ``hf://OWNER/NAME[@REVISION]`` (from the hub's folder on this
machine where it lies there) or any URI that fsspec reads (``s3://``, ``gs://``, ``az://`` …). Out:
an Artifact, whose digest is that of the same files on a disk; or the bytes of a text.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from mvtrace.components.artifact import SINGLE_FILE, SKIPPED_FOLDERS, Artifact, hash_artifact
from mvtrace.components.content import MAX_CONTENT_BYTES
from mvtrace.digest import ARTIFACT_DOMAIN, canonical_bytes, digest_of

TIMEOUT_S: Final = 60.0
_CHUNK_BYTES: Final = 1 << 20
_HUB: Final = re.compile(
    r"hf://(?P<owner>[\w.-]{1,96})/(?P<name>[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,128}))?"
)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


class PlaceError(Exception):
    """What lies at a URI cannot be read; says why."""


def local_path(uri: str, environ: Mapping[str, str]) -> Path | None:
    """Return where the files at *uri* lie on this machine; None where they do not."""
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    found = _HUB.fullmatch(uri)
    if found is None:
        return None
    name = f"models--{found['owner']}--{found['name']}"
    return _snapshot(_hub_folder(environ) / name, found["revision"] or "main")


def hash_uri(uri: str) -> Artifact:
    """Return the artifact at *uri*, read once and not kept.

    Raises:
        PlaceError: it cannot be read, or nothing is there.
    """
    local = local_path(uri, os.environ)
    with _told():
        if local is not None:
            return hash_artifact(local)
        if uri.startswith(("http://", "https://")):
            with _opened_http(uri) as file:
                return _artifact([_listed(SINGLE_FILE, file)])
        return _artifact(sorted(_remote_files(uri), key=lambda one: str(one["path"])))


def read_uri(uri: str) -> bytes:
    """Return the bytes of a text at *uri*.

    Raises:
        PlaceError: it cannot be read, or is longer than a text may be.
    """
    local = local_path(uri, os.environ)
    with _told():
        if local is not None:
            raw = _limited(local.open("rb"))
        elif uri.startswith(("http://", "https://")):
            raw = _limited(_opened_http(uri))
        else:
            files, root = _files_of(uri)
            raw = _limited(files.open(root, "rb"))
    if len(raw) > MAX_CONTENT_BYTES:
        raise PlaceError(f"it is longer than {MAX_CONTENT_BYTES:,} bytes")
    return raw


@contextmanager
def _told() -> Iterator[None]:
    """Say in one kind of error why a place cannot be read, whoever found out."""
    try:
        yield
    except PlaceError:
        raise
    except HTTPError as error:
        error.close()
        raise PlaceError(f"the server answers {error.code}") from error
    except URLError as error:
        raise PlaceError(str(error.reason)) from error
    except OSError as error:
        raise PlaceError(error.strerror or str(error) or type(error).__name__) from error
    except Exception as error:  # libraries of others, each with errors of its own
        raise PlaceError(f"{type(error).__name__}: {error}") from error


def _limited(file: IO[bytes]) -> bytes:
    with file:
        return file.read(MAX_CONTENT_BYTES + 1)


def _opened_http(uri: str) -> IO[bytes]:
    from urllib.request import urlopen  # noqa: PLC0415 (30 ms of an import, for few)

    opened: IO[bytes] = urlopen(uri, timeout=TIMEOUT_S)  # noqa: S310 (http only, as was asked)
    return opened


def _files_of(uri: str) -> tuple[Any, str]:
    """Return the file system of *uri* and the path in it."""
    try:
        import fsspec  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise PlaceError("fsspec is not installed: pip install 'mvtrace[retention]'") from error
    files, root = fsspec.core.url_to_fs(uri)
    return files, str(root)


def _remote_files(uri: str) -> Iterator[dict[str, object]]:
    files, root = _files_of(uri)
    if files.isfile(root):
        with files.open(root, "rb") as file:
            yield _listed(SINGLE_FILE, file)
        return
    base = root.rstrip("/") + "/"
    for path in files.find(root):
        relative = str(path).removeprefix(base)
        if relative and not SKIPPED_FOLDERS & set(relative.split("/")[:-1]):
            with files.open(path, "rb") as file:
                yield _listed(relative, file)


def _listed(relative: str, file: IO[bytes]) -> dict[str, object]:
    state = hashlib.sha256()
    size = 0
    while chunk := file.read(_CHUNK_BYTES):
        state.update(chunk)
        size += len(chunk)
    return {"path": relative, "bytes": size, "digest": f"sha256:{state.hexdigest()}"}


def _artifact(files: list[dict[str, object]]) -> Artifact:
    if not files:
        raise PlaceError("nothing lies there")
    listing = canonical_bytes({"files": files})
    is_single = files[0]["path"] == SINGLE_FILE
    return Artifact(
        digest=digest_of(ARTIFACT_DOMAIN, listing),
        total_bytes=sum(int(str(one["bytes"])) for one in files),
        files=len(files),
        listing=listing,
        file_digest=str(files[0]["digest"]) if is_single else None,
    )


def _hub_folder(environ: Mapping[str, str]) -> Path:
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"])
    home = environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")  # noqa: PTH111 (Path.expanduser raises without a home)
    return Path(home) / "hub"


def _snapshot(folder: Path, revision: str) -> Path | None:
    """Return the folder of a revision that was downloaded; None where none was."""
    commit = revision
    if not _COMMIT.fullmatch(revision):
        ref = folder / "refs" / revision
        if ".." in Path(revision).parts or not ref.is_file():
            return None
        commit = ref.read_text("utf-8", "replace").strip()
    place = folder / "snapshots" / commit
    return place if _COMMIT.fullmatch(commit) and place.is_dir() else None
