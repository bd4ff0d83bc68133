"""Langfuse's prompt management: ``get_prompt`` of its client, ``compile`` of what that returns.

In: prompts as the client hands them out, from its cache too. Out: the text that was resolved, with
the prompts it is composed of, as a component in the slot of the prompt's name, and ``@label`` where
one was asked for. Left out: the low-level API, and the model settings that may lie beside a prompt,
which count where they are used.
"""

from __future__ import annotations

from typing import Any, Final

from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.prompt_registry import Registry, Told
from mvtrace.integrations.templates import Template, template_of

LIBRARY: Final = "langfuse"
FALLBACK: Final = "fallback"
"""The version of a text that the application gave for when the registry is down."""
_RENDERING: Final = ("compile", "get_langchain_prompt")


def install() -> tuple[Hook, ...]:
    """Wrap client and prompts."""
    import langfuse  # noqa: PLC0415 (only where it is installed)
    from langfuse.model import ChatPromptClient, TextPromptClient  # noqa: PLC0415

    prompts = (ChatPromptClient, TextPromptClient)
    return (
        Hook(langfuse.Langfuse, "get_prompt", begin_fetch),
        *(Hook(one, name, begin_rendering) for one in prompts for name in _RENDERING),
    )


def begin_fetch(_client: Any, name: str, *_: Any, **kwargs: Any) -> Told:
    """Return what notes the prompt *name*."""
    label = kwargs.get("label")
    return _registry.fetched(name if label is None else f"{name}@{label}")


def begin_rendering(holder: Any, *_: Any, **__: Any) -> Told:
    """Return what notes a rendering of the prompt *holder*."""
    return _registry.rendering(holder)


def _read(holder: Any, slot: str | None) -> Template:
    version = FALLBACK if holder.is_fallback else holder.version
    return template_of(slot or holder.name, holder.prompt, LIBRARY, version)


_registry: Final = Registry(_read)
