"""What certificates say of a model, together and by its lineage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ancestries import certificate_about

from mvtrace.explain.explanation import Finding
from mvtrace.explain.separation import separation_findings
from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.lineage.walking import Edge, Graph
from mvtrace.registry.refs import Ref

VERSION = Ref("composite", "1" * 64)
MODEL = Ref("component", "2" * 64)
BASE = Ref("artifact", "3" * 64)
CLEAN, RAW, BASE_DATA = (Ref("dataset", digit * 64) for digit in "abc")
GRAPH = Graph(
    VERSION,
    "up",
    {VERSION: 0, MODEL: 1, CLEAN: 2, BASE: 2, RAW: 3, BASE_DATA: 3},
    (
        Edge(VERSION, MODEL, "model/writer"),
        Edge(MODEL, CLEAN, "dataset", "sha256:1"),
        Edge(MODEL, BASE, "base", "sha256:1"),
        Edge(CLEAN, RAW, "dataset", "sha256:2"),
        Edge(BASE, BASE_DATA, "dataset", "sha256:3"),
    ),
)
"""A fine-tune on data that was cleaned, of a model that was trained on other data."""


def told(*certificates: Entry, graph: Graph = GRAPH) -> list[tuple[str, str]]:
    found: list[Finding] = list(separation_findings(graph, certificates))
    return [(one.code, one.text) for one in found]


def codes(*certificates: Entry) -> list[str]:
    return [code for code, _ in told(*certificates)]


def test_all_of_it_was_compared() -> None:
    """
    Where every dataset in the ancestry was compared, also in several certificates, that is said.
    """
    whole, parts = (
        certificate_about(CLEAN, RAW, BASE_DATA),
        [
            certificate_about(CLEAN, RAW),
            certificate_about(BASE_DATA),
        ],
    )

    assert told(whole) == [
        (
            "leakage_checked",
            (
                "model writer: none of 40 examples of eval qa was found in its training data; all "
                f"3 datasets it was made from were compared (certificate {whole.ref.digest[:12]})."
            ),
        )
    ]
    assert codes(*parts) == ["leakage_checked"]


def test_part_of_it_was_compared() -> None:
    """
    What was not compared is named.
    """
    part = certificate_about(CLEAN)

    assert told(part) == [
        (
            "leakage_partly",
            (
                "model writer: none of 40 examples of eval qa was found in its training data; of 3 "
                "datasets it was made from dataset:bbbbbbbbbbbb and 1 more could not be compared "
                f"(certificate {part.ref.digest[:12]})."
            ),
        )
    ]


def test_what_a_step_took_out_is_no_leak() -> None:
    """
    Examples in what the training data was made from are none in a model; in what it or its base was
    trained on they are.
    """
    raw = certificate_about(RAW, found=9)
    rest = certificate_about(CLEAN, BASE_DATA)
    base = certificate_about(BASE_DATA, found=2)

    assert codes(raw, rest) == ["leakage_checked"]
    assert codes(base, raw, rest) == ["leakage_found"]


def test_the_newest_says_how_it_is() -> None:
    """
    Where the same data was compared twice, the newer certificate counts.
    """
    old, new = (
        certificate_about(CLEAN, RAW, BASE_DATA, found=1),
        certificate_about(CLEAN, RAW, BASE_DATA),
    )

    assert codes(new, old) == ["leakage_checked"]
    assert codes(old, new) == ["leakage_found"]


def another_way(entry: Entry, **said: Any) -> Entry:
    """Return a certificate like *entry* that says *said* too."""
    return entry_of("certificate", {**entry.said, **said})


@pytest.mark.parametrize(
    "way", [{"method": {"near": {"jaccard": 1}}}, {"compared": {"columns": ["harmless"]}}]
)
def test_a_leak_stays_told(way: dict[str, Any]) -> None:
    """
    A newer certificate by another method or other columns takes no leak away; by the same it does.
    """
    leak = certificate_about(CLEAN, RAW, BASE_DATA, found=7)
    clean = another_way(certificate_about(CLEAN, RAW, BASE_DATA), **way)
    again = certificate_about(CLEAN, RAW, BASE_DATA)

    [(code, text)] = told(clean, leak)

    assert code == "leakage_found"
    assert text.endswith(f"(dataset:aaaaaaaaaaaa; certificate {leak.ref.digest[:12]}).")
    assert codes(leak, clean) == ["leakage_found"]
    assert codes(clean, again, leak) == ["leakage_checked"]


def test_a_leak_of_an_old_eval_is_told_first() -> None:
    """
    Newer certificates about other evals, however many, hide no leak.
    """
    leak = certificate_about(CLEAN, found=7)
    others = [another_way(certificate_about(CLEAN), root=f"{n:064x}") for n in range(9)]

    assert codes(*others, leak) == ["leakage_found", *["leakage_partly"] * 4]


def test_an_ancestry_that_was_cut_is_known_in_part() -> None:
    """
    Where the ancestry is larger than was walked, nobody says that all of it was compared.
    """
    cut = replace(GRAPH, cut="nodes")
    whole = certificate_about(CLEAN, RAW, BASE_DATA)

    [(code, text)] = told(whole, graph=cut)
    [(_, unchecked)] = told(graph=cut)

    assert code == "leakage_partly"
    assert text == (
        "model writer: none of 40 examples of eval qa was found in its training data; what was "
        "looked up of it was compared (3 datasets), but its ancestry is larger than is walked here "
        f"(nodes) (certificate {whole.ref.digest[:12]})."
    )
    assert "was made from at least 3 datasets (" in unchecked


@pytest.mark.parametrize("said", [{"root": "b" * 64}, {"eval": str(RAW)}, {"train": [str(CLEAN)]}])
def test_made_of_the_eval_itself(said: dict[str, Any]) -> None:
    """
    Where the eval is among what a model was made from, that is told, though no example is left.
    """
    one = another_way(certificate_about(CLEAN, RAW, BASE_DATA), made_of_eval=True, **said)

    [(code, text)] = told(one)

    assert code == "leakage_found"
    assert text == (
        "model writer: eval qa itself is among what its training data was made from "
        f"(certificate {one.ref.digest[:12]})."
    )


def test_another_model_that_was_made_of_the_eval() -> None:
    """
    That some other data of the same check was made from the eval says nothing of this model.
    """
    one = certificate_about(CLEAN, RAW, BASE_DATA, Ref("component", "9" * 64))

    assert codes(another_way(one, made_of_eval=True)) == ["leakage_checked"]


def test_a_model_without_recorded_data_has_no_finding() -> None:
    """
    Of a provider's model, of which no training data is recorded, nothing is said.
    """
    graph = Graph(VERSION, "up", {VERSION: 0, MODEL: 1}, (Edge(VERSION, MODEL, "model/writer"),))

    assert told(graph=graph) == []
    assert told(certificate_about(CLEAN), graph=graph) == []


def test_parts_that_are_not_trained_have_no_finding() -> None:
    """
    An index or a prompt that was made from data is no model.
    """
    edges = (Edge(VERSION, MODEL, "index/docs"), Edge(MODEL, CLEAN, "dataset", "sha256:1"))
    graph = Graph(VERSION, "up", {VERSION: 0, MODEL: 1, CLEAN: 2}, edges)

    assert told(graph=graph) == []
