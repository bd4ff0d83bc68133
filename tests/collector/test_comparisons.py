"""Comparisons for gates: what may be asked, and how little of the collector asking can take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mvtrace.errors import ConfigurationError, FilterError
from mvtrace_collector import comparisons, flagger
from mvtrace_collector.compared import KEYS, Asked, is_full
from mvtrace_collector.comparisons import ComparingBusyError, Comparisons

PLACE = {"service": "support", "environment": "production"}
PAIR = {"baseline": "ab" * 32, "canary": "cd" * 4}


class Clock:
    """A clock that a test sets; both of a desk's clocks are it."""

    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


Question = tuple[str, int]
"""A project, and a number."""


@contextmanager
def desk(
    compute: Callable[[Question], str], clock: Callable[[], float] = time.monotonic
) -> Iterator[Comparisons[Question, str]]:
    """Comparisons that *compute* answers."""
    made = Comparisons(
        compute, project_of=lambda question: question[0], size_of=len, now=clock, wall=clock
    )
    try:
        yield made
    finally:
        made.close()


def test_a_question_that_is_polled_is_computed_once_in_a_while() -> None:
    """
    Within its time an answer serves everybody who asks the same; then it is computed anew.
    """
    clock, asked = Clock(), list[Question]()

    def compute(question: Question) -> str:
        asked.append(question)
        clock.s += 0.5
        return f"answer {len(asked)}"

    with desk(compute, clock) as gates:
        ages = []
        for _ in range(60):
            kept = gates.ask(("a", 1)).result()
            ages.append(gates.age_of(kept))
            clock.s += 1

        counts = gates.counts
    assert len(asked) == 3
    assert (counts.computed, counts.shared, counts.seconds) == (3, 57, 1.5)
    assert max(ages) < comparisons.FRESH_S + 1


def test_what_is_dear_is_kept_longer() -> None:
    """
    However often one question is asked, computing it takes a twentieth of the time at most.
    """
    clock = Clock()

    def compute(_question: Question) -> str:
        clock.s += 4
        return "dear"

    with desk(compute, clock) as gates:
        began = clock.s
        while clock.s < began + 3000:
            gates.ask(("a", 1)).result()
            clock.s += 1
        share = gates.counts.seconds / (clock.s - began)

    assert 0.03 < share <= 0.05


def test_no_answer_outlives_its_hour() -> None:
    """
    An answer of the hour before is not given, however short a time ago it was made.
    """
    clock = Clock()
    clock.s = 3600 * 500 - 2.0

    with desk(lambda _question: "x", clock) as gates:
        gates.ask(("a", 1)).result()
        clock.s += 3
        gates.ask(("a", 1)).result()

        assert gates.counts.computed == 2


def test_equal_questions_at_once_are_computed_once() -> None:
    """
    Fifty gates that ask the same at the same moment cost one comparison.
    """
    computing, computed = threading.Event(), list[Question]()

    def compute(question: Question) -> str:
        computing.wait(30)
        computed.append(question)
        return "same"

    with desk(compute) as gates, ThreadPoolExecutor(50) as pool:
        pending = list(pool.map(lambda _: gates.ask(("a", 1)), range(50)))
        computing.set()
        answers = {one.result(30).answer for one in pending}

    assert answers == {"same"}
    assert len(computed) == 1


def test_a_project_cannot_fill_the_queue() -> None:
    """
    Few questions of a project wait at a time, and few in all; a refusal says when to ask again.
    """
    computing, running = threading.Event(), list[int]()

    def compute(_question: Question) -> str:
        running.append(threading.active_count())
        computing.wait(30)
        return "x"

    with desk(compute) as gates:
        for number in range(comparisons.PENDING_OF_ONE):
            gates.ask(("a", number))
        with pytest.raises(ComparingBusyError) as mine:
            gates.ask(("a", 99))
        for number in range(comparisons.PENDING - comparisons.PENDING_OF_ONE):
            gates.ask((f"b{number}", 1))
        with pytest.raises(ComparingBusyError) as theirs:
            gates.ask(("z", 1))
        assert len(running) <= 1
        computing.set()
        refused = gates.counts.refused

    assert refused == 2
    assert mine.value.message == (
        "3 comparisons wait to be computed, 3 of them this project's; the same request may be "
        "sent again."
    )
    assert theirs.value.message == (
        "8 comparisons wait to be computed, 0 of them this project's; the same request may be "
        "sent again."
    )
    assert (mine.value.status, mine.value.headers) == (503, {"retry-after": "5"})


def test_ever_new_questions_use_no_more_than_their_share() -> None:
    """
    Who asks something else each time gets a quarter of a processor, and other projects theirs.
    """
    clock = Clock()
    refusals: list[ComparingBusyError] = []

    def compute(_question: Question) -> str:
        clock.s += 2
        return "x"

    with desk(compute, clock) as gates:
        began = clock.s
        for number in range(2000):
            try:
                gates.ask(("a", number)).result()
            except ComparingBusyError as error:
                refusals.append(error)
                clock.s += 1
        used, lasted = gates.counts.seconds, clock.s - began
        gates.ask(("b", 1)).result()

    assert used <= comparisons.SHARE * (lasted + 60) + 2
    assert refusals[0].message == (
        "This project's comparisons took more than 25% of a processor; the same request may be "
        "sent again."
    )
    assert 1 <= refusals[0].retry_after_s <= 10
    assert {(one.status, one.code) for one in refusals} == {(429, "comparing-too-much")}


