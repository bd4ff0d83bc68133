"""A stream that a client library reads, read along, piece by piece.

In: the response of ``httpx`` or ``httpx2``, not read yet. Out: the same response, whose ``stream``
tells an `Inference` what came, and that it ended, broke or was left.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from mvtrace.capture.encoded_answers import ENCODED, READABLE
from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import AnswerReader
from mvtrace.integrations.inference import Inference

_made: Final[dict[tuple[str, bool], type]] = {}


def read_along(response: Any, inference: Inference) -> None:
    """Read what *response* streams, for *inference*."""
    library = type(response).__module__.partition(".")[0]
    base = sys.modules[library]
    is_async = isinstance(response.stream, base.AsyncByteStream)
    key = library, is_async
    if key not in _made:
        bases = (_Async, base.AsyncByteStream) if is_async else (_Sync, base.SyncByteStream)
        _made[key] = type("StreamReadAlong", bases, {})
    reader = _reader_of(response, inference)
    response.stream = _made[key](response.stream, _Along(inference, reader))


def _reader_of(response: Any, inference: Inference) -> AnswerReader | None:
    kind = response.headers.get("content-type", "")
    is_stream = kind.startswith("text/event-stream")
    encoding = response.headers.get("content-encoding", "identity").encode()
    reader = inference.reader
    if encoding in READABLE:
        reader = ENCODED[reader]
    elif encoding != b"identity":
        return None
    return reader(inference.operation, is_stream=is_stream)


class _Along:
    """What is known of the stream so far."""

    def __init__(self, inference: Inference, reader: AnswerReader | None) -> None:
        self._inference = inference
        self._reader = reader

    @fail_open
    def feed(self, piece: bytes) -> None:
        if self._reader is None:
            return
        before = self._reader.chunks
        self._reader.feed(piece)
        if self._reader.chunks > before:
            self._inference.chunk()

    @fail_open
    def end(self) -> None:
        self._inference.end(None if self._reader is None else self._reader.end())

    def failed(self, error: BaseException) -> None:
        self._inference.failed(error)


class _Either:
    def __init__(self, inner: Any, along: _Along) -> None:
        self._inner = inner
        self._along = along

    def __getattr__(self, name: str) -> Any:
        """What a library keeps on its stream is still there."""
        if name in {"_inner", "_along"}:
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __del__(self) -> None:
        """A stream that nobody read to its end nor closed is over too."""
        self._along.end()


class _Sync(_Either):
    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._inner:
                self._along.feed(piece)  # before: at the protocol's end nobody asks for more
                yield piece
        except GeneratorExit:
            raise
        except BaseException as error:
            self._along.failed(error)
            raise

    def close(self) -> None:
        self._inner.close()
        self._along.end()


class _Async(_Either):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._inner:
                self._along.feed(piece)  # before: at the protocol's end nobody asks for more
                yield piece
        except GeneratorExit:
            raise
        except BaseException as error:
            self._along.failed(error)
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()
        self._along.end()
