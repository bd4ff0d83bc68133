"""A certificate of separation in words; what it says is all that is known here.

In: what the entry says. Out: text. It never has a word of the data: digests, positions, counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mvtrace.cli.inert import inert
from mvtrace.cli.text import aligned, table_text
from mvtrace.cli.words import SHORT, plural, time_words
from mvtrace.errors import CheckFailedError

_WAYS: Final = {
    "exact": "the same text",
    "normalized": "the same but for case, space and punctuation",
    "near": "nearly the same",
    "contained": "contained in a longer text",
}
_RELATIONS: Final = {
    "asked": "training data",
    "trained": "trained on",
    "ancestor": "made from",
    "version": "other version",
    "shared": "shared origin",
}
_SHOWN: Final = 10
_COLUMNS: Final = (
    *("certificate", "at", "by", "eval", "examples", "found", "datasets", "complete"),
)


def ref_words(ref: str | None) -> str:
    """Return a ref with its first 12 digits."""
    kind, _, digest = (ref or "").partition(":")
    return inert(f"{kind}:{digest[:SHORT]}") if digest else "unknown"


def certificate_words(said: Mapping[str, Any]) -> str:
    """Return what a certificate says.

    Raises:
        CheckFailedError: it says what no certificate of this version does.
    """
    try:
        return _words(said)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckFailedError(
            "The stored certificate is not one that this version can read "
            f"({type(error).__name__}: {error}).",
            hint="'mvtrace leakage show --json' prints what it says.",
        ) from error


def _words(said: Mapping[str, Any]) -> str:
    lines = [*_head(said), "", *_sources(said), "", *_found(said), *_listed(said)]
    lines += ["", "It cannot prove the absence of:"]
    lines += _indented([inert(one) for one in said["cannot_prove"][:-1]])
    return "\n".join(lines) + "\n"


def stored_words(one: Mapping[str, Any]) -> str:
    """Return a stored certificate: what it is called, when and under which key it came, and itself.

    Raises:
        CheckFailedError: it says what no certificate of this version does.
    """
    _, when, by, _ = _where(one)
    head = f"certificate:{inert(one['certificate'])}\nstored {when} by {by}\n\n"
    return head + certificate_words(one["said"])


def certificates_words(found: Sequence[Mapping[str, Any]], limit: int) -> str:
    """Return a list of certificates."""
    if not found:
        return "No certificate is stored.\n"
    rows = [[*_where(one), *_numbers(one)] for one in found]
    more = f"\n(the newest {limit:,}; --limit shows more)\n" if len(found) == limit else ""
    return table_text(_COLUMNS, rows) + more


def _where(one: Mapping[str, Any]) -> list[str]:
    said = one["said"]
    return [
        one["certificate"][:SHORT],
        time_words(one["received_at"].replace(" ", "T")),
        inert(one["by"]),
        inert(said.get("name", "")),
    ]


def _numbers(one: Mapping[str, Any]) -> list[str]:
    """Return the numbers of a certificate, none where somebody wrote one by hand that has none."""
    said = one["said"]
    try:
        return [
            f"{said['examples']:,}",
            f"{said['found']['examples']:,}",
            str(len(said["checked"])),
            "yes" if said["complete"] else "no",
        ]
    except (LookupError, TypeError, ValueError):
        return ["cannot be read", "", "", ""]


def _head(said: Mapping[str, Any]) -> Iterator[str]:
    compared, method = said["compared"], said["method"]
    columns = ", ".join(map(inert, compared["columns"])) or "whole rows"
    yield (
        f"eval {inert(said['name'])} ({ref_words(said['eval'])}), "
        f"{plural(said['examples'], 'example')}, compared by {columns}"
    )
    near, contained = method["near"], method["contained"]
    yield (
        f"near: Jaccard {near['jaccard']:g} of {near['shingle_characters']} characters, "
        f"found with probability {near['recall_at_threshold']:.4f} at that "
        f"({near['bands']} bands of {near['rows']}); "
        f"contained: {contained['share']:.0%} of the runs of {contained['run_tokens']} tokens"
    )
    if compared["constant_columns"]:
        named = ", ".join(map(inert, compared["constant_columns"]))
        yield f"not compared, the same in every row: {named}"
    if compared["short_texts"]:
        yield (
            f"{plural(compared['short_texts'], 'text')} of fewer than "
            f"{contained['least_tokens']} words count only with the rest of their row"
        )
    if compared["shared_texts"]:
        yield (
            f"{plural(compared['shared_texts'], 'text')} that many examples have count only with "
            "the rest of their row"
        )


def _sources(said: Mapping[str, Any]) -> list[str]:
    rows = [["data", "", "rows", "with overlap", "examples found", "name"]]
    rows += [
        [
            ref_words(one["ref"]),
            _RELATIONS.get(one["relation"], inert(one["relation"])),
            f"{one['rows']:,}",
            f"{one['overlapping_rows']:,}",
            f"{one['found']:,}",
            inert(one["name"]),
        ]
        for one in said["checked"]
    ]
    lines = aligned(rows) if said["checked"] else ["No training data could be compared."]
    for one in said["not_checked"]:
        name = f" {inert(one['name'])}" if one["name"] else ""
        relation = _RELATIONS.get(one["relation"], inert(one["relation"]))
        lines.append(
            f"not checked: {ref_words(one['ref'])}{name} ({relation}): {inert(one['why'])}"
        )
    for one in said["versions"]:
        told = (
            inert(one["why"]) if "why" in one else f"{one['found']:,} of {one['examples']:,} found"
        )
        lines.append(f"another version of the eval, {ref_words(one['ref'])}: {told}")
    if not said["lineage"]:
        lines.append("The lineage was not asked for: what the data was made from is not known.")
    return lines


def _found(said: Mapping[str, Any]) -> Iterator[str]:
    found, total = said["found"], said["examples"]
    number = found["examples"]
    if not number and said["checked"]:
        yield f"None of {plural(total, 'example')} was found in the training data."
    elif number:
        ways = [
            f"{found['by_method'][way]:,} {words}"
            for way, words in _WAYS.items()
            if found["by_method"][way]
        ]
        are, all_of_them = "is" if number == 1 else "are", plural(total, "example")
        yield f"{number:,} of {all_of_them} {are} in the training data: {', '.join(ways)}."
        columns = [f"{inert(name)} {count:,}" for name, count in found["by_column"].items()]
        if len(columns) > 1:
            yield f"By column: {', '.join(columns)}; all of them in one row: {found['pairs']:,}."
    if found["only_in_ancestors"]:
        yield (
            f"{plural(found['only_in_ancestors'], 'example')} more only in what it was made from: "
            "taken out by a step since, or hidden by one."
        )
    if said["made_of_eval"]:
        yield "The eval itself is among what the training data was made from."
    limits = said["limits"]
    if limits["crowded_texts"] or limits["texts_with_more_candidates"]:
        yield (
            f"Bounds were met: {limits['crowded_texts']:,} texts of the eval too much like others, "
            f"{limits['texts_with_more_candidates']:,} training texts like too many of them."
        )


def _listed(said: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"example {one['position'] + 1:,}",
            inert(one["column"] or one["how"]),
            inert(one["how"]) if one["column"] else "",
            f"{one['similarity']:.2f}",
            f"row {one['row'] + 1:,} of {ref_words(one['source'])}",
        ]
        for one in said["listed"][:_SHOWN]
    ]
    if not rows:
        return []
    rest = said["found"]["examples"] - len(rows)
    more = [f"and {rest:,} more (--json)"] if rest > 0 else []
    return ["", *_indented([*aligned(rows), *more])]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
