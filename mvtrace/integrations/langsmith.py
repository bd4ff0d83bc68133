"""LangSmith's prompt hub: ``pull_prompt`` of its client, sync and async.

In: commits as the client hands them out, from its cache too. Out: the manifest that was resolved,
as a component in the slot of the prompt's name, with the tag where one was asked for. What is
rendered from it is LangChain's: the commit is met, not linked to a call.
"""

from __future__ import annotations

from typing import Any, Final

from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.prompt_registry import Told
from mvtrace.integrations.templates import met, template_of

LIBRARY: Final = "langsmith"


def install() -> tuple[Hook, ...]:
    """Wrap the clients: ``pull_prompt`` asks by ``pull_prompt_commit``."""
    import langsmith  # noqa: PLC0415 (only where it is installed)

    clients = (langsmith.Client, langsmith.AsyncClient)
    return tuple(Hook(client, "pull_prompt_commit", begin_fetch) for client in clients)


def begin_fetch(_client: Any, prompt_identifier: str, *_: Any, **__: Any) -> Told:
    """Return what notes the prompt *prompt_identifier*: ``owner/name:tag`` or ``…:commit``."""
    name, _colon, asked = str(prompt_identifier).partition(":")

    def note(commit: Any) -> None:
        is_pinned = not asked or commit.commit_hash.startswith(asked)
        slot = name if is_pinned else f"{name}:{asked}"
        met(template_of(slot, commit.manifest, LIBRARY, commit.commit_hash))

    return Told(note)
