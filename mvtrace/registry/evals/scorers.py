"""A scorer: what turns an answer into a score, named by the digest of its entry.

In: its code (by digest), or a judge (a model and the prompt it is asked with), with parameters.
Out: a Scorer, whose entry pins all of that; its texts (a judge's prompt, a template among the
parameters) are named by digest in it and registered beside it as content.
Another prompt, model or parameter is another scorer, and its scores do not compare with these.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mvtrace.components.content import Content, Pinned, pin_content
from mvtrace.otlp import LogEvent
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.evals.texts import Texts, pinned

KIND: Final = "scorer"
UNDECLARED: Final = "undeclared:"
"""Begins what stands for the scorer of results whose scorer nobody declared."""
BETTER: Final = ("higher", "lower")
_HINT: Final = "Give its code, or a judge's model and prompt: 'mvtrace eval scorer --help'."


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer's *entry*, and the texts it refers to by digest."""

    entry: Entry
    contents: tuple[Content, ...] = field(default=(), repr=False)

    @property
    def kind(self) -> str:
        """``scorer``."""
        return self.entry.kind

    @property
    def digest(self) -> str:
        """The digest of the entry, ``sha256:…``."""
        return self.entry.digest

    def events(self, register_content: bool = True) -> Iterator[LogEvent]:  # noqa: FBT001, FBT002 (as versions have it)
        """Yield what registers it: its texts, then the entry."""
        yield from Texts(self.contents).events(register_content)
        yield from self.entry.events()


def scorer_entry(
    name: str,
    *,
    code: str | Callable[..., object] | Mapping[str, str] | None = None,
    judge: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    values: Mapping[str, float] | None = None,
    better: str = "higher",
) -> Scorer:
    """Return the scorer *name*.

    *code* is ``sha256:…`` of its source, a function whose source is hashed, or what is as fixed:
    ``{"package": …, "version": …}`` of a release, ``{"commit": …}``. *judge* is
    ``{"model": …, "prompt": …}``: who judges, the text he is asked with, and what else decides his
    verdicts. *values* turn labels into numbers (``{"C": 1, "I": 0}``).

    Raises:
        RegistryError: neither code nor judge is given, or something of it is none.
    """
    if not name or not name.isprintable():
        raise RegistryError(KIND, "it has no name of one line.", hint=_HINT)
    said: dict[str, Any] = {"name": name, "better": _better(better)}
    contents: tuple[Content, ...] = ()
    if code is None and judge is None:
        raise RegistryError(KIND, f"nothing says what {name!r} does.", hint=_HINT)
    if code is not None:
        said["code"] = code_digest(code)
    if judge is not None:
        beside, contents = _texts(_judge(judge))
        said["judge"] = {**beside, "model": judge["model"]}
        prompt = _prompt(judge)
        said |= {"prompt": prompt.reference} if prompt else {}
        contents += prompt.pieces if prompt else ()
    if parameters:
        said["parameters"], texts = _texts(dict(parameters))
        contents += texts
    if values:
        said["values"] = _values(values)
    return Scorer(entry_of(KIND, said), tuple(dict.fromkeys(contents)))


def code_digest(
    code: str | Callable[..., object] | Mapping[str, str] | bytes,
) -> str | dict[str, str]:
    """Return what names *code*: bytes of a file, a function with a source, a digest, a release.

    Raises:
        RegistryError: it is no digest, or a function without a source.
    """
    if isinstance(code, bytes):
        return f"sha256:{hashlib.sha256(code).hexdigest()}"
    if isinstance(code, Mapping):
        return dict(code)
    if isinstance(code, str):
        if len(code) != 71 or not code.startswith("sha256:"):  # noqa: PLR2004 (64 digits more)
            raise RegistryError(KIND, f"{code[:80]!r} is no digest of code (sha256:…).", hint=_HINT)
        return code
    try:
        return f"sha256:{hashlib.sha256(inspect.getsource(code).encode()).hexdigest()}"
    except (OSError, TypeError) as error:
        raise RegistryError(
            KIND, f"the source of {code!r} is not to be had: {error}.", hint="Give code=sha256:…."
        ) from error


def values_said(said: Mapping[str, Any]) -> dict[str, float]:
    """Return what labels count by what a stored scorer says; what is no number counts nothing."""
    found = said.get("values")
    listed = found.items() if isinstance(found, dict) else ()
    return {label: float(one) for label, one in listed if type(one) in (int, float)}


def better_said(said: Mapping[str, Any]) -> str:
    """Return what is better by what a stored scorer says; higher, where it says nothing."""
    return "lower" if said.get("better") == "lower" else "higher"


def undeclared(source: str, name: str) -> str:
    """Return what stands for a scorer that was not declared."""
    return f"{UNDECLARED}{source}/{name}"


def is_declared(scorer: str) -> bool:
    """Whether *scorer*, as results name it, is a digest."""
    return not scorer.startswith(UNDECLARED)


def _judge(judge: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides a judge's verdicts beside its model and prompt."""
    model = judge.get("model")
    if not isinstance(model, str) or not model:
        raise RegistryError(KIND, "its judge has no model.", hint=_HINT)
    return {key: value for key, value in judge.items() if key not in ("model", "prompt")}


def _texts(value: Mapping[str, Any]) -> tuple[Any, tuple[Content, ...]]:
    try:
        return pinned(value)
    except ValueError as error:
        raise RegistryError(KIND, str(error)) from error


def _prompt(judge: Mapping[str, Any]) -> Pinned | None:
    prompt = judge.get("prompt")
    if prompt is None:
        return None
    if not isinstance(prompt, str):
        raise RegistryError(KIND, "its judge's prompt is no text.", hint=_HINT)
    try:
        return pin_content(prompt)
    except ValueError as error:
        raise RegistryError(KIND, f"its judge's prompt: {error}") from error


def _better(better: str) -> str:
    if better not in BETTER:
        raise RegistryError(KIND, f"better is {better!r}; it is higher or lower.")
    return better


def _values(values: Mapping[str, float]) -> dict[str, float]:
    for label, value in values.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise RegistryError(KIND, f"the value of the label {label!r} is no finite number.")
    return {label: float(value) for label, value in values.items()}
