"""The members of an Inspect log in its form ``.eval``: a ZIP archive, mostly of Zstandard members.

In: a file. Out: the parsed JSON of its members, one at a time, each within bounds. An archive whose
members overlap, are larger than they say, or unpack to more than any log has, is refused: how much
is unpacked is bounded by what is read, never by what the archive says of itself.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from mvtrace.registry.datasets.errors import PartMissingError
from mvtrace.registry.evals.imported import LogError

MAX_MEMBER_BYTES: Final = 256 * 1024 * 1024
"""What one sample may unpack to, with its whole transcript."""
MAX_ALL_BYTES: Final = 64 * 1024 * 1024 * 1024
MAX_MEMBERS: Final = 1_000_000
_STORED, _DEFLATED, _ZSTANDARD = 0, 8, 93
_HEADER: Final = struct.Struct("<4s22sHH")
_MAGIC: Final = b"PK\x03\x04"
_CHUNK: Final = 1024 * 1024
_FRAME_BYTES: Final = 1024
"""What frames of a packed member may take, beside a share of its size."""


class LogArchive:
    """An ``.eval`` file, open while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                listed = archive.infolist()
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise LogError(path, f"it is no ZIP archive: {error}.") from error
        self._members = {one.filename: one for one in listed}
        self._check(len(listed))
        self._file: BinaryIO = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of the members in the folder *prefix*."""
        yield from (name for name in self._members if name.startswith(prefix))

    def json(self, name: str) -> Any:
        """Return what the member *name* holds.

        Raises:
            LogError: there is none, or it cannot be read.
        """
        if name not in self._members:
            raise LogError(self.path, f"it has no {name!r}.", hint="Was the run finished?")
        try:
            return json.loads(self._bytes(self._members[name]))
        except (ValueError, RecursionError, EOFError, OSError, zlib.error) as error:
            raise LogError(self.path, f"its {name!r} cannot be read: {error}.") from error

    def _check(self, number: int) -> None:
        members = self._members.values()
        if number > MAX_MEMBERS or sum(one.file_size for one in members) > MAX_ALL_BYTES:
            raise LogError(self.path, "it says it holds more than any log: it is not unpacked.")
        last = 0
        for one in sorted(members, key=lambda one: one.header_offset):
            if one.header_offset < last:
                raise LogError(self.path, "its members overlap: it is not unpacked.")
            last = one.header_offset + _HEADER.size + one.compress_size
        if last > self.path.stat().st_size or number != len(members):
            raise LogError(self.path, "its members overlap: it is not unpacked.")

    def _bytes(self, member: zipfile.ZipInfo) -> bytes:
        """Return a member unpacked; never more than it says, nor than MAX_MEMBER_BYTES.

        As little is read: what is packed is at most a little larger than what it holds.
        """
        if member.file_size > MAX_MEMBER_BYTES:
            raise ValueError(f"it has {member.file_size:,} bytes, of {MAX_MEMBER_BYTES:,} at most")
        most = member.file_size
        if member.compress_type != _STORED:
            most += member.file_size // 128 + _FRAME_BYTES
        if member.compress_size > most:
            raise ValueError(
                f"it has {member.compress_size:,} packed bytes, and {member.file_size:,} unpacked"
            )
        self._file.seek(member.header_offset)
        head = self._file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            raise EOFError("the archive ends before it")
        magic, _, name_bytes, extra_bytes = _HEADER.unpack(head)
        if magic != _MAGIC:
            raise ValueError("there is no member where it should be")
        self._file.seek(name_bytes + extra_bytes, 1)
        packed = self._file.read(member.compress_size)
        body = _unpacked(packed, member.compress_type, member.file_size)
        if len(body) != member.file_size or zlib.crc32(body) != member.CRC:
            raise ValueError("it does not unpack to what it says it is")
        return body


def _unpacked(packed: bytes, method: int, limit: int) -> bytes:
    if method == _STORED:
        return packed
    if method == _DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, limit + 1)
    if method != _ZSTANDARD:
        raise ValueError(f"it is packed in a way that is not known ({method})")
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise PartMissingError("Inspect's .eval logs", str(error)) from error
    parts: list[bytes] = []
    left = limit + 1
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        while left and (part := stream.read(min(left, _CHUNK))):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)
