"""The check itself, for the command: names to files and refs, and texts where they are asked for.

In: the command's options. Out: its exit code; the certificate is stored and its words are written.
Imported by ``mvtrace leakage`` when it runs, since it needs an extra.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from mvtrace.cli import listing
from mvtrace.cli.certificates import certificate_words
from mvtrace.cli.errors import CommandLineError
from mvtrace.cli.inert import inert, json_text
from mvtrace.cli.registering import asker, register
from mvtrace.registry.leakage.certificates import Check, certificate
from mvtrace.registry.leakage.checking import check as compare
from mvtrace.registry.leakage.methods import Settings
from mvtrace.registry.leakage.showing import Shown, shown
from mvtrace.registry.leakage.sides import Side
from mvtrace.registry.lineage.naming import named
from mvtrace.registry.reading import Ask

_MOST_CHARACTERS: Final = 400
_FAILED: Final = 1


def separate(
    *, eval_: str, train: Sequence[str], url: str | None, local: bool, **options: Any
) -> int:
    """Compare, store the certificate, write what was found; return the exit code."""
    settings = Settings(
        threshold=options["threshold"],
        shingle=options["shingle"],
        permutations=options["permutations"],
        run=options["run"],
        contained=options["contained"],
        columns=options["columns"],
    )
    ask = None if local else asker(url, None)
    found = compare(
        _side(ask, eval_),
        [_side(ask, text) for text in train],
        settings,
        ask=ask,
        jobs=options["jobs"],
    )
    entry = certificate(found)
    if not local:
        register([entry], url=url)
    said = {"certificate": entry.ref.digest, **entry.said}
    texts = shown(found) if options["show"] else []
    if options["as_json"]:
        listing.write(
            json_text({**said, "texts": [one._asdict() for one in texts]} if texts else said)
        )
    else:
        listing.write(certificate_words(said))
        listing.write("".join(_text_words(texts)))
        stored = "is not stored" if local else "is stored"
        listing.write(f"\ncertificate:{entry.ref.digest} {stored}.\n")
    return _code(found, allow=options["allow"], strict=options["strict"])


def _side(ask: Ask | None, text: str) -> Side:
    """Return what *text* names: a path that exists, else a thing of the registry."""
    if os.path.exists(text):  # noqa: PTH110 (a Path raises where no file can be called so)
        return Side(text, path=Path(text))
    if ask is None:
        raise CommandLineError(
            f"There is no file or folder at {text!r}.",
            hint="Without --local a ref or a name is looked up in the registry.",
        )
    one = named(ask, text)
    return Side(text, ref=one.composite or one.ref, name=one.name)


def _code(found: Check, *, allow: int, strict: bool) -> int:
    overlap = found.overlap + (found.removed if strict else 0)
    is_bad = overlap > allow or found.is_made_of_eval or (strict and not found.is_complete)
    return _FAILED if is_bad else 0


def _text_words(texts: Sequence[Shown]) -> Iterator[str]:
    for one in texts:
        yield f"\nexample {one.position + 1:,}, {inert(one.how)} {one.similarity:.2f}\n"
        yield f"  eval   {inert(_cut(one.eval_text))}\n"
        yield f"  train  {inert(_cut(one.training_text))}\n"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."