def test_an_error_is_told_to_all_who_wait_and_is_not_kept() -> None:
    """
    A comparison that fails fails for those who asked; the next one tries again.
    """
    answers: Iterator[str] = iter(["second"])
    failed = list[int]()

    def compute(_question: Question) -> str:
        if not failed:
            failed.append(1)
            raise FilterError("plan", "x", "it is none")
        return next(answers)

    with desk(compute) as gates:
        error = gates.ask(("a", 1)).exception()
        again = gates.ask(("a", 1)).result().answer

        assert isinstance(error, FilterError)
        assert (again, gates.counts.failed) == ("second", 1)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Answers are kept up to a number of bytes; those nobody asked for longest go first.
    """
    monkeypatch.setattr(comparisons, "MAX_KEPT_BYTES", 250)

    with desk(lambda _question: "x" * 100) as gates:
        for number in (1, 2, 1, 3):
            gates.ask(("a", number)).result()
        before = gates.counts.computed
        for number in (1, 3, 2):
            gates.ask(("a", number)).result()

        assert (before, gates.counts.computed) == (3, 4)


def test_what_waits_is_told_that_the_collector_stops() -> None:
    """
    Stopping ends what is being computed and refuses the rest.
    """
    begun, computing = threading.Event(), threading.Event()

    def compute(_question: Question) -> str:
        begun.set()
        computing.wait(30)
        return "x"

    with desk(compute) as gates:
        first, second = gates.ask(("a", 1)), gates.ask(("a", 2))
        begun.wait(30)
        threading.Timer(0.1, computing.set).start()
        gates.close()

        assert first.result(30).answer == "x"
        assert isinstance(second.exception(30), ComparingBusyError)
        with pytest.raises(ComparingBusyError, match="The collector is stopping"):
            gates.ask(("a", 3))


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({}, "service is ''; without baseline and canary it says whose canary is meant."),
        ({"service": "s"},
         "environment is ''; without baseline and canary it says whose canary is meant."),
        ({"baseline": "ab" * 4}, "canary is ''; baseline and canary are named both or neither."),
        ({**PAIR, "baseline": "prod@now"},
         "baseline is 'prod@now'; it is 8 to 64 hex digits of a composite version."),
        ({**PAIR, "canary": "../../etc/mvtrace.lock"},
         "canary is '../../etc/mvtrace.lock'; it is 8 to 64 hex digits of a composite version."),
        ({**PAIR, "canary": "abcdef0"},
         "canary is 'abcdef0'; it is 8 to 64 hex digits of a composite version."),
        ({**PLACE, "plan": "support-plan"},
         "plan is 'support-plan'; it is 8 to 64 hex digits of a registered plan."),
        ({**PLACE, "arms": "1"}, "arms is '1'; baseline and canary then name two arms."),
        ({**PLACE, "arms": "yes"}, "arms is 'yes'; it is 0 or 1."),
        ({**PLACE, "rollout": "a b"}, "rollout is 'a b'; it is the id of a rollout."),
        ({**PLACE, "service": "a\nb"},
         "service is 'a\\nb'; it is at most 128 printable characters."),
        ({**PLACE, "pln": "x"}, f"pln is 'x'; keys are {', '.join(KEYS)}."),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(texts: dict[str, str], problem: str) -> None:
    """
    A slip in an address is an error that names it, never a comparison of something else.
    """
    with pytest.raises(FilterError) as refused:
        Asked.of("default", texts)

    assert refused.value.message == problem


def test_what_is_asked_is_one_value() -> None:
    """
    The same comparison in other words (upper case, the digest's prefix) is the same question.
    """
    asked = Asked.of("a", {**PAIR, "plan": "SHA256:" + "0A" * 8, "full": "1"})
    plain = Asked.of("a", {**PAIR, "plan": "0a" * 8})

    assert asked == plain == replace(plain, project="a")
    assert (plain.is_of_rollout, Asked.of("a", PLACE).is_of_rollout) == (False, True)
    assert (is_full({"full": "1"}), is_full({})) == (True, False)


def test_what_yes_means_depends_on_the_hook() -> None:
    """
    A promotion needs promote, a rollback needs revert; what goes on goes on until a revert.
    """
    passing = {
        hook: [one for one in ("promote", "hold", "revert") if flagger.passes(hook, one)]
        for hook in flagger.PASSING
    }

    assert passing == {
        "confirm-promotion": ["promote"],
        "confirm-traffic-increase": ["promote", "hold"],
        "rollout": ["promote", "hold"],
        "rollback": ["revert"],
    }


def test_a_hook_says_what_is_compared_in_its_address_or_its_metadata() -> None:
    """
    Both are read; two different answers to one question are none.
    """
    body = b'{"name": "x", "phase": "Progressing", "metadata": {"service": "support"}}'

    hook, texts = flagger.asked_of({"hook": "rollback", "environment": "production"}, body)
    assert (hook, texts) == ("rollback", PLACE)
    assert flagger.asked_of({"hook": "rollback", **PLACE}, b"") == ("rollback", PLACE)

    with pytest.raises(FilterError) as differing:
        flagger.asked_of({"hook": "rollback", "service": "other"}, body)
    assert differing.value.message == (
        "service is 'support'; the address of the hook says something else."
    )
    with pytest.raises(FilterError) as unknown:
        flagger.asked_of({"hook": "event"}, body)
    assert unknown.value.message == (
        "hook is 'event'; it is one of confirm-promotion, confirm-traffic-increase, rollout, "
        "rollback."
    )
    for bad in (b"[]", b'{"metadata": []}', b'{"metadata": {"service": 1}}', b'"x"'):
        with pytest.raises(ConfigurationError) as refused:
            flagger.asked_of({"hook": "rollback"}, bad)
        assert refused.value.message == "body is None; its metadata is an object of texts."
    with pytest.raises(ConfigurationError, match="it is no JSON"):
        flagger.asked_of({"hook": "rollback"}, b"{")
