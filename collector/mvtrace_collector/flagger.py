"""What Flagger's webhooks ask, and which of them a decision lets pass. Pure.

In: the address of a hook, and the JSON that Flagger posts. Out: the hook's kind, and the parameters
of a comparison, from the address or from the hook's ``metadata``. Flagger takes 200 to 202 as yes
and everything else as no, so what "yes" means depends on the hook: to promote, or to roll back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from mvtrace.errors import ConfigurationError, FilterError

CLOSED: Final = 412
"""The status of a hook that does not pass: no fault of the asker, and worth no second attempt."""
PASSING: Final[Mapping[str, frozenset[str]]] = {
    "confirm-promotion": frozenset({"promote"}),
    "confirm-traffic-increase": frozenset({"promote", "hold"}),
    "rollout": frozenset({"promote", "hold"}),
    "rollback": frozenset({"revert"}),
}
"""Which decisions a hook lets pass."""
HOOK: Final = "hook"


def asked_of(query: Mapping[str, str], body: bytes) -> tuple[str, dict[str, str]]:
    """Return the kind of the hook, and what is to be compared.

    Raises:
        ConfigurationError: the body is none of Flagger's.
        FilterError: the hook is none, or the address and the metadata say different things.
    """
    texts = dict(query)
    for key, value in _metadata(body).items():
        if texts.setdefault(key, value) != value:
            raise FilterError(key, value, "the address of the hook says something else")
    hook = texts.pop(HOOK, "")
    if hook not in PASSING:
        raise FilterError(HOOK, hook, f"it is one of {', '.join(PASSING)}")
    return hook, texts


def passes(hook: str, decision: str) -> bool:
    """Return whether *hook* lets *decision* pass."""
    return decision in PASSING[hook]


def _metadata(body: bytes) -> dict[str, str]:
    if not body:
        return {}
    try:
        said: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError("body", None, f"it is no JSON: {error}") from error
    found = said.get("metadata", {}) if isinstance(said, dict) else None
    found = {} if found is None and isinstance(said, dict) else found
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise ConfigurationError("body", None, "its metadata is an object of texts")
    return found
