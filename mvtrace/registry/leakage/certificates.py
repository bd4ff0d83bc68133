"""A certificate: that an eval was compared with training data, how, what was found, what not.

In: what was compared and tallied. Out: the entry of kind ``certificate``. It holds no text of
either side: digests of rows, positions and counts. The same check of the same data by the same
versions gives the same certificate; when it was made is when it was received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.leakage.examples import Examples
from mvtrace.registry.leakage.matching import Matched
from mvtrace.registry.leakage.methods import Settings, versions
from mvtrace.registry.leakage.tallying import Sign, Tally, tally
from mvtrace.registry.refs import Ref

KIND: Final = "certificate"
MAX_LISTED: Final = 100
"""Examples a certificate names; it counts all."""
MAX_SOURCES: Final = 500
ASKED: Final = "asked"
"""Training data the check was asked about."""
TRAINED: Final = "trained"
"""Data that a model was made from, of which the check was asked about."""
ANCESTOR: Final = "ancestor"
"""What training data was made from, or an ancestor of a model was trained on."""
VERSION: Final = "version"
"""Another dataset of the same name."""
SHARED: Final = "shared"
"""What both the eval and the training data were made from: it holds both, and proves nothing."""
BESIDE: Final = (VERSION, SHARED)
"""Relations of what is no training data, nor what that alone was made from."""
RELATIONS: Final = (ASKED, TRAINED, ANCESTOR, VERSION, SHARED)

CANNOT_PROVE: Final = (
    "paraphrase: the same said in other words",
    "translation: the same said in another language",
    "data that was not at hand, and whatever no lineage records",
    "what a base model was trained on before: nobody has its corpus here",
    "texts that are no texts here: pictures, sound, numbers alone, other encodings",
    "near-duplicates below the threshold, and those the sampling misses at the stated rate",
)
SHARED_WORDS: Final = (
    "that overlap came from training: a template or a quotation that both have is overlap too"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Training data, or what it was made from."""

    ref: Ref | None
    name: str
    relation: str
    why: str = ""
    """Why it could not be compared; empty where it was."""
    path: Path | None = None
    """Where it was read."""
    found: Matched = field(default_factory=Matched)

    @property
    def is_counted(self) -> bool:
        """Whether what it holds counts as overlap."""
        return not self.why and self.relation in (ASKED, TRAINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check that was made."""

    tested: Ref
    name: str
    examples: Examples
    versions: Sequence[Ref]
    """Of the eval, and its earlier versions that were compared too, in the examples' order."""
    asked: Sequence[Ref]
    sources: Sequence[Source]
    settings: Settings
    tally: Tally
    """Over the sources that count, by their place among all sources."""
    made_from: Tally
    """Over what these were made from."""
    path: Path | None = None
    """Where the eval was read."""
    crowded: int = 0
    is_made_of_eval: bool = False
    """Whether the lineage names the eval itself among what the training data was made from."""
    lineage: bool = True
    """Whether the ancestry was asked for."""
    unread_versions: Sequence[tuple[Ref, str]] = ()
    """Earlier versions of the eval that could not be read, and why."""

    @property
    def overlap(self) -> int:
        """How many examples of the eval itself were met in data that counts."""
        return self.tally.counts(self.examples)["examples"]  # type: ignore[no-any-return]

    @property
    def removed(self) -> int:
        """How many of its examples were met in what the data that counts was made from alone."""
        own = {n for n in self.made_from.signs if self.examples.each[n].version == 0}
        return len(own - self.tally.signs.keys())

    @property
    def is_complete(self) -> bool:
        """Whether all training data, and all that the lineage says it was made from, was compared.

        What is beside it does not count: other versions of either side, and a shared origin. Nor do
        the bounds that comparing met, which the certificate states.
        """
        return self.lineage and not any(
            one.why for one in self.sources if one.relation not in BESIDE
        )


def certificate(check: Check) -> Entry:
    """Return the entry of *check*.

    Raises:
        RegistryError: it has too many sources for one entry.
    """
    examples = check.examples
    said: dict[str, Any] = {
        "name": check.name,
        "eval": str(check.tested),
        "root": check.versions[0].digest,
        "examples": examples.count(),
        "train": [str(ref) for ref in check.asked],
        "method": check.settings.to_dict(),
        "compared": {
            "columns": list(examples.columns),
            "constant_columns": list(examples.constant),
            "short_texts": examples.short,
            "shared_texts": examples.shared,
        },
        "libraries": dict(versions()),
        "checked": [_checked(check, one) for one in check.sources if not one.why],
        "not_checked": [_unchecked(one) for one in check.sources if one.why],
        "versions": _versions(check),
        "found": _found(check),
        "limits": _limits(check),
        "lineage": check.lineage,
        "made_of_eval": check.is_made_of_eval,
        "complete": check.is_complete,
        "cannot_prove": [*CANNOT_PROVE, SHARED_WORDS],
    }
    return entry_of(KIND, {**said, "listed": _listed(check)})


def _checked(check: Check, one: Source) -> dict[str, Any]:
    return {
        "ref": str(one.ref),
        "name": one.name,
        "relation": one.relation,
        "rows": one.found.rows,
        "found": tally(check.examples, [one.found]).counts(check.examples)["examples"],
        "overlapping_rows": one.found.overlapping,
    }


def _unchecked(one: Source) -> dict[str, Any]:
    ref = None if one.ref is None else str(one.ref)
    return {"ref": ref, "name": one.name, "relation": one.relation, "why": one.why}


def _versions(check: Check) -> list[dict[str, Any]]:
    compared = [
        {
            "ref": str(ref),
            "examples": check.examples.count(number),
            "found": check.tally.counts(check.examples, number)["examples"],
        }
        for number, ref in enumerate(check.versions)
        if number
    ]
    return [*compared, *({"ref": str(ref), "why": why} for ref, why in check.unread_versions)]


def _found(check: Check) -> dict[str, Any]:
    counted = [one.found for one in check.sources if one.is_counted]
    return {
        **check.tally.counts(check.examples),
        "whole_rows": check.tally.rows,
        "pairs": check.tally.pairs,
        "by_column": check.tally.by_column,
        "only_in_ancestors": check.removed,
        "training_rows": sum(one.overlapping for one in counted),
        "rows_compared": sum(one.rows for one in counted),
    }


def _limits(check: Check) -> dict[str, int]:
    """Return where a bound was met, so that something may have been missed."""
    return {
        "crowded_texts": check.crowded,
        "texts_with_more_candidates": sum(one.found.cut for one in check.sources),
    }


def _listed(check: Check) -> list[dict[str, Any]]:
    """Return the first examples of the eval that were met, the surest first."""
    own = [
        (number, sign)
        for number, sign in check.tally.signs.items()
        if check.examples.each[number].version == 0
    ]
    own.sort(key=lambda one: (one[1].order, one[0]))
    return [_line(check, number, sign) for number, sign in own[:MAX_LISTED]]


def _line(check: Check, number: int, sign: Sign) -> dict[str, Any]:
    example = check.examples.each[number]
    return {
        "example": example.digest.hex(),
        "position": example.position,
        "column": sign.column,
        "how": sign.how,
        "similarity": round(sign.similarity, 4),
        "source": str(check.sources[sign.source].ref),
        "row": sign.row,
    }
