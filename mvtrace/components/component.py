"""Component: one behaviour-affecting part, pinned by the digest of its canonical body.

In: a Draft, into which a constructor puts facts, texts, files and other components. Out: a frozen
Component, or a ComponentError and nothing at all. What each kind pins is said by its constructor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any, Final

from mvtrace.components.artifact import Artifact, hash_artifact
from mvtrace.components.content import PIECE_BYTES, Content, pin_content
from mvtrace.components.provenance.note import Note
from mvtrace.components.provenance.sources import of_artifact
from mvtrace.digest import COMPONENT_DOMAIN, canonical_bytes, digest_of, parse_canonical
from mvtrace.errors import CanonicalFormError, ComponentError

KINDS: Final = (
    "model",
    "embedding_model",
    "index",
    "prompt",
    "tools",
    "router",
    "postprocess",
    "guardrail",
    "sampling",
    "stack",
    "code",
    "custom",
)
MAX_BODY_BYTES: Final = PIECE_BYTES
"""A body travels in one event, together with its attributes and what relays add."""
MAX_NAME_LENGTH: Final = 200

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a system in its slot (*kind* and *name*), named by the *digest* of its *body*.

    Laws: ``digest == digest_of(COMPONENT_DOMAIN, body)``; neither *name* nor *label* is in *body*.
    """

    kind: str
    name: str
    digest: str
    body: bytes = field(repr=False)
    """Canonical JSON ``{"facts": {...}, "kind": "..."}``."""
    contents: tuple[Content, ...] = field(default=(), repr=False)
    """The pieces of text that *body* refers to by digest."""
    label: str | None = None
    """What people call this state ("v7"); in no digest."""
    source: object | None = field(default=None, compare=False, repr=False)
    """The live thing behind it: an ObservedIndex, the text of a prompt; else None."""
    parts: tuple[Component, ...] = field(default=(), repr=False)
    """Components that this one pins: a router's candidates, an index's embedding model."""
    roles: tuple[str, ...] = field(default=(), repr=False)
    """What each of *parts* is to this component: the role of the edge to it."""
    provenance: tuple[Note, ...] = field(default=(), compare=False, repr=False)
    """Where it comes from; in no digest."""

    def __post_init__(self) -> None:
        """Refuse a component put together by hand that breaks a law: none such is registered."""
        _check_slot(self.kind, self.name, self.label)
        found = digest_of(COMPONENT_DOMAIN, self.body)
        if self.digest != found:
            raise ComponentError(
                self.kind, self.name, f"its digest is {self.digest}, but its body has {found}."
            )
        if not self.body.endswith(f'"kind":"{self.kind}"}}'.encode()):
            raise ComponentError(self.kind, self.name, "its body is of another kind.")

    @property
    def slot(self) -> str:
        """``kind/name``, the place in a manifest that one component takes."""
        return f"{self.kind}/{self.name}"

    @property
    def facts(self) -> dict[str, Any]:
        """A fresh copy of the pinned facts."""
        facts: dict[str, Any] = parse_canonical(self.body)["facts"]
        return facts

    def render(self, **values: object) -> str:
        """Return a prompt's template with every placeholder filled from *values*.

        Raises:
            ComponentError: this is no prompt, a placeholder has no value, or braces do not match.

        """
        if self.kind != "prompt" or not isinstance(self.source, str):
            raise ComponentError(
                self.kind,
                self.name,
                "it has no template to render.",
                hint="Only a component made by mvtrace.prompt() renders.",
            )
        try:
            missing = sorted(_placeholders(self.source) - values.keys())
            if not missing:
                return self.source.format_map(values)
        except (ValueError, LookupError, AttributeError) as error:
            raise ComponentError(
                self.kind,
                self.name,
                f"its template cannot be filled: {error}.",
                hint="Write a brace that is meant as text twice: {{ or }}.",
            ) from error
        raise ComponentError(
            self.kind,
            self.name,
            f"its template has no value for {', '.join(missing)}; "
            f"given: {', '.join(sorted(values)) or 'none'}.",
            hint=f"Pass {missing[0]}=… to render(), or write {{{{ }}}} where a brace is text.",
        )


