"""A request of a client library that its provider's generator made: ``openai`` and ``anthropic``.

In: what the library's ``request`` returned: a parsed answer, a stream, or the response itself. Out:
the same, and an `Inference` told what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import EMBEDDINGS
from mvtrace.integrations.inference import Inference
from mvtrace.integrations.tee import read_along


class ClientCall:
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
            self._inference.told(plain_answer(self._inference.operation, result))
        else:
            self._inference.end()


def plain_answer(operation: str, result: Any) -> Mapping[str, Any]:
    """Return what is read of *result*; of embeddings the first vector alone, and how many."""
    if operation != EMBEDDINGS:
        whole: dict[str, Any] = result.model_dump(warnings=False)
        return whole
    plain: dict[str, Any] = result.model_dump(include={"model", "usage"}, warnings=False)
    data = getattr(result, "data", None) or ()
    vectors = [one.get("embedding") if isinstance(one, Mapping) else one.embedding for one in data]
    return {**plain, "data": [{"embedding": vector} for vector in vectors]}


def provider_at(host: str, known: Mapping[str, str], otherwise: str) -> str:
    """Return who answers at *host*, by how its name ends."""
    for end, provider in known.items():
        if host == end or host.endswith("." + end):
            return provider
    return otherwise
