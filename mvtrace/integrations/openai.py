"""The ``openai`` client, sync and async: chat, completions, responses, embeddings, streams, tools.

In: the one public method all of its calls go through, ``request`` (``post`` of ``client``, and
``create``, ``parse``, ``stream``, raw and streaming responses of every resource come there). Out: a
generation or an embedding a call; the library's own retries are one call. Left out: files, images,
audio, fine-tuning, and the realtime connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import EMBEDDINGS, operation_of
from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.inference import Inference, inference_of
from mvtrace.integrations.tee import read_along

LIBRARY: Final = "openai"
COMPATIBLE: Final = "openai-compatible"
_PROVIDERS: Final = {"openai.com": "openai", "azure.com": "azure.ai.openai"}
"""By the end of the host's name; another host speaks the protocol, which says not who it is."""


def install() -> tuple[Hook, ...]:
    """Wrap the clients."""
    import openai  # noqa: PLC0415 (only where it is installed)

    return tuple(Hook(client, "request", begin) for client in (openai.OpenAI, openai.AsyncOpenAI))


class OpenAICall:
    """One request of a client."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self.enter = inference.enter
        self.leave = inference.leave
        self.failed = inference.failed

    @fail_open
    def answered(self, result: Any) -> None:
        """Take *result*: a parsed answer, a stream, or the response itself."""
        response = getattr(result, "http_response", None) or getattr(result, "response", None)
        if response is not None and hasattr(response, "is_stream_consumed"):
            if response.is_stream_consumed or response.is_closed:
                self._inference.told(response.json())
            else:
                read_along(response, self._inference)
        elif hasattr(result, "model_dump"):
            self._inference.told(_plain(self._inference.operation, result))
        else:
            self._inference.end()


def begin(client: Any, *args: Any, **kwargs: Any) -> OpenAICall | None:
    """Return the call that a request is; None where it is none of a model."""
    options = kwargs.get("options") or args[1]
    operation = operation_of(urlsplit(str(options.url)).path)
    asked = options.json_data
    if operation is None or options.method.lower() != "post" or not isinstance(asked, Mapping):
        return None
    extra = getattr(options, "extra_json", None) or {}
    inference = inference_of(operation, {**asked, **extra}, _provider(client))
    return None if inference is None else OpenAICall(inference)


def _provider(client: Any) -> str:
    host = str(client.base_url.host)
    for end, provider in _PROVIDERS.items():
        if host == end or host.endswith("." + end):
            return provider
    return COMPATIBLE


def _plain(operation: str, result: Any) -> Mapping[str, Any]:
    """Return what is read of *result*; of embeddings not the vectors."""
    keys = {"model", "usage"} if operation == EMBEDDINGS else None
    plain: dict[str, Any] = result.model_dump(include=keys, warnings=False)
    return plain
