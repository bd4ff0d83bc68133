"""MLflow's prompt registry: ``load_prompt``, and ``format`` of what it returns.

In: prompt versions as the client hands them out, from its cache too. Out: the template as a
component in the slot of the prompt's name, and ``@alias`` where one was asked for. Left out: the
response format and the model settings that may lie beside it, which count where they are used.
"""

from __future__ import annotations

from typing import Any, Final

from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.prompt_registry import Registry, Told
from mvtrace.integrations.templates import Template, template_of

LIBRARY: Final = "mlflow"


def install() -> tuple[Hook, ...]:
    """Wrap client and prompts."""
    from mlflow import MlflowClient  # noqa: PLC0415 (only where it is installed)
    from mlflow.entities.model_registry import PromptVersion  # noqa: PLC0415

    return (
        Hook(MlflowClient, "load_prompt", begin_fetch),
        Hook(PromptVersion, "format", begin_rendering),
    )


def begin_fetch(_client: Any, name_or_uri: str, *_: Any, **__: Any) -> Told:
    """Return what notes the prompt *name_or_uri*: a name, or a URI with version or alias."""
    name, at, alias = str(name_or_uri).removeprefix("prompts:/").partition("@")
    slot = f"{name}@{alias}" if at else name.partition("/")[0]
    return _registry.fetched(slot)


def begin_rendering(holder: Any, *_: Any, **__: Any) -> Told:
    """Return what notes a rendering of the prompt *holder*."""
    return _registry.rendering(holder)


def _read(holder: Any, slot: str | None) -> Template:
    return template_of(slot or holder.name, holder.template, LIBRARY, holder.version)


_registry: Final = Registry(_read)
