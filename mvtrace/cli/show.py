"""``mvtrace show``: everything that is known of one version, or of what versions are made of.

In: what names it. Out: its components with labels and facts, where its artifacts lie, what it was
made from, where it was deployed; as text or as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.text import aligned
from mvtrace.cli.words import digest_words, plural, time_words, version_words
from mvtrace.errors import UnavailableError
from mvtrace.registry.pin.naming import Named, named, ref_of
from mvtrace.registry.pin.showing import component_shown, entry_shown, version_shown
from mvtrace.registry.pin.versions import as_text_ref
from mvtrace.registry.reading import Ask

URL = click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
STORE = click.option("--store", metavar="DSN", help="Read this store directly.")
JSON = click.option("--json", "as_json", is_flag=True)
_MAX_FACTS: Final = 4
_MAX_CELL: Final = 60
_OWN: Final = ("composite", "request")


@click.command(epilog="Example: mvtrace show production@2026-08-01")
@click.argument("what")
@click.option("--texts", is_flag=True, help="With the registered texts: prompts, tools, sources.")
@JSON
@URL
@STORE
def show(*, what: str, texts: bool, as_json: bool, url: str | None, store: str | None) -> None:
    """Say what a version is made of, where its artifacts lie, and where it was deployed.

    WHAT is a version (8 digits or more), a lock file, a deployment, a request id, what served
    (prod@2026-08-01, service/prod@now), or a ref such as component:… or dataset:….
    """
    ask = asker(url, store)
    found = _found(ask, what, with_texts=texts)
    listing.write(json_text(found) if as_json else shown_words(found))


def _found(ask: Ask, what: str, *, with_texts: bool) -> dict[str, Any]:
    ref = ref_of(f"component:{what}" if what.startswith("sha256:") else what)
    if ref is not None and ref.kind not in _OWN:
        if ref.kind == "component":
            return component_shown(ask, ref.digest)
        return entry_shown(ask, ref)
    one = named(ask, what, now_ms=time.time_ns() // 1_000_000)
    return _version(ask, one, with_texts=with_texts)


def _version(ask: Ask, one: Named, *, with_texts: bool) -> dict[str, Any]:
    try:
        return version_shown(ask, one, with_texts=with_texts)
    except UnavailableError:
        if one.how != "lock":
            raise
        return version_shown(None, one) | {"unavailable": True}


def shown_words(found: Mapping[str, Any]) -> str:
    """Return what is known of anything as text."""
    if "version" in found:
        sections = _version_sections(found)
    elif found["kind"] == "component":
        sections = _component_sections(found)
    else:
        sections = [[f"{inert(found['ref'])}"]]
        sections += [["says", *_indented(json.dumps(one, indent=2))] for one in found["says"]]
        sections += [_lines("places", [[inert(one["uri"])] for one in found["places"]])]
        sections += _edge_sections(found)
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _version_sections(found: Mapping[str, Any]) -> list[list[str]]:
    head = f"version {inert(found['version'])}"
    head += f"   {inert(found['name'])}" if found["name"] else ""
    lines = [head, *_how(found)]
    if not found["is_registered"]:
        lines.append("It is not registered: what it is made of is not known.")
    if found.get("unavailable"):
        lines.append("No collector answers: this is what the lock says.")
    unregistered = set(found.get("unregistered_texts", ()))
    rows = [
        [
            inert(one["slot"]),
            digest_words(one["digest"]),
            inert(one["label"] or ""),
            facts_words(one),
            _missing_words(one, unregistered),
        ]
        for one in found["components"]
    ]
    edges = [
        [f"{inert(one['from'])} -> {inert(one['to'])}", inert(one["role"])]
        for one in found["edges"]
    ]
    return [
        lines,
        _lines("components", rows),
        _lines("edges", edges),
        _lines("artifacts", _place_rows(found.get("places", ()))),
        *_text_sections(found.get("texts", ())),
        _lines("provenance", _provenance_rows(found["components"])),
        *_edge_sections(found),
        _lines("deployments", [_deployment_row(one) for one in found.get("deployments", ())]),
    ]


def _how(found: Mapping[str, Any]) -> list[str]:
    """Return what led to the version, in words."""
    decided = found["deployment"]
    if found["how"] == "request":
        return [f"It served request {inert(found['request_id'])}."]
    if found["how"] == "lock":
        return [f"It is what {inert(found['asked'])} pins."]
    if decided is None:
        return []
    place = f"{inert(decided['service'])} in {inert(decided['environment'])}"
    if found["how"] == "deployment":
        return [f"It is what deployment {inert(decided['event_id'])} was about, {place}."]
    lines = [f"It served {place} at {time_words(found['at'])}."]
    if canary := found["canary"]:
        lines.append(
            f"{canary['share']:.3g} of the requests had the canary "
            f"{version_words(canary['composite_version'])}."
        )
    return lines


def _component_sections(found: Mapping[str, Any]) -> list[list[str]]:
    rows = [[version_words(one["version"]), inert(one["name"])] for one in found["versions"]]
    return [
        [f"component {inert(found['digest'])}"],
        ["facts", *_indented(json.dumps(found["facts"], indent=2, ensure_ascii=False))],
        _lines("artifacts", _place_rows(found["places"])),
        *_text_sections(found["texts"]),
        _lines("in versions", rows),
        *_edge_sections(found),
    ]


def _text_sections(texts: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    sections = []
    for one in texts:
        head = f"text {inert(one['key'])}   {digest_words(one['digest'])}   {one['bytes']:,} bytes"
        body = ["  (not registered)"] if one["text"] is None else _indented(one["text"])
        sections.append([head, *body])
    return sections


def _edge_sections(found: Mapping[str, Any]) -> list[list[str]]:
    def rows(edges: Sequence[Mapping[str, str]]) -> list[list[str]]:
        return [[_ref_words(one["ref"]), inert(one["role"])] for one in edges]

    return [
        _lines("made from", rows(found.get("parents", ()))),
        _lines("made into", rows(found.get("children", ()))),
    ]


def _ref_words(ref: str) -> str:
    kind, _, digest = ref.partition(":")
    return inert(f"{kind}:{digest[:12]}")


def _place_rows(places: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            inert(", ".join(one["slots"])),
            f"artifact:{inert(one['artifact'][:12])}",
            f"{one['bytes']:,} bytes" if isinstance(one["bytes"], int) else "",
            inert(", ".join(one["uris"])) or "nobody said where it lies",
        ]
        for one in places
    ]


def _provenance_rows(parts: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            inert(part["slot"]),
            inert(note.get("source", "")),
            inert(note.get("basis", "")),
            cut(json.dumps(note.get("facts", {}), ensure_ascii=False)),
        ]
        for part in parts
        for note in part["provenance"]
        if isinstance(note, dict)
    ]


def _deployment_row(one: Mapping[str, Any]) -> list[str]:
    share = "" if one["share"] == 1 else f"{one['share']:.3g} of the requests"
    place = f"{inert(one['service'])} in {inert(one['environment'])}"
    by = one["actor"] + (f" ({one['actor_label']})" if one["actor_label"] else "")
    reason = inert(one["reason"])
    return [time_words(one["at"]), inert(one["action"]), place, share, f"by {inert(by)}", reason]


def facts_words(part: Mapping[str, Any]) -> str:
    """Return the first facts of a component as ``key value`` pairs."""
    if not part["is_registered"]:
        return "(not registered)"
    words = []
    for key, value in list(part["facts"].items())[:_MAX_FACTS]:
        text = as_text_ref(value, key)
        if text is not None:
            words.append(f"{inert(key)} {plural(text.size, 'byte')}")
        elif key == "artifact" and isinstance(value, dict):
            files = value.get("files")
            words.append(f"artifact {plural(files, 'file')}" if type(files) is int else "artifact")
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            words.append(f"{inert(key)} {cut(shown)}")
    return ", ".join(words)


def _missing_words(part: Mapping[str, Any], unregistered: set[str]) -> str:
    keys = [one for one in unregistered if one.startswith(f"{part['slot']}.")]
    return "its text is not registered" if keys else ""


def cut(text: str) -> str:
    """Return *text* inert and short enough for a cell."""
    shown = inert(text)
    return shown if len(shown) <= _MAX_CELL else shown[: _MAX_CELL - 1] + "…"


def _lines(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    return [title, *(f"  {line}" for line in aligned(rows))] if rows else []


def _indented(text: str) -> list[str]:
    return [f"  {inert(line)}" for line in text.removesuffix("\n").split("\n")]
