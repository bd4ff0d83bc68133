"""Which edges may be stored: laws over any history of claims, and what is said of the refused."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from mvtrace_collector import ancestry
from mvtrace_collector.ancestry import Claim, judge

Pairs = set[tuple[str, str]]

NODES = [f"dataset:{name * 64}" for name in "abcdef"]
CLAIMS = st.lists(
    st.builds(
        Claim,
        st.sampled_from(NODES),
        st.lists(st.sampled_from(NODES), min_size=1, max_size=3).map(tuple),
        st.just(False),
    ).filter(lambda claim: claim.child not in claim.parents),
    max_size=12,
)


def edges_of(claims: list[Claim]) -> Pairs:
    return {(claim.child, parent) for claim in claims for parent in claim.parents}


def has_cycle(edges: Pairs) -> bool:
    graph: dict[str, set[str]] = {}
    for child, parent in edges:
        graph.setdefault(child, set()).add(parent)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


def accepted(claims: list[Claim], stored: Pairs) -> list[Claim]:
    problems = judge(claims, stored)
    return [claim for claim, problem in zip(claims, problems, strict=True) if not problem]


@given(st.lists(CLAIMS, max_size=4))
def test_no_history_makes_a_cycle(segments: list[list[Claim]]) -> None:
    """
    Whatever is claimed, in one segment or in several, what is accepted has no cycle.
    """
    stored: Pairs = set()
    for claims in segments:
        stored |= edges_of(accepted(claims, stored))

    assert not has_cycle(stored)


@given(CLAIMS)
def test_the_first_of_what_cannot_all_hold_is_kept(claims: list[Claim]) -> None:
    """
    A claim is refused only where, with those accepted before it, it would close a cycle.
    """
    kept: Pairs = set()
    for claim, problem in zip(claims, judge(claims, set()), strict=True):
        with_it = kept | edges_of([claim])
        assert bool(problem) == has_cycle(with_it)
        kept = kept if problem else with_it


@given(CLAIMS, st.sets(st.integers(0, 11)))
def test_a_replay_gets_the_same_answers(claims: list[Claim], survivors: set[int]) -> None:
    """
    The same claims again are judged as they were, whatever part of them is stored already.
    """
    first = judge(claims, set())
    kept = [i for i, problem in enumerate(first) if not problem and i in survivors]
    stored = edges_of([claims[i] for i in kept])
    again = [claim._replace(is_known=i in kept) for i, claim in enumerate(claims)]

    assert [bool(one) for one in judge(again, stored)] == [bool(one) for one in first]


def test_the_cycle_is_told() -> None:
    """
    Who is refused reads which way leads back to the child.
    """
    a, b, c = NODES[:3]

    problems = judge([Claim(b, (a,)), Claim(c, (b,)), Claim(a, (c,))], set())

    assert problems == [
        "",
        "",
        (
            "lineage-cycle: dataset:aaaaaaaaaaaa cannot be made from dataset:cccccccccccc, "
            "which was made from dataset:bbbbbbbbbbbb, which was made from dataset:aaaaaaaaaaaa"
        ),
    ]


def test_very_many_cycles_end() -> None:
    """
    A thousand claims, each of which contradicts all others, cost a bounded number of looks.
    """
    size = 1_000
    chain = [Claim(f"n{i}", (f"n{i + 1}",)) for i in range(size)]
    against = [Claim(f"n{i + 1}", (f"n{j}",)) for i in range(0, size, 50) for j in (0, i)]

    problems = judge(chain + against, set())

    assert problems[:size] == [""] * size
    assert all(one.startswith(ancestry.CYCLE) for one in problems[size:])


def test_what_is_too_tangled_is_refused_unseen() -> None:
    """
    Beyond the looks that one segment may cost, what stands among cycles is refused, and says so.
    """
    size = 3_000
    chain = [Claim(f"n{i}", (f"n{i + 1}",)) for i in range(size)]
    against = [Claim(f"n{size - i}", (f"n{i % 7}",)) for i in range(1_000)]

    problems = judge(chain + against, set())

    assert problems[:size] == [""] * size
    assert problems[-1] == (
        "lineage-cycle: it stands among very many that make cycles with one another"
    )
