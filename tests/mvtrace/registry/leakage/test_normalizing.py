"""The normalized form: what counts as the same text, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvtrace.registry.leakage.normalizing import normalized, tokens


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("What is 2 + 2?", "what is 2 + 2"),
        ("What is 2+2 ?", "what is 2 + 2"),
        ("  Spaces\t and\r\n lines ", "spaces and lines"),
        ("“Quoted” — and… dashed", "quoted and dashed"),
        ("Straße", "strasse"),
        ("\ufb01ne \uff26\uff35\uff2c\uff2c \u2460", "fine full 1"),
        ("cafe\u0301", "caf\u00e9"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("in\u00advisible\u200b joi\u200dner", "invisible joiner"),
        ("हिन्दी में", "हिन्दी में"),
        ("10€ <b>", "10 € < b >"),
        ("", ""),
        ("?!…", ""),
        ("\ud800 alone", "alone"),
    ],
)
def test_form(text: str, form: str) -> None:
    """
    Case, width, composition, punctuation and space are gone; letters, marks and symbols stay.
    """
    assert normalized(text) == form


@given(st.text())
def test_form_of_a_form(text: str) -> None:
    """
    The form of a form is the form itself.
    """
    once = normalized(text)

    assert normalized(once) == once


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_takes_no_other_way(text: str) -> None:
    """
    ASCII has the same form beside a text that is none as alone.
    """
    together = normalized(f"{text} é")

    assert together == f"{normalized(text)} é".strip()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("one two", ["one", "two"]),
        ("東京 tower 2", ["東", "京", "tower", "2"]),
        ("สวัส ok", ["ส", "ว", "ั", "ส", "ok"]),
        ("", []),
    ],
)
def test_tokens(form: str, words: list[str]) -> None:
    """
    Words are tokens; of scripts without spaces each character is one.
    """
    assert tokens(form) == words
