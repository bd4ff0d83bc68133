"""Signatures of models: verified offline by trusted keys, and by nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_models import (
    bundle,
    certificate,
    new_key,
    pem_of,
    public_pem,
    statement,
)

import mvtrace
from mvtrace.components.provenance.note import Note
from mvtrace.components.provenance.signature import BundleError, note_of
from mvtrace.components.provenance.trust import Trust

KEY = new_key()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model of two files."""
    folder = tmp_path / "writer"
    (folder / "shards").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "shards" / "one.bin").write_bytes(b"\0" * 64)
    return folder


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what is trusted: the key at first."""
    path = tmp_path / "trusted.pem"
    path.write_bytes(public_pem(KEY))
    monkeypatch.setenv("MVTRACE_TRUSTED_KEYS", str(path))
    return path


def pinned(weights: Path) -> tuple[str, Note]:
    """The digest and the one note of the model when it is pinned."""
    component = mvtrace.model("writer", path=weights)
    [note] = component.provenance
    return component.digest, note


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_signed_by_a_trusted_key(weights: Path, trusted: Path, curve: ec.EllipticCurve) -> None:
    """
    A signature by a trusted key over exactly the files that were hashed is verified.
    """
    key = new_key(curve)
    trusted.write_bytes(public_pem(key))
    (weights / "model.sig").write_bytes(bundle(statement(weights), key))

    _, note = pinned(weights)

    assert (note.source, note.basis) == ("model-signing", "verified")
    assert (note.facts["subject"], note.facts["files"]) == ("writer", 2)
    assert str(note.facts["signer"]).startswith("key sha256:")


def test_beside_the_files(weights: Path, trusted: Path) -> None:
    """
    A bundle beside a folder is found too, and changes nothing of what the folder is.
    """
    before = mvtrace.model("writer", path=weights)
    weights.with_name("writer.sig").write_bytes(bundle(statement(weights), KEY))

    digest, note = pinned(weights)

    assert before.provenance == ()
    assert digest == before.digest
    assert note.basis == "verified"


def _changed(weights: Path) -> None:
    (weights / "config.json").write_text("{ }")


def _removed(weights: Path) -> None:
    (weights / "config.json").unlink()


def _added(weights: Path) -> None:
    (weights / "more.bin").write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_changed, "not verified: the signed file 'config.json' is another"),
        (_removed, "not verified: the signed file 'config.json' is not there"),
        (_added, "not verified: the file 'more.bin' is not signed"),
    ],
)
def test_other_files_than_were_signed(
    weights: Path, trusted: Path, change: Any, problem: str
) -> None:
    """
    A signature over other files than these proves nothing, and it is said which differs.
    """
    (weights / "model.sig").write_bytes(bundle(statement(weights), KEY))
    change(weights)

    _, note = pinned(weights)

    assert (note.basis, note.facts["problem"]) == ("declared", problem)
    assert "signer" not in note.facts


def test_without_a_trusted_key(
    weights: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A signature by a key that is not trusted, or where none is, is recognized and not verified.
    """
    (weights / "model.sig").write_bytes(bundle(statement(weights), new_key()))
    _, by_stranger = pinned(weights)
    monkeypatch.delenv("MVTRACE_TRUSTED_KEYS")
    _, by_anybody = pinned(weights)

    assert by_stranger.basis == by_anybody.basis == "declared"
    assert by_stranger.facts["problem"] == "not verified: no trusted key made it"
    assert "no key is trusted" in str(by_anybody.facts["problem"])


