"""What weights say of themselves: the headers of safetensors and GGUF files, without their tensors.

In: an open file and its size. Out: structure that was checked against the size (``observed``), and
what its maker wrote down (``declared``). A header that lies about lengths, is too large or is cut
off raises ``HeaderError``; nothing is unpickled, and no more than MAX_HEADER_BYTES are read.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

MAX_HEADER_BYTES: Final = 16 << 20
MAX_TENSORS: Final = 200_000
GGUF_MAGIC: Final = b"GGUF"
MAX_GGUF_KEYS: Final = 4_096
MAX_GGUF_ITEMS: Final = 1_000_000
"""Texts of a list that are passed over; nothing behind a longer list is read."""
_STEP: Final = 1 << 20
_MAX_KEY: Final = 65_535
_BYTES: Final = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2,
    "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
_GGUF_NUMBERS: Final = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_GGUF_TEXT: Final = 8
_GGUF_LIST: Final = 9
_GGUF_VERSIONS: Final = (2, 3)
_DECLARED: Final = (
    "name", "basename", "version", "organization", "author", "finetune", "size_label", "license",
    "license.name", "license.link", "url", "repo_url", "source.url", "source.repo_url",
    "source.huggingface.repository", "base_model.0.name", "base_model.0.repo_url",
)  # fmt: skip
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""``general.file_type`` as GGUF's makers name it."""


class HeaderError(ValueError):
    """A header does not say what it must, or not in the place where it must."""


class Header(NamedTuple):
    """What a file says of itself."""

    observed: Mapping[str, Any]
    declared: Mapping[str, Any]


class Tensors(NamedTuple):
    """What a safetensors header lists."""

    number: int
    parameters: int
    dtypes: Counter[str]
    """Parameters by type."""
    metadata: Mapping[str, str]


def read_safetensors(file: BinaryIO, size: int) -> Tensors:
    """Return what the header of a safetensors *file* of *size* bytes lists.

    Raises:
        HeaderError: it is none, or contradicts itself or the size.
        OSError: the file cannot be read.

    """
    head = file.read(8)
    if len(head) < 8:  # noqa: PLR2004 (a length of 64 bits)
        raise HeaderError("it is shorter than the length of a header")
    (length,) = struct.unpack("<Q", head)
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise HeaderError(f"its header claims {length:,} bytes")
    try:
        plain = orjson.loads(file.read(length))
    except orjson.JSONDecodeError as error:
        raise HeaderError("its header is no JSON") from error
    if not isinstance(plain, dict) or len(plain) > MAX_TENSORS:
        raise HeaderError("its header is no list of tensors")
    metadata = plain.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise HeaderError("its metadata is no object")
    dtypes: Counter[str] = Counter()
    for tensor in plain.values():
        dtype, parameters = _tensor(tensor, size - 8 - length)
        dtypes[dtype] += parameters
    texts = {key: one for key, one in metadata.items() if isinstance(one, str)}
    return Tensors(len(plain), sum(dtypes.values()), dtypes, texts)


def _tensor(plain: Any, room: int) -> tuple[str, int]:
    """Return type and number of parameters of one tensor that lies within *room* bytes."""
    try:
        dtype, shape, (begin, end) = plain["dtype"], plain["shape"], plain["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise HeaderError("a tensor of its header is none") from error
    numbers = [begin, end, *shape] if isinstance(shape, list) else [None]
    if not isinstance(dtype, str) or not all(type(one) is int and one >= 0 for one in numbers):
        raise HeaderError("a tensor of its header is none")
    if not begin <= end <= room:
        raise HeaderError("a tensor of its header lies outside of the file")
    parameters = math.prod(shape)
    if dtype in _BYTES and parameters * _BYTES[dtype] != end - begin:
        raise HeaderError("a tensor of its header has another size than its shape")
    return dtype[:16], parameters


def read_gguf(file: BinaryIO) -> Header:
    """Return what the first keys of a GGUF *file* say.

    Raises:
        HeaderError: it is none, or contradicts itself.
        OSError: the file cannot be read.

    """
    reader = _Gguf(file)
    if reader.take(4) != GGUF_MAGIC:
        raise HeaderError("it does not begin as a GGUF file")
    version = reader.number("I")
    if version not in _GGUF_VERSIONS:
        raise HeaderError(f"it is GGUF of version {version}, of which nothing is known")
    tensors, keys = reader.number("Q"), reader.number("Q")
    found = reader.keys(min(keys, MAX_GGUF_KEYS))
    architecture = found.get("general.architecture")
    lengths = {
        name: found[f"{architecture}.{name}"]
        for name in ("context_length", "embedding_length", "block_count")
        if f"{architecture}.{name}" in found
    }
    file_type = found.get("general.file_type")
    observed = {
        "format_version": version,
        "tensors": tensors,
        "architecture": architecture,
        "quantization": _FILE_TYPES.get(file_type, f"file type {file_type}")
        if isinstance(file_type, int)
        else None,
        "quantization_version": found.get("general.quantization_version"),
        "parameters": found.get("general.parameter_count"),
        **lengths,
    }
    declared = {name: found[f"general.{name}"] for name in _DECLARED if f"general.{name}" in found}
    return Header(observed, declared)


class _Gguf:
    """Reads the values of a GGUF file, as far as they are within its first MAX_HEADER_BYTES."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._data = bytearray()
        self._at = 0

    def _has(self, count: int) -> bool:
        """Whether *count* more bytes are there, read as far as they are needed."""
        wanted = self._at + count
        while len(self._data) < wanted <= MAX_HEADER_BYTES:
            more = self._file.read(max(_STEP, min(wanted, MAX_HEADER_BYTES) - len(self._data)))
            if not more:
                break
            self._data += more
        return len(self._data) >= wanted

    def take(self, count: int) -> bytes:
        if not self._has(count):
            raise HeaderError("it ends within its header")
        self._at += count
        return bytes(self._data[self._at - count : self._at])

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", "replace")

    def keys(self, count: int) -> dict[str, Any]:
        """Return the scalars before the first list that is too long to pass over."""
        found: dict[str, Any] = {}
        for _ in range(count):
            length = self.number("Q")
            if length > _MAX_KEY:
                raise HeaderError("a key of its header is too long")
            key = self.take(length).decode("utf-8", "replace")
            kind = self.number("I")
            if kind == _GGUF_LIST:
                if not self._skip_list():
                    break
            else:
                found[key] = self._scalar(kind)
        return found

    def _scalar(self, kind: int) -> Any:
        if kind == _GGUF_TEXT:
            return self.text()
        if kind not in _GGUF_NUMBERS:
            raise HeaderError(f"a value of its header has the type {kind}, which is none")
        return self.number(_GGUF_NUMBERS[kind])

    def _skip_list(self) -> bool:
        """Pass over a list; False where it is too long to, or a list of lists."""
        kind, count = self.number("I"), self.number("Q")
        if kind in _GGUF_NUMBERS:
            return self._skip(count * struct.calcsize("<" + _GGUF_NUMBERS[kind]))
        if kind != _GGUF_TEXT or count > MAX_GGUF_ITEMS:
            return False
        length_of = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if not self._has(8):
                return False
            (length,) = length_of(self._data, self._at)
            self._at += 8
            if not self._skip(length):
                return False
        return True

    def _skip(self, count: int) -> bool:
        if not self._has(count):
            return False
        self._at += count
        return True
