"""Behaviour written as code or facts: code(), postprocess(), guardrail() and custom()."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mvtrace.components.component import Component, Draft
from mvtrace.components.provenance.sources import of_code
from mvtrace.components.source import HINT, file_of, source_of

Target = Callable[..., Any] | type | ModuleType | str | os.PathLike[str]
"""What has behaviour: a function, class or module (by source), or a path (by content)."""


def code(
    name: str,
    target: Target,
    /,
    *,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin code: a function, class or module by its source, a file or folder by its content.

    A source does not say what values a closure holds or how an object was configured: give those
    as *settings*.

    Raises:
        ComponentError: *target* has no source (a lambda, a builtin), or its path cannot be read.

    """
    draft = Draft("code", name, label, digest)
    place = target if isinstance(target, (str, os.PathLike)) else file_of(target)
    if place is not None:
        draft.provenance.extend(of_code(Path(place)))
    return _behaviour(draft, target, settings)


def postprocess(
    name: str,
    target: Target | None = None,
    /,
    *,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin what is done to an answer: by the code of *target*, by *settings*, or both.

    Raises:
        ComponentError: as code(), or there is nothing to pin.

    """
    return _behaviour(Draft("postprocess", name, label, digest), target, settings)


def guardrail(
    name: str,
    target: Target | None = None,
    /,
    *,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin what may refuse or change a request or an answer, as postprocess() does.

    Raises:
        ComponentError: as code(), or there is nothing to pin.

    """
    return _behaviour(Draft("guardrail", name, label, digest), target, settings)


def custom(
    name: str,
    /,
    *,
    path: str | os.PathLike[str] | None = None,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin anything else that affects behaviour: the files at *path*, *settings*, or both.

    Raises:
        ComponentError: there is nothing to pin, or *path* cannot be read.

    """
    return _behaviour(Draft("custom", name, label, digest), path, settings)


def _behaviour(draft: Draft, target: Target | None, settings: dict[str, object]) -> Component:
    if target is None and not settings:
        raise draft.error(
            "there is nothing to pin.",
            hint="Give what it does (a function or a path), or the settings that it has.",
        )
    if isinstance(target, (str, os.PathLike)):
        draft.add_artifact(target)
    elif target is not None:
        try:
            draft.add_text("source", source_of(target))
        except ValueError as error:
            raise draft.error(str(error), hint=HINT) from error
    draft.add_settings(settings)
    return draft.pin()
