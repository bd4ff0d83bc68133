"""What of a step's command and parameters is not stored: values whose names say they are secret.

In: arguments, parameters. Out: the same with ``[secret]`` in their place, so that a step with
another token is the same step. Left out: what no name tells of, such as the value of ``-p``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mvtrace.content import is_secret

SECRET: Final = "[secret]"  # noqa: S105 (what stands in the place of one)
_NAMES: Final = re.compile(
    r"(?i)(?:.+[._-])?(?:passwd|password|passphrase|pwd|secret|credentials?|authorization"
    r"|(?:api|access|account|private|secret|signing|encryption)[_-]?key)"
    r"|(?:.+[._-])?(?:api|access|auth|bearer|refresh|security|session|sas|id|bot|user|hf|gh|github"
    r"|gitlab|hub|service|secret)[_-]?token|token"
)
"""A text's tokens are no secrets: ``pad_token`` and ``max_tokens`` stay."""
_USER: Final = re.compile(r"(://)[^\s/?#@]+@")


def plain_command(command: Sequence[str]) -> list[str]:
    """Return *command* without secrets: ``--token=x``, ``--token x``, ``TOKEN=x``."""
    found: list[str] = []
    is_next = False
    for text in command:
        name, equals, _ = text.partition("=")
        is_named = _is_secret(name.lstrip("-"))
        if is_next and not text.startswith("-"):
            found.append(SECRET)
        elif is_named and equals:
            found.append(f"{name}={SECRET}")
        else:
            found.append(_without_user(text))
        is_next = is_named and not equals and text.startswith("-")
    return found


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return *parameters*, at every depth, without the values of secret names."""
    return {
        name: SECRET if isinstance(name, str) and _is_secret(name) else _plain(value)
        for name, value in parameters.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_parameters(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return _without_user(value) if isinstance(value, str) else value


def _is_secret(name: str) -> bool:
    return _NAMES.fullmatch(name) is not None or is_secret(name)


def _without_user(text: str) -> str:
    return _USER.sub(rf"\1{SECRET}@", text)
