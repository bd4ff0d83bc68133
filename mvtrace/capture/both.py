"""``postprocess`` and ``guardrail``: each is the name of a component and of the call that uses it.

In: a name with something to pin (code, settings, a digest) or without. Out: the Component of what
is pinned, or else the call to put around its use. A component without content cannot be, and a call
has none, so the two never look alike.
"""

from __future__ import annotations

from typing import Any, overload

from mvtrace import components
from mvtrace.capture.declared import Pinned
from mvtrace.capture.step_calls import GuardrailCall, PostprocessCall
from mvtrace.components import Component
from mvtrace.components.code import Target
from mvtrace.errors import ComponentError


@overload
def postprocess(name: str, /, *, component: Pinned | None = None) -> PostprocessCall: ...


@overload
def postprocess(name: str, target: Target, /, **facts: object) -> Component: ...


@overload
def postprocess(name: str, /, **facts: object) -> Component: ...


def postprocess(
    name: str,
    target: Target | None = None,
    /,
    *,
    component: Any = None,
    **facts: Any,
) -> PostprocessCall | Component:
    """Pin a step that changes the answer, or return the call of one.

    ``postprocess("tidy", tidy)`` is a component: by the code of *target*, by settings, or both;
    ``postprocess("tidy", component=…)`` is its call, for ``with`` or as a decorator.

    Raises:
        ComponentError: the component cannot be pinned.

    """
    if target is None and not facts:
        return PostprocessCall(name, component)
    _refuse_component("postprocess", name, component)
    return components.postprocess(name, target, **facts)


@overload
def guardrail(name: str, /, *, component: Pinned | None = None) -> GuardrailCall: ...


@overload
def guardrail(name: str, target: Target, /, **facts: object) -> Component: ...


@overload
def guardrail(name: str, /, **facts: object) -> Component: ...


def guardrail(
    name: str,
    target: Target | None = None,
    /,
    *,
    component: Any = None,
    **facts: Any,
) -> GuardrailCall | Component:
    """Pin a check that may stop or change an answer, or return the call of one.

    ``guardrail("pii", check)`` is a component, ``guardrail("pii", component=…)`` its call, as with
    ``postprocess``.

    Raises:
        ComponentError: the component cannot be pinned.

    """
    if target is None and not facts:
        return GuardrailCall(name, component)
    _refuse_component("guardrail", name, component)
    return components.guardrail(name, target, **facts)


def _refuse_component(kind: str, name: str, component: object) -> None:
    if component is not None:
        raise ComponentError(
            kind,
            name,
            "component= belongs to its call, and a call pins nothing.",
            hint=f"Write {kind}({name!r}, component=…) for the call and "
            f"{kind}({name!r}, function) for the component.",
        )