def test_keyless(weights: Path, trusted: Path) -> None:
    """
    A keyless signature is recognized; to verify it takes a trust root, which is not fetched.
    """
    made = json.loads(bundle(statement(weights), KEY))
    made["verificationMaterial"] = {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{}]}
    (weights / "model.sig").write_text(json.dumps(made))

    _, note = pinned(weights)

    assert (note.basis, note.facts["method"]) == ("declared", "keyless")
    assert note.facts["problem"] == "not verified: keyless, which needs a trust root"


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_by_a_certificate(weights: Path, trusted: Path, levels: int) -> None:
    """
    A certificate that leads to a trusted one, over any number of steps, has signed.
    """
    keys = [new_key() for _ in range(levels)]
    chain = [certificate("root", keys[0], is_authority=True, may_sign=levels == 1)]
    for level in range(1, levels):
        by = ("root" if level == 1 else f"c{level - 1}", keys[level - 1])
        is_authority = level < levels - 1
        chain.append(certificate(f"c{level}", keys[level], by, is_authority=is_authority))
    trusted.write_bytes(pem_of(chain[0]))
    said = bundle(statement(weights), keys[-1], chain[:0:-1] or chain)
    (weights / "model.sig").write_bytes(said)

    _, note = pinned(weights)

    assert note.basis == "verified", note.facts
    assert str(note.facts["signer"]).startswith(
        "CN=" + (f"c{levels - 1}" if levels > 1 else "root")
    )


def test_by_a_certificate_of_nobody(weights: Path, trusted: Path) -> None:
    """
    A certificate of another authority, of one that is none, or not meant to sign, proves nothing.
    """
    root, key = new_key(), new_key()
    trusted.write_bytes(pem_of(certificate("root", root, is_authority=True)))
    stranger = certificate("root", new_key(), is_authority=True)
    forged = certificate("c", key, ("root", new_key()))
    no_authority = certificate("root", root)
    unfit = certificate("c", key, ("root", root), may_sign=False)
    middle = certificate("m", root, ("root", root))
    chains = [[forged], [forged, stranger], [unfit], [certificate("c", key, ("m", root)), middle]]
    problems = []
    for chain in chains:
        (weights / "model.sig").write_bytes(bundle(statement(weights), key, chain))
        _, note = pinned(weights)
        assert note.basis == "declared"
        problems.append(note.facts["problem"])
    trusted.write_bytes(pem_of(no_authority))
    fit = certificate("c", key, ("root", root))
    (weights / "model.sig").write_bytes(bundle(statement(weights), key, [fit]))

    assert pinned(weights)[1].basis == "declared"
    assert all("not verified" in str(one) for one in problems)


def test_digest_of_all_files(weights: Path, trusted: Path) -> None:
    """
    A statement whose digest over all files is another contradicts itself.
    """
    said = statement(weights)
    said["subject"][0]["digest"]["sha256"] = "0" * 64
    (weights / "model.sig").write_bytes(bundle(said, KEY))

    assert pinned(weights)[1].basis == "declared"


def test_what_is_no_signature(weights: Path, trusted: Path) -> None:
    """
    Files with such a name that are no bundles say nothing; bundles of something else say so.
    """
    (weights / "model.sig").write_text("-----BEGIN PGP SIGNATURE-----")
    assert mvtrace.model("writer", path=weights).provenance == ()

    (weights / "model.sig").write_bytes(bundle(statement(weights, predicateType="other"), KEY))
    _, note = pinned(weights)
    assert note.facts["problem"] == "it signs something else than a model"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
PLACES = st.sampled_from(
    ["subject", "predicate", "predicate.resources", "predicate.serialization", "predicateType"]
)


@settings(max_examples=150, deadline=None)
@given(where=PLACES, value=JSON)
def test_hostile_statements(where: str, value: Any, tmp_path_factory: Any) -> None:
    """
    Whatever is signed in place of a statement's parts is no model's, or not verified.
    """
    folder = tmp_path_factory.mktemp("m")
    (folder / "a").write_bytes(b"a")
    said = statement(folder)
    place: Any = said
    *path, last = where.split(".")
    for name in path:
        place = place[name]
    place[last] = value
    files = {"a": "0" * 64}

    try:
        note = note_of(bundle(said, KEY), files, [], Trust((public_pem(KEY),)))
    except BundleError:
        return
    assert note.basis == "declared"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda plain: json.dumps(plain).encode()))
def test_hostile_bundles(data: bytes) -> None:
    """
    Bytes that are no bundle are told to be none.
    """
    with pytest.raises(BundleError):
        note_of(data, {}, [], Trust((public_pem(KEY),)))
