"""What answers: the code that mvtrace.toml pins."""

from __future__ import annotations

import mvtrace


def is_long(question: str, max_words: int) -> bool:
    """Whether a question is one for a person."""
    return len(question.split()) > max_words


def answer(system: mvtrace.CompositeVersion, question: str) -> str:
    """Return the answer to *question*; the model is a stand-in here."""
    prompt = system.component("prompt", "answer")
    router = system.component("router", "length")
    if prompt is None or router is None:
        raise LookupError("the lock pins no prompt or no router")
    with mvtrace.routing("length", router=router, features={"question": len(question)}) as call:
        to_person = is_long(question, router.facts["policy"]["max_words"])
        call.choose("person" if to_person else "answer")
    if to_person:
        return "A colleague will answer you."
    with mvtrace.generation(
        "answer", model="gpt-4o-mini", provider="openai", prompt=prompt
    ) as call:
        call.rendered(prompt.render(question=question))
        text = "It depends."
        call.response(model="gpt-4o-mini-2024-07-18", finish_reason="stop", text=text)
    return text
