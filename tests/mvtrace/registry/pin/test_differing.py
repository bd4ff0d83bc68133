"""Two versions compared: what differs by component, by key, by line and by file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mvtrace
from mvtrace.cli.diff import diff_words
from mvtrace.cli.show import facts_words
from mvtrace.components import Component, CompositeVersion
from mvtrace.registry.pin.differing import (
    MAX_LINES,
    Diff,
    FactChange,
    FileChange,
    TextChange,
    changed_slots,
    diff,
    unified,
)
from mvtrace.registry.pin.naming import Named
from mvtrace.registry.pin.versions import (
    TextRef,
    Version,
    VersionPart,
    parse_facts,
    parse_manifest,
    version_of,
)


def compared(
    before: Iterable[Component], after: Iterable[Component], *, known: bool = True
) -> Diff:
    """The diff of two versions, with the texts of both registered, or of none."""
    one, other = (mvtrace.composite("bot", *parts) for parts in (before, after))
    texts = {piece.digest: piece.text for made in (one, other) for piece in _pieces(made)}

    def read(references: Iterable[TextRef]) -> Mapping[str, str]:
        wanted = {reference.digest for reference in references}
        return {key: text for key, text in texts.items() if known and key in wanted}

    return diff(version_of(one), version_of(other), read)


def _pieces(made: CompositeVersion) -> Iterable[object]:
    return [piece for part in made.components for piece in part.contents]


def test_facts_by_key() -> None:
    """
    Of facts only the keys that differ are told, lists of objects by their place.
    """
    [part] = compared(
        [mvtrace.custom("a", keep=1, gone=True, deep={"x": 1, "y": [1, 2]}, rows=[{"n": 1}])],
        [mvtrace.custom("a", keep=1, came=None, deep={"x": 2, "y": [1, 3]}, rows=[{"n": 2}])],
    ).parts

    assert part.change == "changed"
    assert part.facts == (
        FactChange("settings.came", None, "null"),
        FactChange("settings.deep.x", "1", "2"),
        FactChange("settings.deep.y", "[1, 2]", "[1, 3]"),
        FactChange("settings.gone", "true", None),
        FactChange("settings.rows[0].n", "1", "2"),
    )


def test_texts_and_policies_by_line() -> None:
    """
    Prompts, tool definitions and policies are unified diffs; what is JSON is laid out first.
    """
    found = compared(
        [
            mvtrace.prompt("a", "Answer.\nBe kind.\n"),
            mvtrace.tools("a", [{"name": "search"}]),
            mvtrace.router("a", policy={"threshold": 0.3}),
        ],
        [
            mvtrace.prompt("a", "Answer.\nBe brief.\n"),
            mvtrace.tools("a", [{"name": "find"}]),
            mvtrace.router("a", policy={"threshold": 0.35}),
        ],
    )

    assert {part.slot: part.texts for part in found.parts} == {
        "prompt/a": (
            TextChange("template", ("@@ -1,2 +1,2 @@", " Answer.", "-Be kind.", "+Be brief.")),
        ),
        "router/a": (
            TextChange(
                "policy",
                ("@@ -1,3 +1,3 @@", " {", '-  "threshold": 0.3', '+  "threshold": 0.35', " }"),
            ),
        ),
        "tools/a": (
            TextChange(
                "definitions",
                (
                    *("@@ -1,5 +1,5 @@", " [", "   {", '-    "name": "search"'),
                    *('+    "name": "find"', "   }", " ]"),
                ),
            ),
        ),
    }


def test_a_text_that_is_not_registered_is_said_to_be_so() -> None:
    """
    Where texts are not registered the diff says so, and does not say that nothing changed.
    """
    found = compared(
        [mvtrace.prompt("a", "Answer.")], [mvtrace.prompt("a", "Answer!!")], known=False
    )

    assert [part.texts for part in found.parts] == [
        (
            TextChange(
                "template",
                (),
                "neither text is registered, so only digests are known; 7 and 8 bytes",
            ),
        )
    ]


def test_files_by_path(tmp_path: Path) -> None:
    """
    Of an artifact the files that differ are told, with their sizes.
    """
    (tmp_path / "a.bin").write_bytes(b"1")
    (tmp_path / "gone.bin").write_bytes(b"22")
    before = mvtrace.model("a", path=tmp_path)
    (tmp_path / "a.bin").write_bytes(b"9")
    (tmp_path / "gone.bin").unlink()
    (tmp_path / "new.bin").write_bytes(b"333")

    [part] = compared([before], [mvtrace.model("a", path=tmp_path)]).parts

    assert part.files == (
        FileChange("a.bin", 1, 1),
        FileChange("gone.bin", 2, None),
        FileChange("new.bin", None, 3),
    )


def test_parts_that_come_go_or_get_another_label() -> None:
    """
    A slot is added, removed or relabelled; an edge is added or removed.
    """
    found = compared(
        [mvtrace.prompt("a", "x", label="v1"), mvtrace.custom("gone", a=1)],
        [
            mvtrace.prompt("a", "x", label="v2"),
            mvtrace.router("new", policy=1, candidates=[mvtrace.prompt("a", "x", label="v2")]),
        ],
    )

    assert [(part.slot, part.change) for part in found.parts] == [
        ("custom/gone", "removed"),
        ("prompt/a", "relabelled"),
        ("router/new", "added"),
    ]
    assert found.edges == ("router/new -> prompt/a (candidate)  added",)


def test_components_nobody_registered() -> None:
    """
    Of a component that is not registered the digest alone is compared, and that is said.
    """
    unknown = Version("a" * 64, "bot", {"prompt/a": VersionPart("prompt/a", "sha256:" + "1" * 64)})
    known = Version(
        "b" * 64, "bot", {"prompt/a": VersionPart("prompt/a", "sha256:" + "2" * 64, {})}
    )

    [part] = diff(unknown, known, lambda _: {}).parts

    assert (part.change, part.note) == (
        "changed",
        "one of both is not registered: digests alone",
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from(["a", "b", ""]), max_size=8
).map("\n".join)


@given(TEXTS, TEXTS)
def test_a_diff_is_empty_only_for_one_text(before: str, after: str) -> None:
    """
    Two texts have an empty diff exactly where they are one text.
    """
    lines, note = unified(before, after)

    assert note == ""
    assert (not lines) == (before == after)


def test_long_texts_are_compared_between_their_ends() -> None:
    """
    Of texts that take too long to align, what lies between equal ends is shown, or counted.
    """
    long = [f"line {number}" for number in range(5_000)]
    changed = [*long[:2_500], "other", *long[2_501:]]

    assert unified("\n".join(long), "\n".join(changed)) == (
        ("@@ -2501,1 +2501,1 @@", "-line 2500", "+other"),
        "",
    )
    assert unified("\n".join(long), "\n".join(reversed(long))) == (
        (),
        "too much differs to be shown: 5,000 and 5,000 lines",
    )
    assert unified("\n" * (MAX_LINES + 1), "x") == (
        (),
        "too long to compare: 20,002 and 1 lines",
    )


def test_changed_slots_are_sorted() -> None:
    """
    A summary lists slots by what became of them.
    """
    before = version_of(mvtrace.composite("x", mvtrace.custom("a", v=1), mvtrace.custom("b", v=1)))
    after = version_of(mvtrace.composite("x", mvtrace.custom("b", v=2), mvtrace.custom("c", v=1)))

    assert changed_slots(before, after) == {
        "added": ["custom/c"],
        "removed": ["custom/a"],
        "changed": ["custom/b"],
    }


HOSTILE = "a\x1b[2J\x1b]0;owned\x07\u202egpj\u200b\r\n+++ b/etc\n@@ -1 +1 @@\nhint: run this\n"


@pytest.mark.parametrize("text", [HOSTILE, HOSTILE * 200])
def test_hostile_texts_are_shown_and_do_nothing(text: str) -> None:
    """
    No line of a stranger's text reaches the terminal as it is, or begins a line of its own.
    """
    found = compared(
        [mvtrace.prompt("a", "x"), mvtrace.custom("b", **{"k\x1b[2J": HOSTILE})],
        [mvtrace.prompt("a", text, label="v"), mvtrace.custom("b", **{"k\x1b[2J": "x"})],
    )
    ones = [Named("A\x1b[2J", one, "version") for one in (found.before, found.after)]

    shown = diff_words(found, ones)

    assert all(line.isprintable() for line in shown.split("\n"))
    assert not any(line.startswith(("hint:", "+++", "@@")) for line in shown.split("\n"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["content", "digest", "bytes", "pieces", "artifact", "listing", "policy", "files"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=3), JSON), st.dictionaries(st.text(max_size=3), JSON), JSON)
def test_any_facts_are_compared_and_shown(
    before: dict[str, object], after: dict[str, object], listing: object
) -> None:
    """
    Whatever JSON somebody registered as facts, a diff and its words are made of it.
    """
    texts = json.dumps(listing)
    one, other = (
        Version("a" * 64, "x", {"a/b": VersionPart("a/b", digest, facts)})
        for digest, facts in (("sha256:1", before), ("sha256:2", after))
    )

    found = diff(one, other, lambda wanted: {reference.digest: texts for reference in wanted})

    assert found.parts[0].change == "changed"
    shown = diff_words(found, [Named("A", one, "version"), Named("B", other, "version")])
    assert all(line.isprintable() for line in shown.split("\n"))
    part = {"is_registered": True, "facts": before, "slot": "a/b", "digest": "sha256:1"}
    assert facts_words(part).isprintable()


@given(st.text() | JSON.map(json.dumps))
def test_any_body_is_read_or_none(body: str) -> None:
    """
    A body that is no component and no manifest is as good as not registered.
    """
    assert parse_manifest(body) is None or body.startswith("{")
    assert parse_facts(body) is None or body.startswith("{")


def test_the_whole_text_of_a_diff() -> None:
    """
    What a person reads: both sides, then each slot with facts by key and texts line by line.
    """
    found = compared(
        [
            mvtrace.model("answer", provider="p", model_id="small"),
            mvtrace.prompt("answer", "Answer.\nBe kind.\n", label="v1"),
            mvtrace.custom("gone", a=1),
        ],
        [
            mvtrace.model("answer", provider="p", model_id="large"),
            mvtrace.prompt("answer", "Answer.\nBe brief.\n", label="v2"),
        ],
    )
    sides = [Named("a", found.before, "version"), Named("old.lock", found.after, "lock")]
    digests = {
        part.slot: [side.digest[:19] if side else "nothing" for side in (part.before, part.after)]
        for part in found.parts
    }

    assert diff_words(found, sides) == (
        f"- {found.before.short}   bot\n"
        f"+ {found.after.short}   bot   old.lock\n"
        "\n"
        f"custom/gone  removed  {digests['custom/gone'][0]} -> nothing\n"
        "\n"
        f"model/answer  changed  {' -> '.join(digests['model/answer'])}\n"
        '  model_id   "small"   ->   "large"\n'
        "\n"
        f"prompt/answer  changed  {' -> '.join(digests['prompt/answer'])}  label v1 -> v2\n"
        "  template\n"
        "    @@ -1,2 +1,2 @@\n"
        "     Answer.\n"
        "    -Be kind.\n"
        "    +Be brief.\n"
    )


def test_one_version_differs_in_nothing() -> None:
    """
    A version compared with itself differs in nothing, and one nobody registered cannot be compared.
    """
    part = mvtrace.custom("a", v=1)
    found = compared([part], [part])
    unknown = Version("9" * 64, is_known=False)
    other = diff(found.before, unknown, lambda _: {})

    assert other.parts == ()
    same = diff_words(found, [Named("a", found.before, "version")] * 2)
    assert same.endswith("\n\nBoth are one version: nothing differs.\n")
    shown = diff_words(other, [Named("a", found.before, "version"), Named("b", unknown, "version")])
    assert shown.endswith("\n\nNot registered, so nothing is known to compare: 999999999999.\n")
