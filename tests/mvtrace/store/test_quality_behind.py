"""Whether the roll-up is far enough for a comparison: told by the store, to whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from exposed import BASELINE, CANARY, HOUR, Exposed
from stored import new_store

from mvtrace.comparing.events import Subject
from mvtrace.comparing.from_store import StoreSource
from mvtrace.comparing.reading import Span
from mvtrace.store import Store
from mvtrace.store.quality_behind import QualityBehindError, check_swept

NOW_S = 2_000_000_000
NOW_MS = NOW_S * 1000
RECEIVED_S = NOW_S - 2 * 3600 - 600


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store; each test has a project of its own."""
    with new_store(f"chdb://{tmp_path_factory.mktemp('behind') / 'store'}") as made:
        yield made


@pytest.fixture
def project(store: Store, request: pytest.FixtureRequest) -> str:
    """A project with a request of the first hour, received two hours and ten minutes ago."""
    one = Exposed(at_ms=0, number=1, version=BASELINE)
    name = str(request.node.name)
    columns = ("project", "request_id", "revision", "received_at")
    with store.session() as session:
        row = (name, one.id, 2, datetime.fromtimestamp(RECEIVED_S, UTC))
        session.insert("requests", columns, [row])
    return name


def swept(store: Store, project: str, to_s: int, *, hour: int = 0, revision: int = 1) -> None:
    """Say in the store that *project*, or an hour that lacks something, was swept up to *to_s*."""
    columns = ("project", "hour", "lacks", "swept_to", "revision")
    times = [datetime.fromtimestamp(at, UTC) for at in (hour * 3600, to_s)]
    with store.session() as session:
        session.insert(
            "quality_swept", columns, [(project, times[0], hour > 0, times[1], revision)]
        )


def test_what_was_never_swept_is_not_compared(store: Store, project: str) -> None:
    """
    A roll-up that lacks what was received two hours ago is refused, with what to do.
    """
    with pytest.raises(QualityBehindError) as refusal:
        check_swept(store, project, (HOUR, HOUR + 5), now_ms=NOW_MS)

    assert refusal.value.message == (
        f"The roll-up of quality of project '{project}' is 2 h 10 min behind. It lacks what was "
        "received since 2033-05-18T01:23:20Z, so nothing is compared."
    )
    assert refusal.value.hint == (
        "The collector of this store makes it, every MVTRACE_QUALITY_INTERVAL_S: its log says what "
        "fails, its metric mvtrace_quality_behind_seconds how far it is; where none runs, start it, "
        "and ask again."
    )
    assert (refusal.value.code, refusal.value.exit_code) == ("quality-behind", 3)


def test_what_came_within_the_hour_may_be_missing(store: Store, project: str) -> None:
    """
    Nothing is refused until an hour after something came, nor for what lies in other hours, nor
    where another project is behind.
    """
    soon_ms = (RECEIVED_S + 3599) * 1000

    check_swept(store, project, (HOUR, HOUR), now_ms=soon_ms)
    check_swept(store, project, (HOUR + 1, HOUR + 5), now_ms=NOW_MS)
    check_swept(store, "elsewhere", (HOUR, HOUR), now_ms=NOW_MS)


def test_what_was_swept_once_holds_where_nothing_came_since(store: Store, project: str) -> None:
    """
    A sweep of long ago is enough, as long as nothing was received after it.
    """
    swept(store, project, RECEIVED_S + 1)
    check_swept(store, project, (HOUR, HOUR), now_ms=NOW_MS)

    swept(store, project, RECEIVED_S - 1, revision=2)
    with pytest.raises(QualityBehindError):
        check_swept(store, project, (HOUR, HOUR), now_ms=NOW_MS)


def test_an_hour_that_could_not_be_made_stops_comparisons_of_it(store: Store, project: str) -> None:
    """
    However far the project is, an hour that lacks something for more than an hour is not compared.
    """
    swept(store, project, NOW_S)
    swept(store, project, RECEIVED_S, hour=HOUR + 2)

    check_swept(store, project, (HOUR, HOUR + 1), now_ms=NOW_MS)
    with pytest.raises(QualityBehindError) as refusal:
        check_swept(store, project, (HOUR, HOUR + 2), now_ms=NOW_MS)

    assert refusal.value.message == (
        f"The roll-up of quality of project '{project}' is 2 h 10 min behind: an hour of it could "
        "not be made anew. It lacks what was received since 2033-05-18T01:23:20Z, so nothing is "
        "compared."
    )


def test_a_comparison_asks(store: Store) -> None:
    """
    Sums are not given to a comparison by a roll-up that is behind.
    """
    swept(store, "late", 1_000_000_000, hour=HOUR)
    source = StoreSource(store, "late")
    subject = Subject(baseline=BASELINE, canary=CANARY)

    with pytest.raises(QualityBehindError, match="an hour of it could not be made anew"):
        source.rolled_up(subject, ["error"], Span(HOUR * 3600, HOUR * 3600 + 60), {})
