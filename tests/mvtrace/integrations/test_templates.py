"""Which template a prompt was rendered from: by what was seen, and by nothing else."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from captured import Captured

import mvtrace
from mvtrace.capture.openai_protocol import CHAT, Asked
from mvtrace.integrations import templates
from mvtrace.integrations.inference import Inference
from mvtrace.integrations.templates import KnownTemplates, met, rendered, template_of
from mvtrace.records import Call

SHORT = template_of("short", "{q}", "registry", 1)
LONG = template_of("long", "Answer in one sentence, please, and be kind: {q}", "registry", 2)
SENT = "Answer in one sentence, please, and be kind: why"


def asked(content: object) -> None:
    """Ask a model for an answer to *content*."""
    Inference(Asked(CHAT, "m", content=content), "p").end()


def template_behind(call: Call) -> str | None:
    return None if call.prompt is None else call.prompt.name


@pytest.mark.parametrize(
    ("result", "content", "expected"),
    [
        (SENT, SENT, "long"),
        (SENT, [{"role": "user", "content": SENT}], "long"),
        (SENT, [{"role": "user", "content": f"First. {SENT}? Then."}], "long"),
        (SENT, [{"role": "user", "content": [{"type": "text", "text": SENT}]}], "long"),
        (SENT, {"system": SENT, "messages": [{"role": "user", "content": "Hi"}]}, "long"),
        (SENT, {"system": [{"type": "text", "text": SENT}], "messages": []}, "long"),
        ([{"role": "system", "content": SENT}], [{"role": "developer", "content": SENT}], "long"),
        ([{"content": SENT}, {"content": "b"}], [{"content": SENT}, {"content": "b"}], "long"),
        ([{"content": SENT}, {"content": "b"}], [{"content": SENT}, {"content": "c"}], None),
        ("why", [{"role": "user", "content": "why"}], "long"),
        ("why", [{"role": "user", "content": "whyever"}], None),
        (SENT, SENT.upper(), None),
        ("", "anything", None),
        (SENT, None, None),
        (SENT, 5, None),
    ],
)
def test_what_holds_a_rendering_was_rendered(
    captured: Captured, result: object, content: object, expected: str | None
) -> None:
    """
    A prompt was rendered from a template whose rendering it holds: a whole message, or a part of
    one that is long enough to be no chance.
    """
    with mvtrace.request(route="/ask"):
        rendered(LONG, result)
        asked(content)

    [call] = captured.record.calls
    assert template_behind(call) == expected


def test_the_latest_of_several(captured: Captured) -> None:
    """
    Of several that fit the latest counts; of another request's none does.
    """
    with mvtrace.request(route="/ask"):
        rendered(SHORT, SENT)
        rendered(LONG, SENT)
        asked(SENT)
    with mvtrace.request(route="/ask"):
        asked(SENT)

    first, second = captured.records
    assert [template_behind(call) for call in first.calls] == ["long"]
    assert [template_behind(call) for call in second.calls] == [None]
    assert (first.calls[0].prompt or object).version == "2"  # type: ignore[union-attr]


def test_what_the_application_says_counts(captured: Captured) -> None:
    """
    A prompt that the application names itself stays.
    """
    own = mvtrace.prompt("own", "{q}")
    with mvtrace.request(route="/ask"):
        rendered(LONG, SENT)
        with mvtrace.generation("answer", prompt=own):
            asked(SENT)

    [call] = captured.record.calls
    assert template_behind(call) == "own"


def test_a_request_holds_a_bounded_number(captured: Captured) -> None:
    """
    Of many renderings the latest are looked for, and of a huge one nothing is held.
    """
    with mvtrace.request(route="/ask"):
        rendered(SHORT, SENT)
        for number in range(templates.MAX_RENDERED):
            rendered(LONG, f"{number}")
        rendered(SHORT, "x" * (templates.MAX_TEXT + 1))
        asked(SENT)
        asked("x" * (templates.MAX_TEXT + 1))

    assert [template_behind(call) for call in captured.record.calls] == [None, None]


def test_outside_of_requests() -> None:
    """
    Outside of any request nothing is noted, and nothing fails.
    """
    met(LONG)
    rendered(LONG, SENT)

    assert templates.rendered_into(SENT) is None


def test_texts_that_are_no_text() -> None:
    """
    A template of messages is the canonical form of what they say: the same in any order of keys.
    """
    one = template_of("t", [{"role": "user", "content": "{q}"}], "registry", None)
    same = template_of("t", [{"content": "{q}", "role": "user"}], "registry", 3)

    assert one.component.digest == same.component.digest
    assert (one.version, same.version) == (None, "3")


def test_known_templates_are_forgotten() -> None:
    """
    What an object is known to be is known as long as the object lives; it need not be hashable.
    """

    class Holder:
        __hash__: Any = None

    known, holder = KnownTemplates(), Holder()
    known.add(holder, LONG)
    assert known.get(holder) is LONG
    assert known.get(Holder()) is None

    del holder
    gc.collect()
    assert known._known == {}
