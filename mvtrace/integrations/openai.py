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

from mvtrace.capture.openai_protocol import operation_of
from mvtrace.integrations.client_call import ClientCall, provider_at
from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.inference import inference_of

LIBRARY: Final = "openai"
COMPATIBLE: Final = "openai-compatible"
PROVIDERS: Final = {"openai.com": "openai", "azure.com": "azure.ai.openai"}
"""By the end of the host's name; another host speaks the protocol, which says not who it is."""


def install() -> tuple[Hook, ...]:
    """Wrap the clients."""
    import openai  # noqa: PLC0415 (only where it is installed)

    return tuple(Hook(client, "request", begin) for client in (openai.OpenAI, openai.AsyncOpenAI))


def begin(client: Any, *args: Any, **kwargs: Any) -> ClientCall | None:
    """Return the call that a request is; None where it is none of a model."""
    options = kwargs.get("options") or args[1]
    operation = operation_of(urlsplit(str(options.url)).path)
    asked = options.json_data
    if operation is None or options.method.lower() != "post" or not isinstance(asked, Mapping):
        return None
    extra = getattr(options, "extra_json", None) or {}
    provider = provider_at(client.base_url.host, PROVIDERS, COMPATIBLE)
    inference = inference_of(operation, {**asked, **extra}, provider)
    return None if inference is None else ClientCall(inference)
