"""``mvtrace diff``: what differs between two versions, component by component.

In: what names each of them. Out: facts by key, prompts and policies as unified diffs, artifacts by
file; as text, every line of a stranger's text inert, or as JSON.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker
from mvtrace.cli.show import cut
from mvtrace.cli.text import aligned
from mvtrace.cli.words import digest_words, version_words
from mvtrace.errors import UnavailableError
from mvtrace.registry.pin.differing import Diff, PartDiff
from mvtrace.registry.pin.differing import diff as differing
from mvtrace.registry.pin.naming import Named, moment_words, named
from mvtrace.registry.pin.versions import TextRef, read_texts
from mvtrace.registry.reading import Ask

MAX_LINES: Final = 400
"""Of one text's diff; --json has all."""
MAX_FILES: Final = 40


@click.command(epilog="Example: mvtrace diff production@2026-08-01 production@now")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True)
@click.option("--url", metavar="URL", help="A collector (MVTRACE_URL, else 127.0.0.1:4318).")
@click.option("--store", metavar="DSN", help="Read this store directly.")
def diff(*, before: str, after: str, as_json: bool, url: str | None, store: str | None) -> None:
    """Say what differs from A to B: facts by key, prompts and policies line by line.

    A and B are versions (8 digits or more), lock files, deployments, request ids, or what served:
    prod@2026-08-01, service/prod@2026-08-01T10:00.
    """
    ask = asker(url, store)
    now_ms = time.time_ns() // 1_000_000
    one, other = (named(ask, text, now_ms=now_ms) for text in (before, after))
    reader = _Texts(ask, is_needed=not (one.lock and other.lock))
    found = differing(one.version, other.version, reader.read)
    if as_json:
        said = found.to_dict() | {"asked": [_asked(one), _asked(other)]}
        listing.write(json_text(said | {"problem": reader.problem or None}))
    else:
        listing.write(diff_words(found, [one, other], reader.problem))


class _Texts:
    """Reads texts; two locks compare also where no collector answers."""

    def __init__(self, ask: Ask, *, is_needed: bool) -> None:
        self._ask = ask
        self._is_needed = is_needed
        self.problem = ""

    def read(self, references: Iterable[TextRef]) -> Mapping[str, str]:
        try:
            return read_texts(self._ask, references)
        except UnavailableError as error:
            if self._is_needed:
                raise
            self.problem = f"Texts are not compared: {error.message}"
            return {}


def diff_words(found: Diff, named_ones: Sequence[Named], problem: str = "") -> str:
    """Return a diff as text."""
    heads = [f"{sign} {_head(one)}" for sign, one in zip(("-", "+"), named_ones, strict=True)]
    paragraphs = ["\n".join(heads)]
    unknown = [one for one in (found.before, found.after) if not one.is_known]
    if found.is_same:
        paragraphs.append("Both are one version: nothing differs.")
    elif unknown:
        shorts = " and ".join(version_words(one.version) for one in unknown)
        paragraphs.append(f"Not registered, so nothing is known to compare: {shorts}.")
        return "\n\n".join(paragraphs) + "\n"
    paragraphs += ["\n".join(_part_lines(one)) for one in found.parts]
    if found.edges:
        paragraphs.append("\n".join(["edges", *(f"  {inert(one)}" for one in found.edges)]))
    if problem:
        paragraphs.append(inert(problem))
    return "\n\n".join(paragraphs) + "\n"


def _head(one: Named) -> str:
    version = one.version
    words = version_words(version.version) + (f"   {inert(version.name)}" if version.name else "")
    if one.how == "serving" and one.deployment and one.at_ms is not None:
        place = f"{one.deployment.decision.service} in {one.deployment.decision.environment}"
        return f"{words}   served {inert(place)} at {moment_words(one.at_ms)}"
    if one.how == "request":
        return f"{words}   served request {inert(one.request_id)}"
    if one.how == "deployment" and one.deployment:
        return f"{words}   of deployment {inert(one.deployment.event_id)}"
    return f"{words}   {inert(Path(one.text).name)}" if one.how == "lock" else words


def _part_lines(one: PartDiff) -> list[str]:
    before, after = one.before, one.after
    sides = [digest_words(side.digest) if side else "nothing" for side in (before, after)]
    labels = [inert(side.label) if side and side.label else "" for side in (before, after)]
    head = f"{inert(one.slot)}  {one.change}"
    head += f"  {sides[0]} -> {sides[1]}" if one.change != "relabelled" else ""
    if labels[0] != labels[1]:
        head += f"  label {labels[0] or 'none'} -> {labels[1] or 'none'}"
    rows = [[inert(f.key), _value(f.before), "->", _value(f.after)] for f in one.facts]
    lines = [head, *(f"  {line}" for line in aligned(rows))]
    for text in one.texts:
        lines.append(f"  {inert(text.key)}" + (f"  {inert(text.note)}" if text.note else ""))
        lines += [f"    {inert(line)}" for line in text.lines[:MAX_LINES]]
        if len(text.lines) > MAX_LINES:
            lines.append(f"    ({len(text.lines) - MAX_LINES:,} more lines; --json has all)")
    lines += _file_lines(one)
    return [*lines, f"  {one.note}"] if one.note else lines


def _file_lines(one: PartDiff) -> list[str]:
    rows = [
        [inert(file.path), _bytes(file.before), "->", _bytes(file.after)]
        for file in one.files[:MAX_FILES]
    ]
    lines = [f"  {line}" for line in aligned(rows)]
    more = len(one.files) - MAX_FILES
    return [*lines, f"  ({more:,} more files; --json has all)"] if more > 0 else lines


def _value(text: str | None) -> str:
    if text is None:
        return "nothing"
    return digest_words(text[1:-1]) if text.startswith('"sha256:') else cut(text)


def _bytes(size: int | None) -> str:
    return "nothing" if size is None else f"{size:,} bytes"


def _asked(one: Named) -> dict[str, Any]:
    return {
        "text": one.text,
        "how": one.how,
        "request_id": one.request_id,
        "deployment": one.deployment.event_id if one.deployment else None,
        "at": None if one.at_ms is None else moment_words(one.at_ms),
    }
