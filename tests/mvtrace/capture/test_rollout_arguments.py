"""What ``mvtrace.rollout`` refuses, where it is written."""

from __future__ import annotations

from typing import Any

import pytest
from rolled import CANARY, STABLE

import mvtrace
from mvtrace.errors import ConfigurationError

KEY = (
    "it is header:NAME, cookie:NAME, subject, request or a function that returns the key of an "
    "ASGI scope"
)
SYSTEM = "it is a composite, or the digits or name of a registered one"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": -0.1}, "share is -0.1; it is a number from 0 to 1."),
        ({"share": float("nan")}, "share is nan; it is a number from 0 to 1."),
        ({"canary": None}, "share is 0.5; it is between a stable and a canary system."),
        ({"share": None}, "name is 'r'; without a share the decision's id is the name."),
        ({"key": "user"}, f"key is 'user'; {KEY}."),
        ({"key": "header:"}, f"key is 'header:'; {KEY}."),
        ({"key": "cookie:a b"}, f"key is 'cookie:a b'; {KEY}."),
        ({"key": 7}, f"key is 7; {KEY}."),
        ({"unit": "a b"}, "unit is 'a b'; it is a word such as user or session."),
        ({"stable": 7}, f"stable is 7; {SYSTEM}."),
        ({"canary": "a\nb"}, f"canary is 'a\\nb'; {SYSTEM}."),
        ({"name": "a\x00"}, "name is 'a\\x00'; it is a line of at most 128 characters."),
        ({"name": "a" * 129}, "; it is a line of at most 128 characters."),
        ({"unkeyed": "canary"}, "unkeyed is 'canary'; it is stable or request."),
        ({"refresh_s": 0}, "refresh_s is 0; it is at least 0.05."),
    ],
)
def test_what_cannot_be_a_rollout(options: dict[str, Any], words: str) -> None:
    """
    A mistake is refused when the rollout is written, with the value and what it should be.
    """
    said: dict[str, Any] = {"stable": STABLE, "canary": CANARY, "share": 0.5, "name": "r"}

    with pytest.raises(ConfigurationError) as caught:
        mvtrace.rollout(**{"key": "request", **said, **options})

    assert str(caught.value).endswith(words)
