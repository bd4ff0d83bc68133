"""Calls of models: ``embedding``.

In: texts, and the shape of what came of them. Out: what a ``ModelCall`` tells, and how many vectors
of which dimension there were; never a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.declared import Pinned
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.model_calls import ModelCall
from mvtrace.records import CallKind


class EmbeddingCall(ModelCall):
    """A model that turns texts into vectors."""

    kind: ClassVar[CallKind] = "embedding"
    slot_kind = "embedding_model"
    operation = "embeddings"

    parameters: Mapping[str, Any] | None = None
    """What was asked for besides the model: dimensions, normalization."""
    _vectors: int | None = None
    _dimension: int | None = None

    @fail_open
    def input(self, texts: object) -> None:
        """Give what is embedded: its keyed digest is kept."""
        self._input_digest = self.digest(texts, "input")

    @fail_open
    def made(self, vectors: int | None, dimension: int | None) -> None:
        """Say how many vectors came of it, and of which dimension."""
        self._vectors = plain.count(vectors)
        self._dimension = plain.count(dimension)

    def end_attributes(self) -> dict[str, Any]:
        """Return the dimension too."""
        found = super().end_attributes()
        if self._dimension is not None:
            found[semconv.GEN_AI_EMBEDDINGS_DIMENSION] = self._dimension
        return found

    def asked_facts(self, exchange: RequestExchange) -> dict[str, Any]:
        """Return parameters, count and dimension."""
        found: dict[str, Any] = {}
        if self.parameters:
            found["sampling"] = plain.facts(self.parameters, exchange)
        if self._vectors is not None:
            found["vectors"] = self._vectors
        if self._dimension is not None:
            found["dimension"] = self._dimension
        return found


def embedding(
    name: str,
    *,
    model: str | None = None,
    provider: str | None = None,
    component: Pinned | None = None,
) -> EmbeddingCall:
    """Return a call of an embedding model, for ``with``, ``async with`` or as a decorator."""
    call = EmbeddingCall(name, component)
    call.model = model
    call.provider = provider
    return call
