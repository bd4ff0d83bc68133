"""What the composite in force declares, ready to be compared with what a request meets.

In: the composite version of the middleware. Out: its components by slot and by model id, and a
``Drift`` where observed differs from declared. Components are known here by their shape only, so
that the request path does not depend on how they are made.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from mvtrace.digest import COMPONENT_DOMAIN, canonical_bytes, digest_of
from mvtrace.otlp import LogEvent

MODEL_ID: Final = "model_id"
"""The fact of a model component that names it as a provider would."""
SETTINGS: Final = "settings"
FINGERPRINT: Final = "fingerprint"
"""A setting of a model component: the ``system_fingerprint`` its provider must answer with."""
POLICY: Final = "policy"
MODEL_KINDS: Final = ("model", "embedding_model")
MAX_REMEMBERED: Final = 64
MAX_FACTS_REMEMBERED: Final = 1024

_log: Final = logging.getLogger("mvtrace")


class Pinned(Protocol):
    """A component: one part of the system with its digest."""

    @property
    def kind(self) -> str:
        """The kind of its slot."""

    @property
    def name(self) -> str:
        """The name of its slot."""

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of its body."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the body says."""


class Composite(Protocol):
    """A composite version: all parts of the system, named by one digest."""

    @property
    def version(self) -> str:
        """64 hex digits."""

    @property
    def name(self) -> str:
        """What the operator calls it; in no digest."""

    @property
    def components(self) -> Sequence[Pinned]:
        """One component a slot."""

    def events(self, *, register_content: bool = True) -> Iterator[LogEvent]:
        """The registry events that make it known."""


class Chooser(Protocol):
    """A rollout, as requests know it; nothing it does raises into one."""

    def prepare(self, tracing: Any) -> None:
        """Find out what is in force, while a server starts."""

    def enter(self, exchange: Any, scope: Any, named: str | None) -> None:
        """Say which side serves the request that begins."""

    def settle(self, exchange: Any, key: object) -> None:
        """Draw for *key* where that was left open."""


class Declared:
    """The parts of one composite version, by slot and by the model they name."""

    __slots__ = ("_models", "_slots", "composite", "kinds", "name", "rollout", "version")

    def __init__(self, composite: Composite | None) -> None:
        self.composite = composite
        self.rollout: Chooser | None = None
        """What decides for each request which version serves it, where there is more than one."""
        self.version = None if composite is None else composite.version
        self.name = None if composite is None else composite.name
        self._slots: dict[tuple[str, str], Pinned] = {}
        self._models: dict[tuple[str, str], Pinned | None] = {}
        for component in () if composite is None else composite.components:
            self._slots[component.kind, component.name] = component
            if component.kind in MODEL_KINDS:
                self._add_model(component)
        self.kinds = frozenset(kind for kind, _ in self._slots)
        """Kinds of which something is declared; of all others what is met is observed."""

    def _add_model(self, component: Pinned) -> None:
        model_id = facts_of(component).get(MODEL_ID)
        if isinstance(model_id, str):
            key = (component.kind, model_id)
            # Two declared models of one id cannot be told apart by a call that only names the id.
            self._models[key] = None if key in self._models else component

    def component(self, kind: str, name: str) -> Pinned | None:
        """Return what is declared for the slot *kind*/*name*; None where nothing is."""
        return self._slots.get((kind, name))

    def model(self, kind: str, model_id: str | None) -> Pinned | None:
        """Return the one declared component of *kind* that names *model_id*."""
        return None if model_id is None else self._models.get((kind, model_id))


NOTHING: Final = Declared(None)
_remembered: dict[int, Declared] = {}
_resolved: dict[str, Declared] = {}
_refused: set[str] = set()
"""What was said already."""
_facts: dict[str, Mapping[str, Any]] = {}


def declared_by(composite: Composite | Chooser | None) -> Declared:
    """Return the index over *composite*; made once an object.

    Of a rollout it is that of its stable side, until the rollout has chosen. What is no composite
    version declares nothing: that is said once, and requests are recorded.
    """
    if composite is None:
        return NOTHING
    known = _remembered.get(id(composite))
    if known is None or known.composite is not composite:
        chosen = getattr(composite, "declared", None)
        if isinstance(chosen, Declared):
            return chosen
        composite = cast("Composite", composite)
        if not hasattr(composite, "version") or not hasattr(composite, "components"):
            _refuse(f"{composite!r:.80} is a {type(composite).__name__}, not a composite version")
            return NOTHING
        known = Declared(composite)
        if len(_remembered) >= MAX_REMEMBERED:
            _remembered.clear()
        _remembered[id(composite)] = known
    return known


def declared_at(target: str) -> Declared:
    """Return the index over the composite at *target*, ``package.module:name``; imported once.

    A target that cannot be imported is said once: requests are then recorded without a version.
    """
    known = _resolved.get(target)
    if known is None:
        known = _resolved[target] = _imported(target)
    return known


def _imported(target: str) -> Declared:
    module, _, name = target.partition(":")
    try:
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
    except Exception as error:  # noqa: BLE001 (the operator's code, which may do anything)
        _refuse(f"MVTRACE_COMPOSITE={target} cannot be imported: {type(error).__name__}: {error}")
        return NOTHING
    return declared_by(value)


def _refuse(problem: str) -> None:
    if problem not in _refused:
        if len(_refused) < MAX_REMEMBERED:
            _refused.add(problem)
        _log.error("Requests are recorded without a composite version: %s.", problem)


def names_same_model(declared: str, served: str) -> bool:
    """Whether *served* is *declared*, or the dated release a provider resolves that alias to."""
    if served == declared:
        return True
    release = served.removeprefix(declared + "-")
    return release != served and release.replace("-", "").isdigit()


def facts_of(component: Pinned) -> Mapping[str, Any]:
    """Return the facts of *component*, parsed once a digest."""
    known = _facts.get(component.digest)
    if known is None:
        if len(_facts) >= MAX_FACTS_REMEMBERED:
            _facts.clear()
        known = _facts[component.digest] = component.facts
    return known


def digest_with(component: Pinned, **facts: Any) -> str:
    """Return the digest *component* would have with these *facts* instead of its own."""
    body = {"kind": component.kind, "facts": {**facts_of(component), **facts}}
    return digest_of(COMPONENT_DOMAIN, canonical_bytes(body))
