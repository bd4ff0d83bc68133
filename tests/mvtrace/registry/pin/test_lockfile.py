"""The lock as a file: one text for one version, nothing of the machine, and hostile ones refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mvtrace
from mvtrace.components import CompositeVersion
from mvtrace.digest import MAX_SAFE_INTEGER
from mvtrace.registry.errors import LockError
from mvtrace.registry.pin.lockfile import (
    Lock,
    lock_text,
    parse_lock,
    read_lock,
    write_lock,
)
from mvtrace.registry.refs import Ref

PARENT = Ref("composite", "a" * 64)
EXPERIMENT = Ref("experiment", "b" * 64)


def system(**settings: object) -> CompositeVersion:
    part = mvtrace.prompt("answer", "Say {x}", label="v7", **settings)
    return mvtrace.composite("bot", part, mvtrace.router("route", policy=1, candidates=[part]))


def bare(lock: Lock) -> Lock:
    """The lock as it is read: without what lies beside digests, such as texts and live objects."""
    return parse_lock(lock_text(lock).encode())


def test_text_is_the_version_and_nothing_else(tmp_path: Path) -> None:
    """
    The whole text of a lock: sorted, indented, no path, no time.
    """
    (tmp_path / "w.bin").write_bytes(b"weights")
    made = mvtrace.composite(
        "bot",
        mvtrace.model("answer", path=tmp_path / "w.bin", provider="own", label="v1"),
        mvtrace.sampling("default", temperature=0.7),
        edges=[("model/answer", "sampling/default")],
    )
    artifact = made.components[0].facts["artifact"]
    listing = artifact["listing"]["content"]

    assert (
        lock_text(Lock(made, (PARENT,), EXPERIMENT))
        == f"""\
{{
  "components": {{
    "model/answer": {{
      "digest": "{made.components[0].digest}",
      "facts": {{
        "artifact": {{
          "bytes": 7,
          "digest": "{artifact["digest"]}",
          "files": 1,
          "listing": {{
            "content": {{
              "bytes": {listing["bytes"]},
              "digest": "{listing["digest"]}"
            }}
          }}
        }},
        "provider": "own"
      }},
      "label": "v1"
    }},
    "sampling/default": {{
      "digest": "{made.components[1].digest}",
      "facts": {{
        "parameters": {{
          "temperature": 0.7
        }}
      }}
    }}
  }},
  "edges": [
    {{
      "from": "model/answer",
      "role": "uses",
      "to": "sampling/default"
    }}
  ],
  "experiment": "experiment:{"b" * 64}",
  "format": 1,
  "name": "bot",
  "parents": [
    "composite:{"a" * 64}"
  ],
  "version": "{made.version}"
}}
"""
    )


def test_a_lock_comes_back_as_it_was(tmp_path: Path) -> None:
    """
    Read again it is the same version, parents and experiment; writing the same changes no file.
    """
    lock = Lock(system(), (PARENT,), EXPERIMENT)
    path = tmp_path / "mvtrace.lock"

    assert write_lock(lock, path)
    before = path.stat()
    assert not write_lock(lock, path)
    found = read_lock(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert (found.version, found.parents, found.experiment) == (
        lock.version,
        lock.parents,
        lock.experiment,
    )
    assert found.composite.manifest == lock.composite.manifest
    assert found.composite.labels == {"prompt/answer": "v7"}
    assert lock_text(found) == lock_text(lock)
    assert list(tmp_path.iterdir()) == [path]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_any_facts_survive(value: object) -> None:
    """
    Whatever facts a component has, its lock is read back to the same digest and the same text.
    """
    made = mvtrace.composite("bot", mvtrace.custom("a", value=value))
    text = lock_text(Lock(made))

    assert parse_lock(text.encode()).version == made.version
    assert lock_text(parse_lock(text.encode())) == text
    assert all(line.isprintable() for line in text.split("\n"))


def changed(**said: object) -> bytes:
    whole = json.loads(lock_text(Lock(system())))
    return json.dumps({**whole, **said}).encode()


def _facts_edited() -> bytes:
    return lock_text(Lock(system())).replace('"policy": 1', '"policy": 2').encode()


DIGEST = system().component("router", "route")
BIG = MAX_SAFE_INTEGER + 1
REFUSED = {
    "no json": (b"{", ("it is no lock: Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1).")),
    "conflict": (b"<<<<<<< ours\n", "it is no lock: Expecting value: line 1 column 1 (char 0)."),
    "no object": (b"[]", "it is no lock: it is no JSON object."),
    "no utf-8": (b"\xff", ("it is no lock: 'utf-8' codec can't decode byte 0xff in position 0: "
                 "invalid start byte.")),
    "format": (changed(format=2), "it is no lock: its format is 2, known is 1."),
    "key": (changed(more=1), "it is no lock: it has a key 'more' that nobody knows."),
    "twice": (b'{"format": 1, "format": 1}', "it is no lock: the key 'format' is there twice."),
    "nan": (b'{"format": NaN}', "it is no lock: NaN is no number."),
    "deep": (b'{"format": ' + b"[" * 100_000, "it nests too deep."),
    "nothing": (changed(components={}), "Composite 'bot': it has no components."),
    "no components": (changed(components=[]), "it is no lock: its components are no object."),
    "no facts": (changed(components={"prompt/a": {"digest": "x"}}),
                 "it is no lock: 'prompt/a' has no facts."),
    "edges": (changed(edges={}), "it is no lock: its edges are no array."),
    "edge": (changed(edges=[{"from": "a"}]), "it is no lock: an edge has from, to and role."),
    "to nowhere": (changed(edges=[{"from": "../../x", "to": "/etc/passwd", "role": "uses"}]),
                   "Composite 'bot': its edge names '../../x', a slot that no component takes."),
    "version": (changed(version="0" * 64), (f"it is no lock: its version is {'0' * 64!r}, "
                f"but what it lists makes {system().version}.")),
    "parent": (changed(parents=["../x"]), ("it is no lock: '../x' is no ref: a kind is one of "
               "artifact, certificate, component, composite, dataset, derivation, experiment, "
               "request, results, scorer, suite, transformation.")),
    "no ref": (changed(parents=[1]), "it is no lock: 1 is no text."),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "problem"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_lock_is_refused(raw: bytes, problem: str) -> None:
    """
    A file that is no lock, or not what its digests say, is refused with the reason.
    """
    with pytest.raises(LockError) as refused:
        parse_lock(raw)

    assert refused.value.message == f"mvtrace.lock: {problem}"
    assert refused.value.hint == (
        "'mvtrace pin' writes it anew; a conflict of a merge in it is settled the same way."
    )


def test_edited_facts_are_refused() -> None:
    """
    Facts that were edited by hand no longer have their digest, so the lock is refused.
    """
    with pytest.raises(LockError) as refused:
        parse_lock(_facts_edited())

    assert refused.value.message.startswith(
        f"mvtrace.lock: Component router 'route': its digest is {DIGEST.digest if DIGEST else ''}, "
        "but its body has sha256:"
    )


def test_a_missing_lock_says_how_to_make_it(tmp_path: Path) -> None:
    """
    Where there is no lock, the refusal names the command that writes one.
    """
    with pytest.raises(LockError) as refused:
        read_lock(tmp_path / "mvtrace.lock")

    assert refused.value.message == "mvtrace.lock: it cannot be read: No such file or directory."
    assert refused.value.hint == "'mvtrace pin' writes it, from mvtrace.toml."


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda one: one.encode("utf-8", "replace"))
)
def test_any_bytes_are_a_lock_or_refused(raw: bytes) -> None:
    """
    Nothing but a LockError comes of bytes that are no lock.
    """
    with pytest.raises(LockError):
        parse_lock(raw)


@given(st.data())
def test_a_lock_with_one_value_replaced_is_the_same_or_refused(data: st.DataObject) -> None:
    """
    Any value of a lock replaced by any other makes a lock of another version, or none.
    """
    said = json.loads(lock_text(Lock(system())))
    place = said
    while isinstance(place, dict) and place:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            place[key] = data.draw(VALUES)
            break
        place = place[key]
    try:
        found = parse_lock(json.dumps(said).encode())
    except LockError:
        return
    assert found.composite.version == found.version == said["version"]
