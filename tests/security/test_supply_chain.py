"""What is installed is known: a lock with hashes for CI, a bill of materials for who runs it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mvtrace.cli.bill import FILES_DIGEST, bill

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.lock": "dev",
    "requirements-llm.lock": "example-llm",
    "requirements-fuzz.lock": "fuzz",
    "requirements-first-tier.lock": "first-tier-dev",
}
TOGETHER = [lock for lock in LOCKS if lock != "requirements-first-tier.lock"]
"""What CI installs into one environment; the first tier has its own."""
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_PIN = re.compile(
    r"([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==([^ ;]+)(?: ; ([^\\]+))? \\\n((?: {4}--hash=\S+(?: \\)?\n)+)"
)


def pins(lock: str) -> list[tuple[str, Version, str, list[str]]]:
    """Return name, version, marker and hashes of each line of a lock; refuse any other line."""
    text = re.sub(r"^#.*\n", "", (ROOT / ".ci" / lock).read_text(), flags=re.MULTILINE)
    assert _PIN.sub("", text) == "", "a line that pins nothing"
    return [
        (name, Version(version), (marker or "").strip(), re.findall(r"--hash=(\S+)", hashes))
        for name, version, marker, hashes in _PIN.findall(text)
    ]


def declared(extra: str) -> Iterator[Requirement]:
    """Return what pyproject asks for in *extra*, extras of its own included."""
    project = PROJECT["project"]
    yield from map(Requirement, project["dependencies"])
    for text in project["optional-dependencies"][extra]:
        one = Requirement(text)
        if one.name == project["name"]:
            for inner in one.extras:
                yield from declared(inner)
        else:
            yield one


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_what_the_project_asks_for(lock: str) -> None:
    """
    Every requirement of the extra is locked, in each of its versions within the range.
    """
    found = pins(lock)
    wanted = [*declared(LOCKS[lock]), *map(Requirement, PROJECT["build-system"]["requires"])]
    if lock != "requirements.lock":
        wanted = wanted[: -len(PROJECT["build-system"]["requires"])]

    stale = [
        str(one)
        for one in wanted
        if not (versions := [v for name, v, _, _ in found if name == canonicalize_name(one.name)])
        or not all(one.specifier.contains(version, prereleases=True) for version in versions)
    ]

    assert stale == [], "run .ci/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_hashes_and_no_address(lock: str) -> None:
    """
    Each pin has the SHA-256 of its files, and nothing says where they come from.
    """
    for name, _version, _marker, hashes in pins(lock):
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), name

    text = (ROOT / ".ci" / lock).read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|@ ", text)


def test_locks_agree() -> None:
    """
    What the locks of one environment have in common, they have in the same version.
    """
    first, *others = ({(n, m): v for n, v, m, _ in pins(lock)} for lock in TOGETHER)

    for other in others:
        both = first.keys() & other.keys()
        assert {key: other[key] for key in both} == {key: first[key] for key in both}


def test_ci_takes_nothing_without_its_hash() -> None:
    """
    CI installs each lock with hashes required before the extra it is for, and fetches no more.
    """
    script = (ROOT / ".ci/run").read_text()

    for lock, extra in LOCKS.items():
        locked = script.index(f"install --require-hashes -r .ci/{lock}")
        if extra != "fuzz":  # whose environment has the project already
            assert locked < script.index(f"install '.[{extra}]'")
    projects = len(LOCKS) - 1
    assert script.count("PIP_NO_INDEX=1") == projects
    plain = re.findall(r"^(?!echo).*pip\"? install (?!--require-hashes)", script, re.MULTILINE)
    assert len(plain) == projects


def sbom(environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mvtrace", "sbom"],
        capture_output=True, text=True, check=True, env={**os.environ, **(environ or {})},
    )  # fmt: skip
    return done.stdout


def test_bill_of_materials_is_valid() -> None:
    """
    What ``mvtrace sbom`` prints is CycloneDX 1.6 by its published schema, and names what is here.
    """
    text = sbom()

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    names = {one["name"]: one["version"] for one in document["components"]}
    installed = {
        canonicalize_name(one.metadata["Name"]): one.version
        for one in reversed(list(distributions()))
    }
    assert installed.items() - {("mvtrace", installed.get("mvtrace"))} <= names.items()
    assert names["CPython"] == ".".join(map(str, sys.version_info[:3]))


def test_bill_of_materials_says_who_needs_whom() -> None:
    """
    The graph has a needed package under who needs it, and no loose end.
    """
    document = json.loads(sbom())
    graph = {one["ref"]: set(one["dependsOn"]) for one in document["dependencies"]}

    assert "starlette" in graph["fastapi"]
    assert "opentelemetry-api" in graph["opentelemetry-sdk"]
    assert set().union(*graph.values()) <= graph.keys()


def test_bill_of_the_same_is_the_same() -> None:
    """
    Two bills of one environment are equal but for their time, which can be fixed.
    """
    one, other = sbom({"SOURCE_DATE_EPOCH": "1"}), sbom({"SOURCE_DATE_EPOCH": "1"})

    assert one == other
    assert json.loads(one)["metadata"]["timestamp"] == "1970-01-01T00:00:01Z"


def distribution(folder: Path, name: str, *metadata: str, **files: str) -> Distribution:
    """Return a distribution made of files on the disk."""
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(exist_ok=True)
    head = [f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0", *metadata]
    (place / "METADATA").write_text("\n".join(head) + "\n")
    for file, text in files.items():
        (place / file.replace("__", ".")).write_text(text)
    return Distribution.at(place)


def component(*found: Distribution, name: str) -> dict[str, Any]:
    document = bill(found, made=MOMENT)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    everything = [document["metadata"]["component"], *document["components"]]
    return next(one for one in everything if one["name"] == name)


@pytest.mark.parametrize(
    ("metadata", "licences"),
    [
        (["License-Expression: MIT OR Apache-2.0"], [{"expression": "MIT OR Apache-2.0"}]),
        (
            ["License: whatever", "Classifier: License :: OSI Approved :: MIT License"],
            [{"license": {"name": "MIT License"}}],
        ),
        (["License: BSD-3-Clause"], [{"license": {"name": "BSD-3-Clause"}}]),
        (["License: " + "long " * 100], None),
        ([], None),
    ],
)
def test_licences(tmp_path: Path, metadata: list[str], licences: object) -> None:
    """
    A licence is named as the metadata names it: its expression, its classifiers, else its field.
    """
    one = distribution(tmp_path, "some-thing", *metadata)

    assert component(one, name="some-thing").get("licenses") == licences


def test_hashes_are_those_an_installer_wrote_down(tmp_path: Path) -> None:
    """
    The archive's hash comes from PEP 610; the files' digest from the record, whoever installed it.
    """
    digest = hashlib.sha256(b"archive").hexdigest()
    url = json.dumps({"url": "https://user:secret@host/x.whl", "archive_info": {"hashes": {"sha256": digest}}})  # fmt: skip
    record = "b.py,sha256=bbb,1\na.py,sha256=aaa,1\n../../bin/tool,sha256=ccc,1\n"
    installed = "x-1.0.dist-info/INSTALLER,sha256=ddd,1\nx-1.0.dist-info/RECORD,,\n"
    one = distribution(tmp_path, "X", RECORD=record + installed, direct_url__json=url)

    shown = component(one, name="x")

    assert shown["hashes"] == [{"alg": "SHA-256", "content": digest}]
    files = hashlib.sha256(b"a.py,aaa\nb.py,bbb\n").hexdigest()
    assert shown["properties"] == [{"name": FILES_DIGEST, "value": files}]
    assert "secret" not in json.dumps(shown)


def test_extras_count_where_they_are_asked_for(tmp_path: Path) -> None:
    """
    An extra counts where a requirement names it; of mvtrace's own, which nobody writes down, those
    that are there as a whole.
    """
    own = distribution(
        tmp_path, "mvtrace",
        *("Provides-Extra: a", "Requires-Dist: one; extra == 'a'"),
        *("Provides-Extra: b", "Requires-Dist: one; extra == 'b'"),
        *("Requires-Dist: two; extra == 'b'", "Requires-Dist: never; sys_platform == 'none'"),
        *("Requires-Dist: mvtrace[a]; extra == 'b'", "Requires-Dist: three[x]"),
    )  # fmt: skip
    one = distribution(tmp_path, "one")
    three = distribution(
        tmp_path,
        "three",
        "Requires-Dist: one; extra == 'x'",
        "Requires-Dist: mvtrace; extra == 'y'",
    )

    document = bill([own, one, three], made=MOMENT)

    graph = {node["ref"]: node["dependsOn"] for node in document["dependencies"]}
    assert graph == {"mvtrace": ["one", "three"], "one": [], "three": ["one"]}
