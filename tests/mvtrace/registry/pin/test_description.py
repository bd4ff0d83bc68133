"""What a description may say, and what each refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.registry.errors import SystemFileError
from mvtrace.registry.pin.description import (
    MAX_BYTES,
    Description,
    EdgeLine,
    description_of,
    read_description,
)

WHOLE = """
name = "support-bot"

[model.answer]
provider = "openai"
model_id = "gpt-4.1"

[prompt.answer]
path = "prompts/answer.txt"
label = "v7"

[sampling.default]
temperature = 0.7
stop = ["\\n"]

[router.route]
policy = { threshold = 0.35 }
candidates = ["prompt/answer", "elsewhere"]

[[edges]]
from = "router/route"
to = "model/answer"
role = "fallback"
"""


def described(text: str) -> Description:
    return description_of(text.encode(), Path("mvtrace.toml"))


def test_tables_become_parts() -> None:
    """
    Each table [kind.name] is one part with what it says; edges are lines of their own.
    """
    found = described(WHOLE)

    assert found.name == "support-bot"
    assert {part.slot: dict(part.said) for part in found.parts} == {
        "model/answer": {"provider": "openai", "model_id": "gpt-4.1"},
        "prompt/answer": {"path": "prompts/answer.txt", "label": "v7"},
        "sampling/default": {"parameters": {"temperature": 0.7, "stop": ["\n"]}},
        "router/route": {
            "policy": {"threshold": 0.35},
            "candidates": ["prompt/answer", "elsewhere"],
        },
    }
    assert found.edges == (EdgeLine("router/route", "model/answer", "fallback"),)


PROMPT = 'name = "x"\n[prompt.a]\n'
REFUSED = {
    "no name": ("[prompt.a]\ntext = 'x'", ("mvtrace.toml, name: it is missing; "
                'name = "…" names the system.')),
    "no part": ("name = 'x'", "mvtrace.toml: it describes no component."),
    "no toml": ("name = ", ("mvtrace.toml: it is no TOML: Invalid value "
                "(at end of document).")),
    "kind": ("name = 'x'\n[modl.a]\npath = 'x'",
             "mvtrace.toml, modl: there is no such kind of component."),
    "no table": ("name = 'x'\nprompt = 3", "mvtrace.toml, prompt: it is no table."),
    "no inner table": ("name = 'x'\nprompt.a = 3",
                       "mvtrace.toml, [prompt], a: it is no table."),
    "key": (PROMPT + "txt = 'x'", ("mvtrace.toml, [prompt.a], txt: a prompt has no such key; "
            "it has digest, label, object, path, settings, text, uri.")),
    "type": (PROMPT + "text = 3", "mvtrace.toml, [prompt.a], text: it is 3; it is text."),
    "flag": (PROMPT + "text = true", "mvtrace.toml, [prompt.a], text: it is True; it is text."),
    "list": ("name = 'x'\n[router.a]\npolicy = 1\ncandidates = [1]",
             "mvtrace.toml, [router.a], candidates: it is [1]; it is an array of text."),
    "empty": (PROMPT + "path = ''",
              "mvtrace.toml, [prompt.a], path: it is one line of printable characters."),
    "nothing": (PROMPT + "label = 'v1'", ("mvtrace.toml, [prompt.a]: nothing says what it is; "
                "it has path, text, uri or object.")),
    "two": (PROMPT + "path = 'x'\ntext = 'x'",
            "mvtrace.toml, [prompt.a], text: path and text both say what it is."),
    "object": (PROMPT + "object = 'a b:c'", ("mvtrace.toml, [prompt.a], object: it is 'a b:c'; "
               "it is module or module:attribute.")),
    "object twice": ("name = 'x'\n[model.a]\nobject = 'a:b'\nprovider = 'p'",
                     "mvtrace.toml, [model.a], provider: beside object it says the same twice."),
    "uri": (PROMPT + "uri = 'models/x'", ("mvtrace.toml, [prompt.a], uri: it is 'models/x'; "
            "a URI begins with a scheme, such as s3://BUCKET/KEY.")),
    "password": (PROMPT + "uri = 'https://me:secret@host/x'",
                 ("mvtrace.toml, [prompt.a], uri: it holds a user or a password, "
                 "which would be registered for ever.")),
    "password of hf": (PROMPT + "uri = 'hf://token@owner/name'",
                       ("mvtrace.toml, [prompt.a], uri: it holds a user or a password, "
                       "which would be registered for ever.")),
    "password within": (PROMPT + "uri = 'simplecache::https://me:secret@host/x'",
                        ("mvtrace.toml, [prompt.a], uri: it holds a user or a password, "
                        "which would be registered for ever.")),
    "query": (PROMPT + "uri = 'https://host/x?X-Amz-Signature=secret'", ("mvtrace.toml, [prompt.a], "
              "uri: it has a query (?) or a fragment (#), and tokens in these would be registered "
              "for ever.")),
    "fragment": (PROMPT + "uri = 'https://host/x#token=secret'", ("mvtrace.toml, [prompt.a], "
                 "uri: it has a query (?) or a fragment (#), and tokens in these would be "
                 "registered for ever.")),
    "edge": (PROMPT + "text = 'x'\n[[edges]]\nfrom = 'a/b'",
             "mvtrace.toml, [edges 1], to: it is missing; both ends are needed."),
    "edge key": (PROMPT + "text = 'x'\n[[edges]]\nfrom = 'a/b'\nto = 'a/b'\nwhy = 'x'",
                 "mvtrace.toml, [edges 1], why: an edge has from, to and role."),
    "edges": ("name = 'x'\nedges = 3\n[prompt.a]\ntext = 'x'",
              "mvtrace.toml, edges: it is no array of tables."),
    "deep": (PROMPT + f"text = 'x'\nsettings = {{ a = {'[' * 40}{']' * 40} }}",
             "mvtrace.toml: it nests deeper than 32 levels."),
    "far too deep": (PROMPT + f"text = 'x'\nsettings = {{ a = {'[' * 9_000}{']' * 9_000} }}",
                     "mvtrace.toml: it is no TOML: it nests too deep."),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=list(REFUSED))
def test_refusal_names_file_table_and_key(text: str, message: str) -> None:
    """
    What cannot be is refused with the file, the table, the key, and what does hold.
    """
    with pytest.raises(SystemFileError) as refused:
        described(text)

    assert refused.value.message == message


@pytest.mark.parametrize("uri", ["s3://key:topsecret@bucket/x", "https://host/x?token=topsecret"])
def test_password_is_not_repeated(uri: str) -> None:
    """
    A secret in a URI is not shown again by the refusal.
    """
    with pytest.raises(SystemFileError) as refused:
        described(PROMPT + f"uri = '{uri}'")

    assert "topsecret" not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize("uri", ["hf://owner/name@v1.0", "s3://bucket/mail@home/x", "file:///a@b"])
def test_a_revision_is_no_password(uri: str) -> None:
    """
    An @ behind the authority of a URI says nothing of users.
    """
    [part] = described(PROMPT + f"uri = '{uri}'").parts

    assert part.said["uri"] == uri


def test_long_and_broken_files_are_refused(tmp_path: Path) -> None:
    """
    A file that is too long, no UTF-8 or not there is refused by its name alone.
    """
    path = tmp_path / "mvtrace.toml"
    messages = []
    for raw in (b"#" * (MAX_BYTES + 1), b"name = '\xff'"):
        path.write_bytes(raw)
        with pytest.raises(SystemFileError) as refused:
            read_description(path)
        messages.append(refused.value.message)
    with pytest.raises(SystemFileError) as refused:
        read_description(tmp_path / "other.toml")

    assert messages == [
        "mvtrace.toml: it is longer than 1,048,576 bytes.",
        "mvtrace.toml: it is not UTF-8 at byte 8.",
    ]
    assert refused.value.message == "other.toml: it cannot be read: No such file or directory."


@given(st.text())
def test_any_text_is_described_or_refused(text: str) -> None:
    """
    Whatever stands in the file, it is a description or a refusal with its name.
    """
    try:
        told = described(text.encode("utf-8", "replace").decode()).path.name
    except SystemFileError as error:
        told = error.message

    assert told.startswith("mvtrace.toml")
