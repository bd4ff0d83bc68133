"""``embedding``: what was asked for, and the shape of what came of it."""

from __future__ import annotations

from captured import Captured

import mvtrace


def test_shape_of_what_was_made(captured: Captured) -> None:
    """
    How many vectors of which dimension there were is on the record and on the span; no text is.
    """
    with mvtrace.request(route="/index"), mvtrace.embedding("texts", model="e") as call:
        call.input(["a secret", "another"])
        call.parameters = {"dimensions": 8}
        call.made(2, 8)
        call.response(model="e-1", input_tokens=4)

    [made] = captured.record.calls
    assert (made.kind, made.model_requested, made.model_served) == ("embedding", "e", "e-1")
    assert (made.vectors, made.dimension) == (2, 8)
    assert made.sampling == {"dimensions": 8}
    assert captured.span("embeddings e").attributes["gen_ai.embeddings.dimension.count"] == 8
    assert b"secret" not in captured.record.to_bytes()


def test_shape_that_nobody_told(captured: Captured) -> None:
    """
    What was not told is absent; nothing that is no number is taken for one.
    """
    with mvtrace.request(route="/index"), mvtrace.embedding("texts", model="e") as call:
        call.made(None, None)

    [made] = captured.record.calls
    assert (made.vectors, made.dimension, made.sampling) == (None, None, None)
