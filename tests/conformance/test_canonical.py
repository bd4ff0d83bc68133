"""The canonical form as written down for other languages: vectors, and an independent reader."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mvtrace.components import hash_artifact, index
from mvtrace.components.content import pin_content
from mvtrace.digest import canonical_bytes, digest_of, parse_canonical
from mvtrace.errors import CanonicalFormError

HERE = Path(__file__).parent
CANONICAL = HERE.parents[1] / "schemas" / "canonical"
GENERATOR = runpy.run_path(str(HERE / "canonical_vectors.py"))
VECTORS: dict[str, Any] = json.loads((CANONICAL / "vectors.json").read_text(encoding="ascii"))

value_of = GENERATOR["value_of"]


def cases(member: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in VECTORS[member]]


def domain_of(case: dict[str, str]) -> bytes:
    domain: str = VECTORS["domains"][case["domain"]]
    return domain.encode()


def test_documented_command_writes_the_file() -> None:
    """
    The generator gives the stored file byte for byte.
    """
    assert GENERATOR["render"]() == (CANONICAL / "vectors.json").read_text(encoding="ascii")


@pytest.mark.parametrize("case", cases("canonical"))
def test_canonical_bytes(case: dict[str, Any]) -> None:
    """
    An input has the stored bytes, and these give the input back.
    """
    value = value_of(case["input"])

    assert canonical_bytes(value).decode() == case["canonical"]
    assert parse_canonical(case["canonical"]) == value


@pytest.mark.parametrize("case", cases("refused"))
def test_refused_input(case: dict[str, Any]) -> None:
    """
    What JSON cannot hold has no canonical form.
    """
    with pytest.raises(CanonicalFormError):
        canonical_bytes(value_of(case["input"]))


@pytest.mark.parametrize("case", cases("not_canonical"))
def test_json_that_is_not_canonical(case: dict[str, str]) -> None:
    """
    Reading and writing a text that is not canonical gives other bytes.
    """
    assert canonical_bytes(parse_canonical(case["text"])).decode() != case["text"]


@pytest.mark.parametrize("case", cases("digests"))
def test_digest(case: dict[str, Any]) -> None:
    """
    The digest covers the domain line and the canonical bytes.
    """
    body = canonical_bytes(value_of(case["input"]))

    assert (body.decode(), digest_of(domain_of(case), body)) == (case["body"], case["digest"])


@pytest.mark.parametrize("case", cases("mismatches"))
def test_digest_of_something_else(case: dict[str, str]) -> None:
    """
    A body under another domain, or with one character changed, has another digest.
    """
    assert digest_of(domain_of(case), case["body"].encode()) != case["digest"]


@pytest.mark.parametrize("case", cases("contents"))
def test_content_reference(case: dict[str, Any]) -> None:
    """
    A text has the stored reference, and its pieces joined are the text.
    """
    text = value_of(case["input"])

    pinned = pin_content(text)

    assert pinned.reference == case["reference"]
    assert "".join(piece.text for piece in pinned.pieces) == text
    digests = [piece.digest for piece in pinned.pieces]
    content = case["reference"]["content"]
    assert digests == content.get("pieces", [content["digest"]])


@pytest.mark.parametrize("case", cases("artifacts"))
def test_artifact(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Files with the stored texts make the stored listing and digest.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "artifact"
    for relative, text in case["files"].items():
        path = root / relative if relative != "." else root
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    artifact = hash_artifact(root)

    expected = (case["listing"], case["digest"], case["bytes"])
    assert (artifact.listing.decode(), artifact.digest, artifact.total_bytes) == expected


@pytest.mark.parametrize("case", cases("indexes"))
def test_index_fingerprint(case: dict[str, Any]) -> None:
    """
    A mapping has the stored fingerprint, in any order.
    """
    backwards = dict(reversed(case["items"].items()))

    snapshot = index("notes", backwards).facts["snapshot"]

    assert snapshot["fingerprint"] == case["fingerprint"]


def test_worked_example() -> None:
    """
    Components and version of the worked example recompute, and the page shows them.
    """
    (worked,) = VECTORS["composites"]
    page = (CANONICAL / "README.md").read_text(encoding="utf-8")

    for part in worked["components"]:
        assert digest_of(b"mvtrace.component/1\n", part["body"].encode()) == part["digest"]
        assert part["body"] in page
        assert part["digest"] in page
    version = digest_of(b"mvtrace.composite/1\n", worked["manifest"].encode())
    assert version == f"sha256:{worked['version']}"
    assert worked["manifest"] in page
    assert worked["version"] in page


def test_independent_implementation_agrees() -> None:
    """
    JavaScript that follows the page alone gives the stored bytes and digests.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    command = [node, str(HERE / "canonical.mjs"), str(CANONICAL / "vectors.json")]

    run = subprocess.run(command, capture_output=True, check=True, timeout=60)

    (worked,) = VECTORS["composites"]
    assert json.loads(run.stdout) == {
        "canonical": [case["canonical"] for case in VECTORS["canonical"]],
        "refused": [True] * len(VECTORS["refused"]),
        "digests": [case["digest"] for case in VECTORS["digests"]],
        "mismatches": [False] * len(VECTORS["mismatches"]),
        "contents": [case["reference"] for case in VECTORS["contents"]],
        "artifacts": [case["digest"] for case in VECTORS["artifacts"]],
        "indexes": [case["fingerprint"] for case in VECTORS["indexes"]],
        "components": [part["digest"] for part in worked["components"]],
        "version": worked["version"],
    }
