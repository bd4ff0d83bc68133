"""A description resolved: every part hashed through the constructors that applications use.

In: a Description, and where Python objects and URIs are looked up (imported and fetched by
``mvtrace pin``, neither by an application that checks its lock). Out: components by slot, or an
error that names file, table and key. What is only declared (a provider's model) is not hashed.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mvtrace.components import (
    Component,
    CompositeVersion,
    code,
    composite,
    custom,
    embedding_model,
    guardrail,
    index,
    model,
    postprocess,
    prompt,
    router,
    sampling,
    stack,
    tools,
)
from mvtrace.components.artifact import Artifact
from mvtrace.components.component import KINDS, Draft
from mvtrace.components.edges import EdgeLike
from mvtrace.errors import ComponentError
from mvtrace.registry.errors import SystemFileError
from mvtrace.registry.pin.description import Description, Part
from mvtrace.registry.pin.objects import NotLookedError, Source, imported
from mvtrace.registry.pin.places import PlaceError, hash_uri, read_uri

_FILE_KINDS: Final[Mapping[str, Callable[..., Component]]] = {
    "code": code,
    "postprocess": postprocess,
    "guardrail": guardrail,
}
_MODEL_KINDS: Final[Mapping[str, Callable[..., Component]]] = {
    "model": model,
    "embedding_model": embedding_model,
}
_WORDS: Final = {
    "prompt": "text",
    "tools": "a list of definitions",
    "sampling": "a dict of parameters",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Looking:
    """How a part is looked up that is no file of the repository."""

    object_at: Callable[[str, Path], object] = imported
    hash_at: Callable[[str], Artifact] = hash_uri
    read_at: Callable[[str], bytes] = read_uri
    asks_indexes: bool = True
    """Whether a live index is asked for its content: code of the application, maybe a network."""


class Resolver:
    """Makes the components of one description, each once; those it pins come first."""

    def __init__(
        self,
        description: Description,
        looking: Looking | None = None,
        *,
        known: Mapping[str, Component] | None = None,
    ) -> None:
        """*known* are components to take as they are, by slot."""
        self._description = description
        self._looking = looking or Looking()
        self._made: dict[str, Component] = dict(known or {})
        self._under_way: list[str] = []
        self._parts = {part.slot: part for part in description.parts}

    def component(self, slot: str) -> Component:
        """Return the component in *slot*.

        Raises:
            SystemFileError: it cannot be made; the text says of which table, and why.
            NotLookedError: it was not looked at, as the way of looking says.
        """
        made = self._made.get(slot)
        if made is not None:
            return made
        part = self._parts[slot]
        if slot in self._under_way:
            way = " -> ".join([*self._under_way, slot])
            raise self._error(part, "", f"components pin one another: {way}.")
        self._under_way.append(slot)
        try:
            made = self._checked(part, self._component(part))
        except ComponentError as error:
            problem = error.message.partition(": ")[2] or error.message
            raise self._error(part, "", problem, error.hint) from error
        finally:
            self._under_way.pop()
        self._made[slot] = made
        return made

    def know(self, component: Component) -> None:
        """Take *component* as what is in its slot."""
        self._made[component.slot] = component

    def _component(self, part: Part) -> Component:
        said = part.said
        if "object" in said:
            return self._of_object(part, self._object(part, "object", said["object"]))
        if "uri" in said and "path" not in said and part.kind not in ("prompt", "tools"):
            return self._of_uri(part)
        makers: Mapping[str, Callable[[Part], Component]] = {
            "prompt": self._prompt,
            "tools": self._tools,
            "router": self._router,
            "sampling": self._sampling,
            "stack": self._stack,
            "index": self._index,
        }
        if part.kind in makers:
            return makers[part.kind](part)
        if part.kind in _MODEL_KINDS:
            names = {key: said.get(key) for key in ("provider", "model_id")}
            path = self._path(part) if "path" in said else None
            return _MODEL_KINDS[part.kind](part.name, **names, path=path, **self._rest(part))
        path = self._path(part) if "path" in said else None
        if part.kind == "custom":
            return custom(part.name, path=path, **self._rest(part))
        return _FILE_KINDS[part.kind](part.name, path, **self._rest(part))

    def _prompt(self, part: Part) -> Component:
        text = part.said["text"] if "text" in part.said else self._text(part)
        return prompt(part.name, text, **self._rest(part))

    def _tools(self, part: Part) -> Component:
        if "definitions" in part.said:
            return tools(part.name, part.said["definitions"], **self._rest(part))
        listed = self._json(part)
        if not isinstance(listed, list):
            raise self._error(part, self._source_key(part), "the file holds no JSON array.")
        return tools(part.name, listed, **self._rest(part))

    def _router(self, part: Part) -> Component:
        if "path" in part.said:
            return self._routing(part, self._json(part))
        if "policy" not in part.said:
            raise self._error(part, "", "nothing says what it is; it has policy, path or object.")
        return self._routing(part, part.said["policy"])

    def _routing(self, part: Part, policy: object) -> Component:
        said = part.said
        classifier = said.get("classifier")
        return router(
            part.name,
            policy=policy,
            classifier=None if classifier is None else self._classifier(part, classifier),
            candidates=[self._candidate(part, one) for one in said.get("candidates", [])],
            **self._rest(part),
        )

    def _classifier(self, part: Part, text: str) -> Component:
        if "/" in text:
            return self._other(part, "classifier", text)
        found = self._object(part, "classifier", text)
        name = f"{part.name}.classifier"
        return self._coded("code", name, found, {})

    def _candidate(self, part: Part, text: str) -> Component | str:
        is_slot = text.partition("/")[0] in KINDS and "/" in text
        return self._other(part, "candidates", text) if is_slot else text

    def _other(self, part: Part, key: str, slot: str) -> Component:
        if slot not in self._description.slots:
            raise self._error(
                part,
                key,
                f"it names {slot!r}, which no table describes.",
                f"Described are: {', '.join(sorted(self._description.slots))}.",
            )
        return self.component(slot)

    def _sampling(self, part: Part) -> Component:
        rest = self._rest(part)
        return sampling(part.name, **part.said.get("parameters", {}), **rest)

    def _stack(self, part: Part) -> Component:
        given = {
            key: part.said[key]
            for key in ("packages", "quantization", "accelerator", "driver")
            if key in part.said
        }
        return stack(part.name, **given, **self._rest(part))

    def _index(self, part: Part) -> Component:
        if "path" not in part.said:
            raise self._error(part, "", "nothing says what it is; it has path, uri or object.")
        return index(
            part.name,
            self._path(part),
            embedding_model=self._embedding_model(part),
            **self._rest(part),
        )

    def _embedding_model(self, part: Part) -> Component | str | None:
        text = part.said.get("embedding_model")
        if text is None or not text.startswith("embedding_model/"):
            return text if text is None else str(text)
        return self._other(part, "embedding_model", text)

    def _of_uri(self, part: Part) -> Component:
        """Return a component of files that lie elsewhere, as its constructor makes it of a path."""
        draft = Draft(part.kind, part.name, part.said.get("label"), part.said.get("digest"))
        draft.add(provider=part.said.get("provider"), model_id=part.said.get("model_id"))
        if part.kind == "index":
            trained = self._embedding_model(part)
            if isinstance(trained, Component):
                draft.add(embedding_model=draft.add_part("embedding_model", trained))
            elif trained is not None:
                draft.add(embedding_model={"name": trained})
        try:
            draft.add_hashed(self._looking.hash_at(part.said["uri"]))
        except PlaceError as error:
            raise self._unread(part, error) from error
        draft.add_settings(part.said.get("settings", {}))
        return draft.pin()

    def _of_object(self, part: Part, found: object) -> Component:
        if isinstance(found, Component):
            return self._ready(part, found)
        if part.kind in _FILE_KINDS:
            return self._coded(part.kind, part.name, found, self._rest(part))
        if isinstance(found, Source):
            raise NotLookedError(f"{part.said['object']} is not imported")
        wanted: Mapping[str, tuple[type, Callable[[Any], Component]]] = {
            "prompt": (str, lambda one: prompt(part.name, one, **self._rest(part))),
            "tools": (list, lambda one: tools(part.name, one, **self._rest(part))),
            "sampling": (dict, lambda one: sampling(part.name, **one, **self._rest(part))),
            "router": (object, lambda one: self._routing(part, one)),
            "index": (object, lambda one: self._live_index(part, one)),
        }
        kind, make = wanted.get(part.kind, (None, None))
        if kind is None or make is None or not isinstance(found, kind):
            words = _WORDS.get(part.kind, f"a component that mvtrace.{part.kind}() made")
            raise self._error(
                part,
                "object",
                f"{part.said['object']} is a {type(found).__name__}; it is {words}.",
            )
        return make(found)

    def _live_index(self, part: Part, found: object) -> Component:
        if not self._looking.asks_indexes:
            raise NotLookedError("a live index: compared where the application gives it")
        return index(
            part.name,
            found,
            collection=part.said.get("collection"),
            embedding_model=self._embedding_model(part),
            **self._rest(part),
        )

    def _coded(self, kind: str, name: str, found: object, rest: Mapping[str, Any]) -> Component:
        """Return code of an object, or of its source where it was not imported."""
        if not isinstance(found, Source):
            return _FILE_KINDS[kind](name, found, **rest)
        draft = Draft(kind, name, rest.get("label"), rest.get("digest"))
        draft.add_text("source", found.text)
        settings = {key: one for key, one in rest.items() if key not in ("label", "digest")}
        draft.add_settings(settings)
        return draft.pin()

    def _ready(self, part: Part, found: Component) -> Component:
        """Return a component that the repository's own code made."""
        if (found.kind, found.name) != (part.kind, part.name):
            raise self._error(
                part,
                "object",
                f"{part.said['object']} is the component {found.slot}.",
                f"Name the table [{found.kind}.{found.name}].",
            )
        if "settings" in part.said:
            raise self._error(part, "settings", "a component that code made has its own settings.")
        label = part.said.get("label")
        return found if label is None else dataclasses.replace(found, label=label)

    def _checked(self, part: Part, made: Component) -> Component:
        expected = part.said.get("digest")
        is_ready = "object" in part.said and part.kind not in _FILE_KINDS
        if expected is not None and is_ready and made.digest != expected:
            raise self._error(
                part, "digest", f"it is {expected}, but the component has {made.digest}."
            )
        return made

    def _rest(self, part: Part) -> dict[str, Any]:
        settings = part.said.get("settings", {})
        taken = {"label", "digest", "path", "policy", "candidates", "classifier", "provider"}
        taken |= {"model_id", "packages", "quantization", "accelerator", "driver", "lock"}
        taken |= {"collection", "embedding_model"}
        if clash := sorted(taken & settings.keys()):
            raise self._error(
                part, "settings", f"{clash[0]} is no setting: it is said in the table itself."
            )
        own = {key: part.said[key] for key in ("label", "digest") if key in part.said}
        return {**settings, **own}

    def _object(self, part: Part, key: str, target: str) -> object:
        try:
            return self._looking.object_at(target, self._description.folder)
        except ValueError as error:
            raise self._error(part, key, str(error)) from error

    def _path(self, part: Part) -> Path:
        place = self._description.folder / str(part.said["path"])
        if not os.path.exists(place):  # noqa: PTH110 (a Path raises where no file can be called so)
            raise self._error(
                part,
                "path",
                f"there is no file or folder at {part.said['path']!r}.",
                f"Paths are relative to the folder of {self._description.path.name}.",
            )
        return place

    def _source_key(self, part: Part) -> str:
        return "path" if "path" in part.said else "uri"

    def _text(self, part: Part) -> str:
        key = self._source_key(part)
        try:
            raw = self._path(part).read_bytes() if key == "path" else self._read(part)
            return raw.decode()
        except OSError as error:
            raise self._error(
                part, key, f"{part.said[key]!r} cannot be read: {error.strerror or error}."
            ) from error
        except UnicodeDecodeError as error:
            raise self._error(
                part, key, f"{part.said[key]!r} is not UTF-8 at byte {error.start}."
            ) from error

    def _read(self, part: Part) -> bytes:
        try:
            return self._looking.read_at(part.said["uri"])
        except PlaceError as error:
            raise self._unread(part, error) from error

    def _json(self, part: Part) -> object:
        text = self._text(part)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            key = self._source_key(part)
            raise self._error(part, key, f"{part.said[key]!r} is no JSON: {error}.") from error

    def _unread(self, part: Part, error: PlaceError) -> SystemFileError:
        hint = "Where it cannot be hashed, declare it: provider and model_id instead of uri."
        return self._error(
            part,
            "uri",
            f"{part.said['uri']!r} cannot be read: {error}.",
            hint if part.kind in _MODEL_KINDS else None,
        )

    def _error(
        self, part: Part, key: str, problem: str, hint: str | None = None
    ) -> SystemFileError:
        return self._description.error(part, key, problem, hint)


def composite_of(description: Description, looking: Looking | None = None) -> CompositeVersion:
    """Return the version that a description gives, every part of it looked at.

    Raises:
        SystemFileError: a part cannot be made.
        CompositeError: the parts make no version.
    """
    resolver = Resolver(description, looking)
    parts = [resolver.component(part.slot) for part in description.parts]
    edges: list[EdgeLike] = [
        (line.source, line.target) if line.role is None else (line.source, line.target, line.role)
        for line in description.edges
    ]
    return composite(description.name, *parts, edges=edges)


def is_declared(component: Component) -> bool:
    """Whether only somebody's word stands for a model: nothing of it was hashed."""
    return component.kind in _MODEL_KINDS and "artifact" not in component.facts
