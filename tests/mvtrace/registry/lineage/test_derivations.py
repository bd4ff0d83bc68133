"""Derivations: what they say, what they are read as, and what cannot be said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mvtrace.registry.entries import entry_of
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import (
    NODE_KINDS,
    Made,
    default_role,
    derivation,
    edges_of,
)
from mvtrace.registry.refs import Ref

A, B, C = (Ref("dataset", letter * 64) for letter in "abc")
STEP = Ref("transformation", "5" * 64)

REFS = st.builds(
    Ref, st.sampled_from(NODE_KINDS), st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")
)
ROLES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)


@given(REFS, st.lists(st.tuples(REFS, ROLES), min_size=1, max_size=5))
def test_what_is_said_is_what_is_read(child: Ref, parents: list[tuple[Ref, str]]) -> None:
    """
    The edges of the entry are the pairs that were given, each once.
    """
    assume(all(parent != child for parent, _ in parents))

    entry = derivation(child, parents)

    assert edges_of(entry) == [Made(child, *pair) for pair in sorted(set(parents))]


def test_order_and_repetition_are_no_part_of_it() -> None:
    """
    The same parents in another order, or twice, are the same derivation.
    """
    one = derivation(C, [(A, "base"), (B, "dataset")], how=STEP)
    other = derivation(C, [(B, "dataset"), (A, "base"), (B, "dataset")], how=STEP)

    assert one == other
    assert edges_of(one)[-1] == Made(C, STEP, "how")


def test_what_it_keeps() -> None:
    """
    Name, reason and run are kept as they were said; what was not said is not there.
    """
    run = {"started_at": "2026-08-01T10:00:00Z", "ended_at": "2026-08-01T11:00:00Z", "host": "gpu"}

    said = derivation(B, [(A, "base")], name="tune", reason="drift", run=run).said

    assert said == {
        "schema_version": 1,
        "kind": "derivation",
        "child": str(B),
        "parents": [{"ref": str(A), "role": "base"}],
        "how": None,
        "name": "tune",
        "reason": "drift",
        "run": run,
    }


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (
            {"child": A, "parents": [(A, "base")]},
            f"{A} is a parent of itself.",
            "What a step leaves as it was has not been derived: record nothing.",
        ),
        (
            {"child": A, "parents": []},
            f"{A} has no parents.",
            "Give at least one, with its role.",
        ),
        (
            {"child": A, "parents": [(B, "Base Model")]},
            "the role 'Base Model' is no word.",
            "A role is lower-case letters and digits, such as base, dataset or config.",
        ),
        (
            {
                "child": Ref("request", "01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f"),
                "parents": [(A, "a")],
            },
            (
                "request:01989f3c-2a4b-7c3d-8e5f-6a7b8c9d0e1f is of kind request; made things are "
                f"of kind {', '.join(NODE_KINDS)}."
            ),
            "Requests are answered by a composite: record what that was made from.",
        ),
        (
            {"child": A, "parents": [(Ref("dataset", f"{n:064x}"), "part") for n in range(1_001)]},
            f"{A} has 1,001 parents; a derivation has at most 1,000.",
            "Record it in steps: first the parts, then the whole from them.",
        ),
        (
            {"child": A, "parents": [(B, "base")], "how": C},
            f"how is {C}; it is a transformation, or nothing.",
            None,
        ),
        (
            {"child": A, "parents": [(B, "base")], "reason": "x" * 2_001},
            "its reason has 2,001 characters; it has at most 2,000.",
            None,
        ),
        (
            {"child": A, "parents": [(B, "base")], "run": {"user": "me"}},
            "its run says 'user'; it says started_at, ended_at, host.",
            None,
        ),
        (
            {"child": A, "parents": [(B, "base")], "run": {"host": "a\nb"}},
            "host of its run is no line of text.",
            None,
        ),
    ],
)
def test_what_cannot_be_said(arguments: dict[str, Any], message: str, hint: str | None) -> None:
    """
    Each refusal says what was given, what holds, and where there is one the next step.
    """
    with pytest.raises(RegistryError) as refused:
        derivation(arguments.pop("child"), arguments.pop("parents"), **arguments)

    assert refused.value.message == f"A derivation cannot be registered: {message}"
    assert refused.value.hint == hint


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9) | REFS.map(str),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
        max_leaves=6,
    ),
    st.sampled_from(["child", "parents", "how"]),
)
def test_anything_else_is_a_value_error(value: Any, key: str) -> None:
    """
    Whatever a stranger's entry holds, it is read as edges or refused, and nothing else happens.
    """
    said = {"child": str(C), "parents": [{"ref": str(A), "role": "base"}], "how": None, key: value}

    try:
        edges = edges_of(entry_of("derivation", said))
    except ValueError:
        return

    assert all(edge.child != edge.parent for edge in edges)


def test_roles_that_need_not_be_said() -> None:
    """
    Data is a dataset, what has weights or parts is a base, and all else is data; but a version that
    a version was made from came before it, and is no weights that were merged.
    """
    kinds = ("dataset", "artifact", "component", "composite", "experiment", "suite")

    roles = {
        child: [default_role(Ref(kind, "a" * 64), Ref(child, "b" * 64)) for kind in kinds]
        for child in ("artifact", "composite")
    }

    assert roles == {
        "artifact": ["dataset", "base", "base", "base", "experiment", "data"],
        "composite": ["dataset", "base", "base", "previous", "experiment", "data"],
    }