@dataclass(slots=True)
class Draft:
    """A component being made: gathers facts and what they refer to, then becomes it in pin()."""

    kind: str
    name: str
    label: str | None = None
    expected: str | None = None
    """Digest the caller says it must have: the component's, the artifact's or the file's."""
    facts: dict[str, Any] = field(default_factory=dict)
    contents: list[Content] = field(default_factory=list)
    parts: list[Component] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    artifact: Artifact | None = None
    provenance: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a slot that cannot be, before anything is hashed."""
        _check_slot(self.kind, self.name, self.label)
        if self.expected is not None and not _DIGEST.fullmatch(self.expected):
            raise self.error(
                f"the expected digest is {self.expected!r}; "
                "a digest is 'sha256:' and 64 lower-case hex digits.",
                hint="sha256sum FILE prints the hex digits of a file.",
            )

    def error(self, problem: str, *, hint: str | None = None) -> ComponentError:
        """Return the error of this component."""
        return ComponentError(self.kind, str(self.name), problem, hint=hint)

    def add(self, **facts: object) -> None:
        """Add the *facts* that are not None."""
        self.facts.update({key: value for key, value in facts.items() if value is not None})

    def add_settings(self, settings: Mapping[str, object], key: str = "settings") -> None:
        """Add the caller's own facts under *key*; None among them was said and is kept."""
        if settings:
            self.facts[key] = dict(settings)

    def add_text(self, key: str, text: str) -> None:
        """Add *text* as a content reference."""
        try:
            pinned = pin_content(text)
        except ValueError as error:
            raise self.error(
                str(error), hint="Put bytes, and large data, into a file and pin its path."
            ) from error
        self.facts[key] = pinned.reference
        self.contents.extend(pinned.pieces)

    def add_artifact(self, path: str | os.PathLike[str]) -> None:
        """Add the file or folder at *path* by its content."""
        try:
            artifact = hash_artifact(path)
        except (OSError, ValueError) as error:
            raise self.error(
                _artifact_problem(error, path),
                hint="Check the path: it must be a readable file, or a folder with files.",
            ) from error
        self.provenance.extend(of_artifact(Path(path), artifact.listing))
        self.add_hashed(artifact)

    def add_hashed(self, artifact: Artifact) -> None:
        """Add files that were hashed already, wherever they lie."""
        try:
            listing = pin_content(artifact.listing.decode())
        except ValueError as error:
            raise self.error(str(error), hint="Pin fewer files, or an archive of them.") from error
        self.artifact = artifact
        self.contents.extend(listing.pieces)
        self.facts["artifact"] = {
            "digest": artifact.digest,
            "bytes": artifact.total_bytes,
            "files": artifact.files,
            "listing": listing.reference,
        }

    def add_part(self, role: str, part: Component) -> dict[str, Any]:
        """Note that this component pins *part*; returns how facts refer to it."""
        self.parts.append(part)
        self.roles.append(role)
        return {"component": part.slot, "digest": part.digest}

    def pin(self, source: object | None = None) -> Component:
        """Return the component, or raise a ComponentError."""
        try:
            body = canonical_bytes({"kind": self.kind, "facts": self.facts})
        except CanonicalFormError as error:
            raise self.error(
                error.message[:1].lower() + error.message[1:], hint=error.hint
            ) from error
        if len(body) > MAX_BODY_BYTES:
            raise self.error(
                f"its facts take {len(body):,} bytes; a component has at most {MAX_BODY_BYTES:,}.",
                hint="Put large data into a file and pin its path.",
            )
        digest = digest_of(COMPONENT_DOMAIN, body)
        self._check_expected(digest)
        return Component(
            kind=self.kind,
            name=self.name,
            digest=digest,
            body=body,
            contents=tuple({content.digest: content for content in self.contents}.values()),
            label=self.label,
            source=source,
            parts=tuple(self.parts),
            roles=tuple(self.roles),
            provenance=tuple(self.provenance),
        )

    def _check_expected(self, digest: str) -> None:
        if self.expected is None:
            return
        known = {"the component has": digest}
        if self.artifact is not None:
            known = {"the files have": self.artifact.digest, **known}
            if self.artifact.file_digest is not None:
                known = {"the file has": self.artifact.file_digest, **known}
        if self.expected not in known.values():
            what, found = next(iter(known.items()))
            raise self.error(
                f"the digest must be {self.expected}, but {what} {found}.",
                hint="Pin the state that was meant, or correct digest=…; nothing was registered.",
            )


def _check_slot(kind: str, name: str, label: str | None) -> None:
    """Refuse a slot or a label that cannot be."""
    if kind not in KINDS:
        raise ComponentError(
            str(kind),
            str(name),
            "there is no such kind.",
            hint=f"Kinds are: {', '.join(KINDS)}.",
        )
    if not _is_line(name):
        raise ComponentError(
            kind,
            str(name),
            f"a name is one line of 1 to {MAX_NAME_LENGTH} printable characters.",
            hint="The name is the slot in the manifest, such as 'answer' or 'topics'.",
        )
    if label is not None and not _is_line(label):
        raise ComponentError(
            kind,
            name,
            f"its label is {label!r}; "
            f"a label is one line of 1 to {MAX_NAME_LENGTH} printable characters.",
        )


def _is_line(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MAX_NAME_LENGTH and text.isprintable()


def _placeholders(template: str) -> set[str]:
    """Return the first names of all fields of *template*, those inside format specs too."""
    names: set[str] = set()
    for _, name, spec, _ in Formatter().parse(template):
        if name is None:
            continue
        first = re.split(r"[.\[]", name, maxsplit=1)[0]
        if not first or first.isdigit():
            raise ValueError(f"the field {{{name}}} has no name")
        names.add(first)
        names |= _placeholders(spec or "")
    return names


def _artifact_problem(error: OSError | ValueError, path: str | os.PathLike[str]) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file or folder at {str(error.filename or path)!r}."
    if isinstance(error, OSError):
        return f"{str(error.filename or path)!r} cannot be read: {error.strerror or error}."
    return str(error)
