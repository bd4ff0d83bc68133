"""``retrieval``: a search, and the index *as queried*.

In: the index (pinned, or as it is), the query, what came back. Out: span, call and index snapshot;
drift where the index is not the declared one. An index that does not answer leaves a snapshot
without a digest: the search goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Protocol, cast

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.calls import Call
from mvtrace.capture.declared import Pinned, facts_of
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.observing import Part
from mvtrace.components.component import Component
from mvtrace.components.index_live import live_index
from mvtrace.records import CallKind, IndexSnapshot, RetrievedDocument

UNAVAILABLE: Final = "unavailable"
"""The method of a snapshot that the index failed to give."""
MAX_DOCUMENTS: Final = 1000
MAX_SPAN_DOCUMENTS: Final = 100
"""Documents on a span; the record has them all."""

_PAIR: Final = 2


class IndexState(Protocol):
    """An index as it is now."""

    @property
    def digest(self) -> str | None:
        """Digest of the component it would be pinned as; None where that is not known."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts under the digest."""

    @property
    def native_version(self) -> str | None:
        """The library's own version, or the collection behind an alias."""


class RetrievalCall(Call):
    """A search in an index."""

    kind: ClassVar[CallKind] = "retrieval"

    query: object = None
    top_k: int | None = None
    live: object = None
    """An index that nobody pinned."""

    _is_looked_at = False
    _state: IndexState | None = None
    _documents: tuple[RetrievedDocument, ...] = ()

    @fail_open
    def documents(self, hits: Iterable[Any]) -> None:
        """Say what came back: ``(id, score)`` pairs, or ids, in their order; never their texts."""
        counter = self.counter
        found: list[RetrievedDocument] = []
        for hit in hits:
            if len(found) >= MAX_DOCUMENTS:
                counter.truncated += 1
                break
            identity, score = hit if isinstance(hit, tuple) else (hit, None)
            found.append(
                RetrievedDocument(
                    id=plain.text(identity, plain.MAX_ID, counter), score=plain.number(score)
                )
            )
        self._documents = tuple(found)

    @property
    def has_documents(self) -> bool:
        """Whether it is known what came back."""
        return bool(self._documents)

    @fail_open
    def queried(self, index: object) -> None:
        """Say which index is queried, where that was not said before: an index as it is."""
        if self.component is None and self.live is None and self.is_open:
            self.live = index
            self._look_at_live()

    def returned(self, result: object) -> None:
        """Take the pairs a decorated function returns as the documents."""
        if isinstance(result, (list, tuple)) and all(
            isinstance(hit, tuple) and len(hit) == _PAIR for hit in result
        ):
            self.documents(result)

    def opened(self) -> None:
        """Look at the index as it is about to be queried."""
        source = getattr(self.component, "source", None)
        if hasattr(source, "current"):
            self._is_looked_at = True
            self._look(source)
        elif self.live is not None:
            self._look_at_live()
        if self.query is not None:
            self._input_digest = self.digest(self.query, "query")

    @fail_open
    def _look(self, source: Any) -> None:
        self._state = source.current()

    @fail_open
    def _look_at_live(self) -> None:
        index = live_index(self.name, self.live)
        if index is not None:
            self._is_looked_at = True
            self._state = state = index.current()
            self.component = index.component(state)

    def start_attributes(self) -> dict[str, Any]:
        """Return index and top_k."""
        found = super().start_attributes()
        found[semconv.GEN_AI_OPERATION] = "retrieval"
        found[semconv.INDEX_NAME] = self._index_name()
        if self.top_k is not None:
            found[semconv.GEN_AI_RETRIEVAL_TOP_K] = self.top_k
        return found

    def end_attributes(self) -> dict[str, Any]:
        """Return the index as queried, and what came back."""
        found = super().end_attributes()
        if self._state is not None and self._state.digest is not None:
            found[semconv.INDEX_SNAPSHOT] = self._state.digest
        if (expected := self._expected()) is not None:
            found[semconv.INDEX_EXPECTED] = expected
        shown = self._documents[:MAX_SPAN_DOCUMENTS]
        if shown:
            found[semconv.DOCUMENT_IDS] = tuple(document.id for document in shown)
            scores = tuple(document.score for document in shown if document.score is not None)
            if len(scores) == len(shown):
                found[semconv.DOCUMENT_SCORES] = scores
        return found

    def compare(self) -> None:
        """Note which state of the index answered, and drift from the declared one."""
        component, exchange, state = self.component, self._exchange, self._state
        if component is None or exchange is None:
            return
        if state is None:
            if not self._is_looked_at:  # else it did not answer: nothing is known of it
                self.meet(component, "digest")
            return
        expected = self._expected()
        if state.digest is None:
            self._compare_size(component, state)
            return
        exchange.add_observed(component.kind, component.name, state.digest)
        if expected is not None and state.digest != expected:
            self.drifted(component, "digest", expected, state.digest)

    def parts(self) -> Iterator[Part | Component]:
        """Yield the index as it was queried."""
        component, state = self.component, self._state
        if component is None or not self._is_looked_at:
            yield from super().parts()
        elif state is None or state.digest is None:
            return  # what it held is not known
        elif state.digest == component.digest:
            yield from super().parts()
        else:
            yield Part(component.kind, component.name, state.facts, at_call=False)

    def _compare_size(self, component: Pinned, state: IndexState) -> None:
        """Tell what can be told of an index that changed too fast to be hashed."""
        size = state.facts.get("snapshot", {}).get("size")
        declared = facts_of(component).get("snapshot", {}).get("size")
        if size is not None and declared is not None and size != declared:
            self.drifted(component, "size", str(declared), str(size))

    def _index_name(self) -> str:
        return self.name if self.component is None else self.component.name

    def _expected(self) -> str | None:
        """Return the digest declared for the slot; without a composite the component's own."""
        if self.component is None:
            return None
        declared = self.declared.component(self.component.kind, self.component.name)
        return self.component.digest if declared is None else declared.digest

    def fill(self, exchange: RequestExchange, duration_ns: int) -> None:
        """Put call and index snapshot on the record."""
        if exchange.add_call(self.as_record(exchange, duration_ns, {})):
            exchange.index_snapshots.append(self._snapshot(exchange))

    def _snapshot(self, exchange: RequestExchange) -> IndexSnapshot:
        state = self._state
        facts: Mapping[str, Any] = {} if state is None else state.facts
        content = facts.get("snapshot", {})
        if state is None and self._is_looked_at:
            content = {"method": UNAVAILABLE}
        return IndexSnapshot(
            name=plain.text(self._index_name(), plain.MAX_NAME, exchange),
            digest=None if state is None else state.digest,
            expected=self._expected(),
            native_version=plain.optional_text(
                None if state is None else state.native_version, plain.MAX_NAME, exchange
            ),
            fingerprint=plain.optional_text(content.get("fingerprint"), plain.MAX_NAME, exchange),
            size=plain.count(content.get("size")),
            dimension=plain.count(content.get("dimension")),
            metric=plain.optional_text(content.get("metric"), plain.MAX_NAME, exchange),
            embedding_model=facts.get("embedding_model", {}).get("digest"),
            method=plain.optional_text(content.get("method"), plain.MAX_NAME, exchange),
            top_k=plain.count(self.top_k),
            documents=self._documents,
            query_digest=self._input_digest,
            span_id=self._span_id,
        )


def retrieval(
    name: str, *, index: object = None, query: object = None, top_k: int | None = None
) -> RetrievalCall:
    """Return a search, for ``with``, ``async with`` or as a decorator.

    *index* is the component of ``mvtrace.index``, or what that would take: an index, table or
    collection, or the pair of a client and a collection's name. Its state is looked at before the
    block runs. Of *query* only a keyed digest is kept.
    """
    call = RetrievalCall(name, cast("Pinned", index) if hasattr(index, "digest") else None)
    call.live = None if hasattr(index, "digest") else index
    call.query = query
    call.top_k = top_k
    return call
