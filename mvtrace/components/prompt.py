"""Text that a model is given: prompt() templates and tools() definitions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mvtrace.components.component import Component, Draft
from mvtrace.digest import canonical_bytes
from mvtrace.errors import CanonicalFormError


def prompt(
    name: str,
    template: str | os.PathLike[str],
    /,
    *,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin a prompt *template*: its text, or a path object (not text) of the UTF-8 file with it.

    ``Component.render(**values)`` fills it by ``str.format`` rules; a template of another language
    is pinned just the same and rendered by its own engine.

    Raises:
        ComponentError: the template is no text, or its file cannot be read.

    """
    draft = Draft("prompt", name, label, digest)
    text = _template_text(draft, template)
    draft.add_text("template", text)
    draft.add_settings(settings)
    return draft.pin(source=text)


def tools(
    name: str,
    definitions: Iterable[Mapping[str, Any]],
    /,
    *,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin tool *definitions*: the dicts a model is offered, every field and their order.

    Raises:
        ComponentError: a definition is no dict, or holds what JSON cannot.

    """
    draft = Draft("tools", name, label, digest)
    listed = list(definitions)
    for position, definition in enumerate(listed):
        if not isinstance(definition, Mapping):
            raise draft.error(
                f"definition {position} is a {type(definition).__name__}, not a dict.",
                hint="Pin a tool's implementation with mvtrace.code(); "
                "here goes what the model is told about it.",
            )
    try:
        text = canonical_bytes(listed).decode()
    except CanonicalFormError as error:
        raise draft.error(
            f"in its definitions, {error.message[:1].lower()}{error.message[1:]}", hint=error.hint
        ) from error
    draft.add(names=[_tool_name(definition) for definition in listed])
    draft.add_text("definitions", text)
    draft.add_settings(settings)
    return draft.pin()


def _template_text(draft: Draft, template: object) -> str:
    if isinstance(template, str):
        return template
    if not isinstance(template, os.PathLike):
        raise draft.error(
            f"its template is a {type(template).__name__}, not text.",
            hint="Give the template's text, or pathlib.Path(…) of the file that holds it.",
        )
    try:
        return Path(template).read_bytes().decode()
    except OSError as error:
        raise draft.error(
            f"its template {str(template)!r} cannot be read: {error.strerror or error}.",
            hint="Check the path, or give the template's text.",
        ) from error
    except UnicodeDecodeError as error:
        raise draft.error(
            f"its template {str(template)!r} is not UTF-8 at byte {error.start}."
        ) from error


def _tool_name(definition: Mapping[str, Any]) -> str | None:
    """Return the name in one of the two common forms: ``name`` or ``function.name``."""
    function = definition.get("function")
    inner = function.get("name") if isinstance(function, Mapping) else None
    name = definition.get("name", inner)
    return name if isinstance(name, str) else None
