"""The composite version of a service that declares none: made of what its requests meet.

In: the parts that a request met. Out: the version they add up to, registered, and what changed. The
slots outlive the process in the spool folder; a thread of its own reads and writes there, so that a
request waits for no disk. Versions that only add parts to one another are told apart by nobody: the
later one extends the former (``mvtrace.explain`` and analytics go by the settled one).
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from mvtrace.capture.guard import fail_open
from mvtrace.capture.observed_file import ObservedFile
from mvtrace.capture.observed_slots import Change, Slots
from mvtrace.components.component import MAX_NAME_LENGTH, Component
from mvtrace.components.composite import CompositeVersion, composite
from mvtrace.components.stack import stack
from mvtrace.config import TracingConfig
from mvtrace.digest import COMPONENT_DOMAIN, canonical_bytes, digest_of
from mvtrace.errors import CanonicalFormError, CompositeError, MvtraceError
from mvtrace.otlp import LogEvent
from mvtrace.semconv import EVENT_COMPOSITE

SYNC_S: Final = 1.0
"""How often processes of one service look at what the others know."""
IDLE_ROUNDS: Final = 10
MAX_REMEMBERED: Final = 256
ANY_ROUTE: Final = "*"
OBSERVED: Final = "observed"
"""The name of a composite whose service has none."""
STACK_PACKAGES: Final = (
    "accelerate",
    "anthropic",
    "bentoml",
    "bitsandbytes",
    "chromadb",
    "ctransformers",
    "dspy",
    "exllamav2",
    "faiss-cpu",
    "faiss-gpu",
    "flash-attn",
    "google-genai",
    "guidance",
    "hnswlib",
    "instructor",
    "lancedb",
    "langchain",
    "langchain-core",
    "langgraph",
    "litellm",
    "llama-cpp-python",
    "llama-index",
    "llama-index-core",
    "mcp",
    "mistralai",
    "mlx-lm",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openai",
    "optimum",
    "outlines",
    "peft",
    "pgvector",
    "pymilvus",
    "qdrant-client",
    "safetensors",
    "scikit-learn",
    "semantic-router",
    "sentence-transformers",
    "sentencepiece",
    "sglang",
    "sqlite-vec",
    "tensorrt-llm",
    "tiktoken",
    "tokenizers",
    "torch",
    "transformers",
    "usearch",
    "vllm",
    "xgrammar",
    "xllamacpp",
)
"""Distributions that shape answers: those of them that are installed are in the observed stack."""


class Part(NamedTuple):
    """Something a request met that has no slot yet: a component, or the facts of one."""

    kind: str
    name: str
    found: Component | Mapping[str, Any]
    at_call: bool = True
    """Whether *name* is that of a call: the slot is then this call of this route."""


class Observed(NamedTuple):
    """What serves, as seen."""

    version: CompositeVersion | None
    met: tuple[Component, ...]
    """What the request itself met of it."""
    changes: tuple[Change, ...]
    rest: Rest | None = None
    """What it met beside a declared version, to be registered."""


_NOTHING: Final = Observed(None, (), ())


@dataclasses.dataclass(frozen=True)
class Rest:
    """Parts that belong to no version: registered as components, and as nothing else."""

    whole: CompositeVersion

    @property
    def version(self) -> str:
        """What they are known by, so that they are registered once."""
        return f"{self.whole.version} rest"

    def events(self, *, register_content: bool = True) -> Iterator[LogEvent]:
        """Yield their contents and components."""
        for event in self.whole.events(register_content):
            if event.name != EVENT_COMPOSITE:
                yield event


class ObservedSystem:
    """What one process knows of a service that declares nothing; for any thread."""

    name: str
    """What its versions are called: the service."""

    def __init__(self, config: TracingConfig) -> None:
        self.name = config.service or OBSERVED
        self._file = ObservedFile(config.spool_dir, config.service, config.environment)
        self._slots = Slots()
        self._lock = threading.Lock()
        self._components: dict[Any, Component | None] = {}
        self._versions: dict[tuple[str, ...], CompositeVersion | None] = {}
        self._pending: tuple[Change, ...] = ()
        """What was found changed before any request."""
        self._is_dirty = True
        self._thread: threading.Thread | None = None
        self._latest: str | None = None
        self._file.read(self._slots)
        self._see_stack()

    @property
    def latest(self) -> str | None:
        """The version of the last request: that of one that begins, until its end knows better."""
        return self._latest

    def see(
        self,
        parts: Iterable[Part | Component],
        *,
        route: str | None,
        began_at: float,
        declared: AbstractSet[str] = frozenset(),
    ) -> Observed:
        """Return the version of a request that began at *began_at* (Unix seconds) and met *parts*.

        None while nothing but the stack is known, and where somebody has *declared* one: then only
        parts of the kinds that are not in it are looked at.
        """
        met = [
            one
            for part in parts
            if part.kind not in declared and (one := self._component(part, route)) is not None
        ]
        if declared and not met and not self._pending:
            return _NOTHING  # the stack alone is told where more is: it costs each request 50 µs
        with self._lock:
            seen = self._slots.see(met, began_at=began_at, now=time.time())
            self._is_dirty = self._is_dirty or seen.is_new
            self._pending += seen.changes
            if not declared and len(seen.components) <= len(self._own):
                return Observed(None, (), ())  # an interpreter alone is no system
            changes, self._pending = self._pending, ()
            has_news = bool(met or changes) or not declared  # a change is told once, so kept
            if declared:
                met += [one for one in self._own if one.kind not in declared]
                changes = tuple(one for one in changes if one.slot[0] not in declared)
                whole = self._version(tuple(met))
                found = Observed(None, tuple(met), changes, None if whole is None else Rest(whole))
            else:
                version = self._version(seen.components)
                self._latest = None if version is None else version.version
                found = Observed(version, tuple(met), changes)
        if self._thread is None and has_news:
            self._start()
        return found

    def _component(self, part: Part | Component, route: str | None) -> Component | None:
        if isinstance(part, Component):
            return part
        name = f"{route or ANY_ROUTE} {part.name}" if part.at_call else part.name
        name = name[:MAX_NAME_LENGTH]
        if isinstance(part.found, Component):
            return dataclasses.replace(part.found, name=name)
        try:
            body = canonical_bytes({"kind": part.kind, "facts": part.found})
        except CanonicalFormError:
            return None  # what JSON cannot hold, such as a temperature that is no number
        key = part.kind, name, body
        if key not in self._components:
            if len(self._components) >= MAX_REMEMBERED:
                self._components.clear()
            self._components[key] = _made(part.kind, name, body)
        return self._components[key]

    def _version(self, components: tuple[Component, ...]) -> CompositeVersion | None:
        key = tuple(f"{part.kind}/{part.name}={part.digest}" for part in components)
        if key not in self._versions:
            if len(self._versions) >= MAX_REMEMBERED:
                self._versions.clear()
            self._versions[key] = _composed(self.name, components)
        return self._versions[key]

    def _see_stack(self) -> None:
        now = time.time()
        self._own = (observed_stack(),)
        self._pending = self._slots.see(self._own, began_at=now, now=now).changes

    # Between the processes of the service

    def synchronize(self) -> None:
        """Exchange what is known with the other processes, where there is something new.

        Raises:
            OSError: the spool folder cannot be written.

        """
        with self._lock:
            if self._is_dirty or self._file.changed():
                self._file.exchange(self._slots, time.time())
                self._is_dirty = False

    @fail_open
    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="mvtrace-observed", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        idle, latest = 0, self._latest
        while idle < IDLE_ROUNDS:
            self._synchronize()
            time.sleep(SYNC_S)
            idle, latest = (idle + 1 if latest == self._latest else 0), self._latest
        self._thread = None

    @fail_open
    def _synchronize(self) -> None:
        # A disk that is full or gone is no error of ours: the next round tries again.
        with contextlib.suppress(OSError):
            self.synchronize()


def observed_stack() -> Component:
    """Return the stack of this process: interpreter, packages that shape answers, accelerator."""
    from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

    found = []
    for package in STACK_PACKAGES:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        found.append(package)
    return stack(packages=found)


def _made(kind: str, name: str, body: bytes) -> Component | None:
    """Return the component of *body*; None where none can be made of it."""
    try:
        return Component(kind=kind, name=name, digest=digest_of(COMPONENT_DOMAIN, body), body=body)
    except MvtraceError:
        return None


def _composed(name: str, components: tuple[Component, ...]) -> CompositeVersion | None:
    """Return the version of *components*, with what they pin where that contradicts no slot."""
    if not components:
        return None
    try:
        return composite(name, *components)
    except CompositeError:
        bare = (dataclasses.replace(part, parts=(), roles=()) for part in components)
    try:
        return composite(name, *bare)
    except CompositeError:
        return None
