"""Headers of weights: what they say, and that a lie in one harms nothing."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from captured_table import record as captured
from hypothesis import given, settings
from hypothesis import strategies as st

import mvtrace
from mvtrace.components.provenance.headers import (
    MAX_HEADER_BYTES,
    HeaderError,
    read_gguf,
    read_safetensors,
)


def safetensors(header: Any, data: int = 0) -> bytes:
    """The bytes of a file with *header*."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * data


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = {
    "__metadata__": {"format": "pt", "license": "mit"},
    "a": tensor("F16", [4, 8], 0, 64),
    "b": tensor("F32", [3], 64, 76),
    "c": tensor("F32", [], 76, 80),
}


def gguf_text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(
    pairs: list[tuple[str, int, bytes]], *, version: int = 3, keys: int | None = None
) -> bytes:
    """The bytes of a file with these keys, each with its type and value."""
    head = b"GGUF" + struct.pack("<IQQ", version, 2, len(pairs) if keys is None else keys)
    return head + b"".join(
        gguf_text(key) + struct.pack("<I", kind) + value for key, kind, value in pairs
    )


KEYS = [
    ("general.architecture", 8, gguf_text("gemma3")),
    ("general.name", 8, gguf_text("Gemma 3 270m")),
    ("general.license", 8, gguf_text("gemma")),
    ("general.file_type", 4, struct.pack("<I", 15)),
    ("general.tags", 9, struct.pack("<IQ", 8, 2) + gguf_text("a") + gguf_text("b")),
    ("gemma3.context_length", 4, struct.pack("<I", 32768)),
    ("tokenizer.scores", 9, struct.pack("<IQ", 6, 1 << 40)),
]


def test_safetensors() -> None:
    """
    Tensors are counted with their parameters by type, and metadata is what the maker says.
    """
    data = safetensors(GOOD, 80)

    found = read_safetensors(io.BytesIO(data), len(data))

    assert (found.number, found.parameters) == (3, 36)
    assert found.dtypes == {"F16": 32, "F32": 4}
    assert found.metadata == {"format": "pt", "license": "mit"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\0\0", "shorter"),
        (struct.pack("<Q", 1 << 62) + b"{}", "claims"),
        (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}", "claims"),
        (safetensors(b"[1, 2"), "no JSON"),
        (safetensors([]), "no list"),
        (safetensors({"a": 7}), "is none"),
        (safetensors({"__metadata__": [1]}), "metadata"),
        (safetensors({"a": tensor("F16", [-1], 0, 0)}), "is none"),
        (safetensors({"a": tensor("F16", [True], 0, 2)}, 2), "is none"),
        (safetensors({"a": tensor("F16", [1], 0, 2)}), "outside"),
        (safetensors({"a": tensor("F16", [1], 2, 0)}, 2), "outside"),
        (safetensors({"a": tensor("F16", [10**15], 0, 2)}, 2), "another size"),
        (safetensors(b"[" * 100_000), "no JSON"),
    ],
)
def test_lying_safetensors(data: bytes, problem: str) -> None:
    """
    A header that contradicts itself or the file is told to.
    """
    with pytest.raises(HeaderError, match=problem):
        read_safetensors(io.BytesIO(data), len(data))


def test_gguf() -> None:
    """
    Architecture, quantization and lengths are told, name and licence as the maker's words.
    """
    found = read_gguf(io.BytesIO(gguf(KEYS)))

    assert found.declared == {"name": "Gemma 3 270m", "license": "gemma"}
    assert found.observed["architecture"] == "gemma3"
    assert found.observed["quantization"] == "Q4_K_M"
    assert (found.observed["context_length"], found.observed["tensors"]) == (32768, 2)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "ends"),
        (b"GGUFx", "ends"),
        (b"GGML" + b"\0" * 40, "does not begin"),
        (gguf(KEYS, version=1), "version 1"),
        (gguf(KEYS[:1], keys=5), "ends"),
        (gguf([("a", 99, b"")]), "type 99"),
        (gguf([("a", 8, struct.pack("<Q", 1 << 60))]), "ends"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 50), "too long"),
    ],
)
def test_lying_gguf(data: bytes, problem: str) -> None:
    """
    A header that contradicts itself or ends too early is told to.
    """
    with pytest.raises(HeaderError, match=problem):
        read_gguf(io.BytesIO(data))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_any_bytes_can_be_read(data: bytes, at: int, byte: int) -> None:
    """
    Any bytes, and good headers with one byte changed or cut off, are read or told to be none.
    """
    for good in (safetensors(GOOD, 80), gguf(KEYS)):
        changed = good[:at] + bytes([byte]) + good[at + 1 :]
        for one in (data, good[:4] + data, changed, good[:at]):
            for read in (
                lambda file, size: read_safetensors(file, size),
                lambda f, _: read_gguf(f),
            ):
                with contextlib.suppress(HeaderError):
                    read(io.BytesIO(one), len(one))


def test_a_lying_header_is_hashed_all_the_same(tmp_path: Path) -> None:
    """
    Weights whose header lies are pinned by their bytes, and the note says what is wrong.
    """
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")

    component = mvtrace.model("a", path=path)

    [note] = component.provenance
    assert component.facts["artifact"]["bytes"] == 10
    assert note.facts == {
        "file": "a.safetensors",
        "problem": "its header claims 4,611,686,018,427,387,904 bytes",
    }


def test_shards_are_counted_together(tmp_path: Path) -> None:
    """
    A model in several files has the tensors of all of them; metadata are what they say together.
    """
    for number in range(3):
        (tmp_path / f"model-{number}.safetensors").write_bytes(safetensors(GOOD, 80))
    (tmp_path / "config.json").write_text("{}")

    observed, declared = mvtrace.model("m", path=tmp_path).provenance

    assert observed.facts == {
        "files": 3, "tensors": 9, "parameters": 108, "dtypes": {"F16": 96, "F32": 12},
    }  # fmt: skip
    assert (observed.basis, declared.basis) == ("observed", "declared")
    assert declared.facts["license"] == "mit"


def test_files_of_the_real_library(tmp_path: Path) -> None:
    """
    A file written by the safetensors library is read as it meant it.
    """
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "a.safetensors"
    tensors = {"w": numpy.zeros((4, 3), "float16"), "b": numpy.zeros(5, "float32")}
    library.save_file(tensors, path, metadata={"format": "np"})

    observed, declared = mvtrace.model("m", path=path).provenance

    assert observed.facts == {
        "files": 1, "tensors": 2, "parameters": 17, "dtypes": {"F16": 12, "F32": 5},
    }  # fmt: skip
    assert declared.facts == {"format": "np"}
    captured("safetensors", version("safetensors"), ["tensors and parameters by type, metadata"])


def test_files_of_the_real_gguf_library(tmp_path: Path) -> None:
    """
    A file written by the gguf library is read as it meant it.
    """
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("gguf")
    path = tmp_path / "a.gguf"
    writer = library.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_license("apache-2.0")
    writer.add_file_type(library.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(64)
    writer.add_token_list([f"token {number}" for number in range(200_000)])
    writer.add_tensor("w", numpy.zeros((4, 4), "float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    observed, declared = mvtrace.model("m", path=path).provenance

    assert {key: observed.facts[key] for key in ("architecture", "quantization", "tensors")} == {
        "architecture": "llama", "quantization": "Q8_0", "tensors": 1,
    }  # fmt: skip
    assert observed.facts["context_length"] == 64
    assert declared.facts == {"name": "Tiny", "license": "apache-2.0"}
    captured("gguf", version("gguf"), ["architecture, quantization, lengths, name, licence"])
