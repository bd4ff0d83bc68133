"""OpenFeature: every flag that was evaluated while a request ran.

In: the outcome of each evaluation, by OpenFeature's own hook. Out: an annotation of the request
named ``feature_flag.<key>`` (variant, reason, value, provider), and an event of the current span in
OpenTelemetry's words. Whom a flag was evaluated for is not told; a value that is an object or a
long text is told by its variant alone. A flag is in no version: it may differ with each caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import trace

from mvtrace.capture.api import annotate
from mvtrace.capture.guard import fail_open
from mvtrace.integrations.hooks import Installed
from mvtrace.semconv import ERROR_TYPE, FEATURE_FLAG, FEATURE_FLAG_EVENT

MAX_VALUE: Final = 256
"""Characters of a text that is told as a value."""

_installed: Final[list[Any]] = []
"""Our hook: OpenFeature has a way to add one, and none to take one away."""


class Observer:
    """What OpenFeature's hooks reach us by."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        hook.is_on = True

    def remove(self) -> None:
        """Let every further evaluation pass unseen."""
        self._hook.is_on = False


def install() -> tuple[Installed, ...]:
    """Add our hook to those of every client, where it is not among them."""
    from openfeature import api  # noqa: PLC0415 (only where it is installed)

    if not _installed:
        _installed.append(_hook())
    [hook] = _installed
    if hook not in api.get_hooks():
        api.add_hooks([hook])
    return (Observer(hook),)


def _hook() -> Any:
    from openfeature.hook import Hook  # noqa: PLC0415 (only where it is installed)

    class Evaluations(Hook):  # type: ignore[misc, unused-ignore]
        """Notes evaluations, those that failed too."""

        is_on = True

        def supports_flag_value_type(self, flag_type: Any) -> bool:  # noqa: ARG002
            """Whether evaluations are noted: of every type."""
            return self.is_on

        @fail_open
        def finally_after(self, hook_context: Any, details: Any, hints: Any) -> None:  # noqa: ARG002
            """Note one."""
            note(hook_context, details)

    return Evaluations()


def note(context: Any, details: Any) -> None:
    """Put the evaluation *details* on the request and on the current span."""
    metadata = getattr(context, "provider_metadata", None)
    error = details.error_code
    found = {
        "variant": details.variant,
        "reason": _word(details.reason),
        "value": _told(details.value),
        "provider": getattr(metadata, "name", None),
        "error": _word(error),
    }
    annotate(**{f"{FEATURE_FLAG}.{details.flag_key}": _known(found)})
    attributes = {
        f"{FEATURE_FLAG}.key": details.flag_key,
        f"{FEATURE_FLAG}.provider.name": found["provider"],
        f"{FEATURE_FLAG}.result.variant": found["variant"],
        f"{FEATURE_FLAG}.result.reason": found["reason"],
        f"{FEATURE_FLAG}.result.value": found["value"],
        ERROR_TYPE: found["error"],
    }
    trace.get_current_span().add_event(FEATURE_FLAG_EVENT, _known(attributes))


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: fact for key, fact in facts.items() if fact is not None}


def _word(code: Any) -> str | None:
    """Return a reason or an error as OpenTelemetry writes it: in lower case."""
    return None if code is None else str(getattr(code, "value", code)).lower()


def _told(value: Any) -> bool | int | float | str | None:
    if isinstance(value, str):
        return value if len(value) <= MAX_VALUE else None
    return value if isinstance(value, bool | int | float) else None
