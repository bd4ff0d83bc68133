"""What a text names, and the history of versions: over a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from stored import MOMENT, Filler, new_store
from story import SECOND, START_MS, SYSTEM, TRACE, record, request_id

from mvtrace.errors import AmbiguousIdError, FilterError
from mvtrace.registry.deployments import Decision
from mvtrace.registry.pin.history import history, history_of_place
from mvtrace.registry.pin.naming import NothingNamedError, moment_ms, named
from mvtrace.registry.pin.versions import TextRef, read_texts, read_versions
from mvtrace.registry.reading import Ask
from mvtrace.store import Store

NOW_MS = START_MS + 3_600_000
EVENT = "ab" * 16
OTHER_EVENT = "cd" * 16
THIRD_EVENT = "ef" * 16


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store with two versions, two requests and three deployments."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('naming') / 'store'}") as made:
        fill = Filler(made)
        fill.system(SYSTEM)
        fill.system(SECOND, with_content=False)
        fill.request(record(0), with_spans=False)
        fill.request(record(1, composite_version=SECOND.version), with_spans=False)
        fill.request(record(2, composite_version="9" * 64), with_spans=False)
        fill.request(record(3, composite_version=None), with_spans=False)
        decide(fill, EVENT, SYSTEM.version, 0)
        decide(fill, OTHER_EVENT, SECOND.version, 60)
        decide(fill, THIRD_EVENT, SYSTEM.version, 0, service="billing", environment="test")
        decide(fill, "01" * 16, SECOND.version, 5, service="search", environment="test")
        yield made


def decide(fill: Filler, event: str, version: str, after_s: int, **changes: Any) -> None:
    said = {"service": "support", "environment": "production", **changes}
    decision = Decision(action="deploy", composite=version, **said)
    fill._insert(
        "deployments",
        service=decision.service,
        environment=decision.environment,
        at=_moment(after_s),
        seq=after_s,
        event_id=bytes.fromhex(event),
        action="deploy",
        composite=version,
        share=1.0,
        actor="key",
        body=decision.to_bytes().decode(),
        received_at=MOMENT,
    )


def _moment(after_s: int) -> datetime:
    return datetime.fromtimestamp(START_MS / 1000 + after_s, UTC)


@pytest.fixture
def ask(store: Store) -> Ask:
    def run(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        body = store.raw(sql, {"project": "default", **parameters}, "JSONEachRow")
        return [json.loads(line) for line in body.splitlines()]

    return run


NAMES = {
    SYSTEM.version: ("version", SYSTEM.version),
    SYSTEM.version[:8]: ("version", SYSTEM.version),
    f"composite:{SECOND.version}": ("version", SECOND.version),
    "99999999": ("version", "9" * 64),
    EVENT: ("deployment", SYSTEM.version),
    f"deployment:{OTHER_EVENT[:10]}": ("deployment", SECOND.version),
    request_id(0): ("request", SYSTEM.version),
    request_id(1).replace("-", "").upper(): ("request", SECOND.version),
    f"request:{request_id(1)}": ("request", SECOND.version),
    "client-1": ("request", SECOND.version),
    "x-request-id:client-0": ("request", SYSTEM.version),
    f"trace:{TRACE}": ("request", SYSTEM.version),
    TRACE: ("request", SYSTEM.version),
    "response:resp-1": ("request", SECOND.version),
    "production@2026-08-22T11:02:30": ("serving", SYSTEM.version),
    "support/production@now": ("serving", SECOND.version),
    "production@59m": ("serving", SECOND.version),
    "billing/test@2026-08-23": ("serving", SYSTEM.version),
}


@pytest.mark.parametrize("text", NAMES)
def test_each_form_names_its_version(ask: Ask, text: str) -> None:
    """
    A version's digits, a deployment, a request by any of its ids, and what served at an instant.
    """
    found = named(ask, text, now_ms=NOW_MS)

    assert (found.how, found.version.version) == NAMES[text]
    assert found.version.is_known == (found.version.version != "9" * 64)


REFUSED = {
    "nothing": "'nothing' names no version: no version, deployment or request is known by it.",
    "deadbeef": "'deadbeef' names no version: no version, deployment or request is known by it.",
    "composite:xyz": "'composite:xyz' names no version: it is named by 8 to 64 hex digits.",
    "@now": "'@now' names no version: before @ stands ENVIRONMENT or SERVICE/ENVIRONMENT.",
    "/prod@now": "'/prod@now' names no version: before @ stands ENVIRONMENT or "
    "SERVICE/ENVIRONMENT.",
    "production@2020-01-01": "'production@2020-01-01' names no version: nothing was deployed there "
    "then; the first was at 2026-08-22T11:02:07Z.",
    "ä" * 200: f"'{'ä' * 80}' names no version: no version, deployment or request is known by it.",
    f"request:{request_id(3)}": f"'request:{request_id(3)}' names no version: the request is "
    "stored, and nothing says which version served it.",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_names_nothing_is_refused(ask: Ask, text: str) -> None:
    """
    A text that names no version is told with what is known.
    """
    with pytest.raises(NothingNamedError) as refused:
        named(ask, text, now_ms=NOW_MS)

    assert refused.value.message == REFUSED[text]


def test_what_names_several_is_refused_with_all(ask: Ask) -> None:
    """
    An environment in which several services run names none of them.
    """
    with pytest.raises(AmbiguousIdError) as refused:
        named(ask, "test@now", now_ms=NOW_MS)

    assert refused.value.hits == ("billing/test@now", "search/test@now")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW_MS),
        ("", NOW_MS),
        ("1h", NOW_MS - 3_600_000),
        ("2026-08-01", 1_785_542_400_000),
        ("2026-08-01T10:00", 1_785_578_400_000),
        ("2026-08-01T10:00+02:00", 1_785_571_200_000),
    ],
)
def test_times(text: str, expected: int) -> None:
    """
    A time without a zone is UTC, a date is its first instant.
    """
    assert moment_ms(text, NOW_MS) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "5y", "\x00", "9" * 5_000])
def test_no_times(text: str) -> None:
    """
    What is no time is refused.
    """
    with pytest.raises(FilterError):
        moment_ms(text, NOW_MS)


def test_texts_are_given_where_they_recompute(store: Store, ask: Ask) -> None:
    """
    A registered text is joined from its pieces; one whose digest does not recompute is none.
    """
    digest = "sha256:" + "7" * 64
    Filler(store).content(digest, "forged")
    version = read_versions(ask, [SYSTEM.version])[SYSTEM.version]
    facts = version.parts["prompt/answer"].facts
    assert facts is not None
    said = facts["template"]["content"]
    whole = TextRef("template", said["digest"], (said["digest"],), said["bytes"])
    forged = TextRef("x", digest, (digest,), 6)

    assert read_texts(ask, [whole, forged]) == {whole.digest: "Answer {question} from {passages}."}


def test_history_of_all_versions(ask: Ask) -> None:
    """
    Versions come newest first, by when they were first known, each against the one before it.
    """
    steps = history(ask, limit=10)

    assert [one.version.version for one in steps] == ["9" * 64, SECOND.version, SYSTEM.version]
    second = steps[1]
    assert second.against is not None
    assert second.against.version == SYSTEM.version
    assert second.changes["changed"] == ["prompt/answer"]
    assert [one.event_id for one in second.deployments] == ["01" * 16, OTHER_EVENT]


def test_history_of_a_place(ask: Ask) -> None:
    """
    What served one place, newest first; another place's versions are not mixed in.
    """
    steps = history_of_place(ask, service="", environment="production", limit=10)
    several = history_of_place(ask, service="", environment="test", limit=10)

    assert [(one.version.version, one.against and one.against.version) for one in steps] == [
        (SECOND.version, SYSTEM.version),
        (SYSTEM.version, None),
    ]
    assert [one.against for one in several] == [None, None]
    assert len(history_of_place(ask, service="", environment="production", limit=1)) == 1


def test_two_things_of_one_beginning_are_both_told(store: Store, ask: Ask) -> None:
    """
    Digits that begin a version and a deployment name neither; both are listed.
    """
    digits = SECOND.version[:8]
    decide(Filler(store), digits + "0" * 24, SYSTEM.version, 0, service="x", environment="y")

    with pytest.raises(AmbiguousIdError) as refused:
        named(ask, digits, now_ms=NOW_MS)

    assert refused.value.hits == (
        f"version {SECOND.version}",
        f"deployment {digits}{'0' * 24}",
    )
    assert replace(named(ask, SECOND.version, now_ms=NOW_MS), text="").how == "version"
