"""LlamaIndex: models, embeddings, prompt templates, retrievers and tools.

In: its own instrumentation, which tells of models, embeddings and retrievers wherever they are
used; the methods of its template and tool classes. Out: a generation, an embedding, a search or a
tool a run. A model that asks through a client which is observed too is one call, of which the
client knows better. Left out: workflows and agents, which only contain others; rerankers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mvtrace.capture.guard import fail_open
from mvtrace.capture.step_calls import tool
from mvtrace.integrations.call_site import call_site
from mvtrace.integrations.hooks import Hook, Installed
from mvtrace.integrations.prompt_registry import Told
from mvtrace.integrations.templates import Template, rendered, template_of
from mvtrace.integrations.tool_runs import TOOLS, ToolRun

LIBRARY: Final = "llama_index"
_CUSTOM: Final = "custom"
_RENDERING: Final = ("format", "format_messages")


def install() -> tuple[Installed, ...]:
    """Listen to its instrumentation, and wrap templates and tools."""
    from llama_index.core.prompts import (  # noqa: PLC0415 (only where it is installed)
        ChatPromptTemplate,
        PromptTemplate,
        RichPromptTemplate,
    )
    from llama_index.core.tools import FunctionTool  # noqa: PLC0415

    from mvtrace.integrations.llama_index_runs import Listening  # noqa: PLC0415

    templates = (PromptTemplate, ChatPromptTemplate, RichPromptTemplate)
    return (
        Listening(),
        *(Hook(one, name, begin_rendering) for one in templates for name in _RENDERING),
        *(Hook(FunctionTool, name, begin_tool) for name in ("call", "acall")),
    )


# Templates


def begin_rendering(holder: Any, *_: Any, **__: Any) -> Told:
    """Return what notes a rendering of the template *holder*."""
    template = _template(holder)

    def note(result: Any) -> None:
        is_text = isinstance(result, str)
        rendered(template, result if is_text else [str(one.content or "") for one in result])

    return Told(note)


def _template(holder: Any) -> Template:
    """Return the template that *holder* is: the kind it says it is for, else where it is used."""
    messages = getattr(holder, "message_templates", None)
    if messages is not None:
        text: Any = [{"role": one.role.value, "content": one.content} for one in messages]
    else:
        text = getattr(holder, "template_str", None) or holder.template
    kind = str(getattr(holder.metadata.get("prompt_type"), "value", _CUSTOM))
    is_named = kind != _CUSTOM
    if not is_named:
        asks_for = ",".join(sorted(holder.template_vars))
        kind = f"{call_site('prompt')} {asks_for}"
    # One that asks for nothing may be a text that was made for this request.
    found = template_of(kind, text, LIBRARY, None, is_text_kept=bool(holder.template_vars))
    return found._replace(is_named=is_named)


# Tools


class RunningTool:
    """One run of a tool."""

    def __init__(self, run: ToolRun) -> None:
        self._run = run
        self.enter = run.call.attach
        self.leave = run.call.detach

    @fail_open
    def answered(self, output: Any) -> None:
        """Take what the tool returned."""
        call = self._run.call
        if not self._run.is_taken:
            call.result(str(output.content))
        if getattr(output, "is_error", False):
            call.failed("tool_error")
        self._run.close()

    @fail_open
    def failed(self, error: BaseException) -> None:
        """End the run by *error*."""
        self._run.close(error)


def begin_tool(one: Any, *args: Any, **kwargs: Any) -> RunningTool:
    """Return the run of the tool *one*."""
    given: Mapping[str, Any] | list[Any] = kwargs if not args else [*args, kwargs]
    run = ToolRun(tool(str(one.metadata.get_name()), arguments=given))
    run.call.open()
    TOOLS.put(run)
    return RunningTool(run)
