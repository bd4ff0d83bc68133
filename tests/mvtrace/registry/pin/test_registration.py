"""What a pin registers beside the version: places, and what it was made from."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import mvtrace
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import edges_of
from mvtrace.registry.pin.description import description_of
from mvtrace.registry.pin.lockfile import Lock
from mvtrace.registry.pin.registration import (
    artifact_entries,
    artifact_entry,
    derivation_entries,
    without_place,
)
from mvtrace.registry.refs import Ref
from mvtrace.resources import schema_root

PARENT = Ref("composite", "a" * 64)
EXPERIMENT = Ref("experiment", "b" * 64)


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    (tmp_path / "w.bin").write_bytes(b"weights")
    parts = [mvtrace.model(name, path=tmp_path / "w.bin") for name in ("told", "untold")]
    return Lock(mvtrace.composite("bot", *parts), (PARENT,), EXPERIMENT)


def test_places_are_those_that_the_description_tells(lock: Lock) -> None:
    """
    An artifact whose URI is told has an entry of the schema; of the others it is said they have none.
    """
    description = description_of(
        b'name = "bot"\n[model.told]\npath = "w.bin"\nuri = "s3://m/w"\n'
        b'[model.untold]\npath = "w.bin"\n',
        Path("mvtrace.toml"),
    )

    [entry] = artifact_entries(lock, description)

    artifact = lock.composite.components[0].facts["artifact"]["digest"]
    assert entry.said == {
        "schema_version": 1,
        "kind": "artifact",
        "artifact": artifact.removeprefix("sha256:"),
        "uri": "s3://m/w",
        "bytes": 7,
        "role": "model",
    }
    schema = json.loads((schema_root() / "events" / "artifact.schema.json").read_text("utf-8"))
    jsonschema.validate(entry.said, schema)
    assert without_place(lock, description) == ["model/untold"]


def test_a_version_is_made_from_its_parents(lock: Lock) -> None:
    """
    The derivation names the version before and the experiment; without either there is none.
    """
    [entry] = derivation_entries(lock, "shorter")

    assert [(str(one.parent), one.role) for one in edges_of(entry)] == [
        (str(PARENT), "previous"),
        (str(EXPERIMENT), "experiment"),
    ]
    assert entry.said["reason"] == "shorter"
    assert derivation_entries(Lock(lock.composite)) == []


@pytest.mark.parametrize("uri", ["", "s3://x\x1b[2J", "s3://" + "x" * 5_000])
def test_no_place(uri: str) -> None:
    """
    What is no line of text is no place.
    """
    with pytest.raises(RegistryError) as refused:
        artifact_entry("a" * 64, uri, 1)

    assert refused.value.message == (
        "An artifact cannot be registered: its uri is one line of at most 4,096 characters."
    )
