"""Prompt templates and tool definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mvtrace
from mvtrace.components.content import PIECE_BYTES
from mvtrace.digest import CONTENT_DOMAIN, digest_of
from mvtrace.errors import ComponentError

TOOL = {
    "type": "function",
    "function": {"name": "search", "description": "Find", "parameters": {"type": "object"}},
}


def test_template_is_content() -> None:
    """
    The template is kept as content, and the component refers to it by digest.
    """
    prompt = mvtrace.prompt("answer", "Answer: {question}")

    (piece,) = prompt.contents
    assert piece.text == "Answer: {question}"
    assert piece.digest == digest_of(CONTENT_DOMAIN, b"Answer: {question}")
    assert prompt.facts == {"template": {"content": {"digest": piece.digest, "bytes": 18}}}


def test_one_character_of_a_prompt() -> None:
    """
    One changed character is another digest, also one that looks the same.
    """
    digests = {
        mvtrace.prompt("answer", text).digest
        for text in ("Answer: caf\u00e9", "Answer: cafe\u0301", "Answer:  caf\u00e9")
    }

    assert len(digests) == 3


def test_template_from_a_file(tmp_path: Path) -> None:
    """
    A path object is read, byte for byte.
    """
    file = tmp_path / "answer.txt"
    file.write_bytes("Grüße {name}\r\n".encode())

    prompt = mvtrace.prompt("answer", file)

    assert prompt.digest == mvtrace.prompt("answer", "Grüße {name}\r\n").digest
    assert prompt.render(name="Ada") == "Grüße Ada\r\n"


def test_long_template_goes_in_pieces() -> None:
    """
    A template larger than a piece has several, none of which cuts a character.
    """
    text = "€" * PIECE_BYTES

    prompt = mvtrace.prompt("answer", text)

    content = prompt.facts["template"]["content"]
    # Equal pieces are registered once.
    assert list(dict.fromkeys(content["pieces"])) == [piece.digest for piece in prompt.contents]
    assert content["digest"] == digest_of(CONTENT_DOMAIN, text.encode())
    assert max(len(piece.text.encode()) for piece in prompt.contents) <= PIECE_BYTES


def test_content_that_is_too_large() -> None:
    """
    Content over 16 MiB is refused.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.prompt("answer", "x" * (16 * 2**20 + 1))

    assert str(caught.value) == (
        "Component prompt 'answer': its text has 16,777,217 bytes; content has at most 16,777,216."
    )
    assert caught.value.hint == "Put bytes, and large data, into a file and pin its path."


def test_template_without_utf8_form() -> None:
    """
    A lone surrogate is refused.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.prompt("answer", "ab\ud800")

    assert str(caught.value) == (
        "Component prompt 'answer': "
        "its text holds a lone surrogate at position 2, so it has no UTF-8 form."
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (["a", "list"], "Component prompt 'answer': its template is a list, not text."),
        (
            Path("/nowhere/at-all"),
            (
                "Component prompt 'answer': its template '/nowhere/at-all' cannot be read: "
                "No such file or directory."
            ),
        ),
    ],
)
def test_template_that_is_none(template: Any, message: str) -> None:
    """
    A template is text or a readable file.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.prompt("answer", template)

    assert str(caught.value) == message


def test_template_file_that_is_not_utf8(tmp_path: Path) -> None:
    """
    A file in another encoding is refused, not guessed at.
    """
    file = tmp_path / "answer.txt"
    file.write_bytes(b"Gr\xfc\xdfe")

    with pytest.raises(ComponentError) as caught:
        mvtrace.prompt("answer", file)

    assert str(caught.value) == (
        f"Component prompt 'answer': its template {str(file)!r} is not UTF-8 at byte 2."
    )


def test_render_fills_every_placeholder() -> None:
    """
    Placeholders are filled by str.format rules; values nobody asks for do no harm.
    """
    prompt = mvtrace.prompt("answer", "{{json}} {a:>{width}} {b[0]} {c.real}")

    assert prompt.render(a="x", width=3, b=[1], c=2, unused=0) == "{json}   x 1 2"


def test_render_leaves_nothing_unfilled() -> None:
    """
    Every missing value is named, those in format specifications too.
    """
    prompt = mvtrace.prompt("answer", "{question} {context:{width}}")

    with pytest.raises(ComponentError) as caught:
        prompt.render(question="why")

    assert str(caught.value) == (
        "Component prompt 'answer': its template has no value for context, width; given: question."
    )
    assert caught.value.hint == (
        "Pass context=… to render(), or write {{ }} where a brace is text."
    )


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("a { b", "expected '}' before end of string"),
        ("a } b", "Single '}' encountered in format string"),
        ("a {} b", "the field {} has no name"),
        ("a {0} b", "the field {0} has no name"),
        ("a {x[9]} b", "list index out of range"),
        ("a {x.y} b", "'list' object has no attribute 'y'"),
    ],
)
def test_template_that_cannot_be_filled(template: str, problem: str) -> None:
    """
    Braces that do not match, and fields without a name, are an error with a hint.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.prompt("answer", template).render(x=[1])

    assert str(caught.value) == (
        f"Component prompt 'answer': its template cannot be filled: {problem}."
    )
    assert caught.value.hint == "Write a brace that is meant as text twice: {{ or }}."


def test_only_prompts_render() -> None:
    """
    Another component has no template.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.model("llm", model_id="m").render()

    assert str(caught.value) == "Component model 'llm': it has no template to render."
    assert caught.value.hint == "Only a component made by mvtrace.prompt() renders."


def test_tools_pin_every_field() -> None:
    """
    One changed field of one tool is another digest; the order of its fields is not.
    """
    tools = mvtrace.tools("all", [TOOL])
    changed = {"type": "function", "function": {**TOOL["function"], "description": "Find!"}}  # type: ignore[dict-item]
    reordered = dict(reversed(TOOL.items()))

    assert tools.facts["names"] == ["search"]
    assert mvtrace.tools("all", [changed]).digest != tools.digest
    assert mvtrace.tools("all", [TOOL, TOOL]).digest != tools.digest
    assert mvtrace.tools("all", [reordered]).digest == tools.digest


def test_tool_that_is_no_dict() -> None:
    """
    A tool's function is no definition of it.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.tools("all", [TOOL, print])  # type: ignore[list-item]

    assert str(caught.value) == (
        "Component tools 'all': definition 1 is a builtin_function_or_method, not a dict."
    )
    assert caught.value.hint == (
        "Pin a tool's implementation with mvtrace.code(); "
        "here goes what the model is told about it."
    )


def test_tool_that_json_cannot_hold() -> None:
    """
    A definition with a value outside JSON is refused, with its place.
    """
    with pytest.raises(ComponentError) as caught:
        mvtrace.tools("all", [{"name": "search", "type": str}])

    assert str(caught.value) == (
        "Component tools 'all': in its definitions, value at $[0].type has no canonical form: "
        "type is not a JSON type."
    )
