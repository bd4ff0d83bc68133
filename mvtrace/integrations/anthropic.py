"""The ``anthropic`` client, sync and async: messages, streams, tools, raw responses.

In: the one public method all of its calls go through, ``request``; clients of Bedrock, Vertex and
Foundry inherit it. Out: a generation a call; the library's own retries are one call. Left out:
batches, token counting, files, agents, and streams of Bedrock, which are no event streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from mvtrace.capture.anthropic_protocol import PATH_END, MessagesReader, asked_in
from mvtrace.integrations.client_call import ClientCall, provider_at
from mvtrace.integrations.hooks import Hook
from mvtrace.integrations.inference import Inference, is_told

LIBRARY: Final = "anthropic"
COMPATIBLE: Final = "anthropic-compatible"
_PROVIDERS: Final = {
    "anthropic.com": "anthropic",
    "amazonaws.com": "aws.bedrock",
    "googleapis.com": "gcp.vertex_ai",
    "azure.com": "azure.ai.inference",
}
"""By the end of the host's name; another host speaks the protocol, which says not who it is."""

_PLAIN: Final = (str, int, float, list, tuple, Mapping)
"""What a request is made of; what was left out is an object of the library's own."""


def install() -> tuple[Hook, ...]:
    """Wrap the clients."""
    import anthropic  # noqa: PLC0415 (only where it is installed)

    return tuple(
        Hook(_owner_of(client, "request"), "request", begin)
        for client in (anthropic.Anthropic, anthropic.AsyncAnthropic)
    )


def begin(client: Any, *args: Any, **kwargs: Any) -> ClientCall | None:
    """Return the call that a request is; None where it is none of a model."""
    options = kwargs.get("options") or args[1]
    asked = options.json_data
    is_message = urlsplit(str(options.url)).path.endswith(PATH_END)
    if not is_message or options.method.lower() != "post" or not isinstance(asked, Mapping):
        return None
    if is_told.get():
        return None
    given = {**asked, **(getattr(options, "extra_json", None) or {})}
    plain = {key: value for key, value in given.items() if isinstance(value, _PLAIN)}
    provider = provider_at(client.base_url.host, _PROVIDERS, COMPATIBLE)
    return ClientCall(Inference(asked_in(plain), provider, MessagesReader))


def _owner_of(cls: type, name: str) -> type:
    """Return the class, among the bases of *cls*, that defines the method *name*."""
    return next(base for base in cls.__mro__ if name in vars(base))
