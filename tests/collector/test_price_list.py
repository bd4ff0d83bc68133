"""The price list: what a call costs is what its own package computes, at any time and size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices
from valued import answer, close, expected, put_all, record, told_of, values_in

from mvtrace.records import Call, RequestRecord, UnixNano, Usage
from mvtrace.store import Store
from mvtrace_collector.price_list import ALWAYS, DAY_S, DIGITS, PriceList
from mvtrace_collector.prices import PriceBook

MOMENTS = ("2024-05-01T00:29:59", "2025-02-09T03:30:00", "2025-09-01T16:30:00", "2026-11-20T23:59")
SIZES = ((199_999, 1_000), (200_001, 1_000), (1_000_001, 70_000), (0, 0))
MOST_MODELS = 150


def terms_of(model: ModelInfo) -> list[ModelPrice]:
    """Return all prices of a model."""
    if isinstance(model.prices, ModelPrice):
        return [model.prices]
    return [one.prices for one in model.prices]


def is_involved(model: ModelInfo) -> bool:
    """Whether its price depends on size or time."""
    tiered = any(isinstance(one, TieredPrices) for p in terms_of(model) for one in vars(p).values())
    return tiered or not isinstance(model.prices, ModelPrice)


def listed() -> Iterator[tuple[Provider, ModelInfo]]:
    """Yield every model of the list."""
    for provider in providers:
        for model in provider.models:
            yield provider, model


def _amounts(value: Any) -> list[Decimal]:
    if isinstance(value, TieredPrices):
        return [value.base, *(tier.price for tier in value.tiers)]
    return [] if value is None else [value]


def _requests(chosen: list[tuple[Provider, ModelInfo]]) -> Iterator[RequestRecord]:
    number = 0
    for seller, model in chosen:
        for moment in MOMENTS:
            for inputs, outputs in SIZES:
                number += 1
                at = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
                call = Call(
                    kind="generation",
                    name="c",
                    provider=seller.id,
                    model_served=model.id,
                    usage=Usage(
                        input_tokens=inputs,
                        output_tokens=outputs,
                        cache_read_input_tokens=inputs // 3,
                        cache_write_input_tokens=inputs // 7,
                        reasoning_output_tokens=outputs // 2,
                    ),
                    started_at=UnixNano(at * 10**9 + 999_999_999),
                )
                yield record(number, calls=(call,))


def _called(calls: Iterable[Call]) -> list[RequestRecord]:
    return [record(number, calls=(call,)) for number, call in enumerate(calls)]


@cache
def involved() -> list[RequestRecord]:
    chosen = [(seller, one) for seller, one in listed() if is_involved(one)]
    step = max(1, len(chosen) // MOST_MODELS)
    timed = [pair for pair in chosen if pair[0].id == "deepseek"]
    return list(_requests([*timed, *chosen[::step]]))


NAMES = [
    "'; DROP TABLE requests --",
    "a\x1fb",
    "\n",
    "gpt-4o\x1f",
    "m" * 5_000,
    "\\",
    "{x:String}",
]
ODD = [answer(model_served=name) for name in NAMES] + [answer(provider=name) for name in NAMES]


@pytest.fixture(scope="module")
def installed() -> PriceList:
    return PriceList.installed()


def test_no_price_of_the_list_is_rounded(installed: PriceList) -> None:
    """
    Every price of every model has at most the digits that the table holds, and is below its bound.
    """
    said = [
        price
        for _, model in listed()
        for terms in terms_of(model)
        for value in vars(terms).values()
        for price in _amounts(value)
    ]

    assert len(said) > 2_000
    assert [one for one in said if one != one.quantize(DIGITS)] == []
    assert max(said) < 10**6
    assert installed.digest.startswith("sha256:")


def test_a_price_is_found_by_the_names_that_a_call_gives(installed: PriceList) -> None:
    """
    Provider and model as they are called; without a provider, or of an unknown one, nothing is.
    """
    assert installed.of("openai", "gpt-4o-2024-08-06").name == "openai/gpt-4o"
    assert installed.of("azure.ai.openai", "gpt-4o").prices
    for provider, model in (("", "gpt-4o"), ("my-gpu", "gpt-4o"), ("openai", "gpt-4o\x00"[:0])):
        assert installed.of(provider, model) == ("", ()), (provider, model)
    (first, *_) = installed.of("openai", "gpt-4o").prices
    assert (first.second_from, first.second_until, first.above) == (0, DAY_S, ALWAYS)


def test_costs_are_those_that_the_package_computes(store: Store) -> None:
    """
    For models with tiers, later prices and cheap hours: at, below and above the bounds.
    """
    found = [one for one in values_in(store, project="involved") if one.metric.endswith("cost_usd")]

    lists = {one.scorer for one in found}
    told = [
        one
        for one in expected(involved(), prices=next(iter(lists)))
        if one.metric.endswith("cost_usd")
    ]
    assert len(lists) == 1
    assert close(found, told)
    assert len({one.value for one in found}) > MOST_MODELS


@pytest.fixture(scope="module")
def store(shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The module's store, with a project for each test."""
    told = {
        "involved": told_of(involved()),
        "full": told_of(
            _called([*(answer(model_served=f"m{n}") for n in range(50)), *[answer()] * 3])
        ),
        "odd": told_of(_called(ODD)),
        "without": told_of(_called([answer()])),
    }
    put_all(shared_store, tmp_path_factory.mktemp("all"), told)
    return shared_store


def test_a_full_book_stays_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Made-up names of models fill a project's book to its bound, and no further; those most used are
    in it.
    """
    monkeypatch.setattr("mvtrace_collector.prices.MAX_MODELS", 20)
    for _ in range(2):  # thirty more models are met each time
        costs = [one for one in values_in(store, project="full") if one.metric == "cost_usd"]
        assert len(costs) == 3
    count = "SELECT uniqExact(model) FROM model_prices WHERE project = 'full'"
    assert store.query(count).rows == [(20,)]


def test_names_of_any_kind_price_nothing_and_break_nothing(store: Store) -> None:
    """
    Quotes, control characters, separators and very long names are models that nobody sells.
    """
    found = values_in(store, project="odd")

    assert {one.metric for one in found} & {"cost_usd", "log_cost_usd"} == set()
    assert len([one for one in found if one.metric == "input_tokens"]) == len(ODD)


def test_without_a_list_nothing_is_priced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the package is not installed, costs are not known, and all else is.
    """

    def absent() -> Any:
        raise ModuleNotFoundError("No module named 'genai_prices'")

    monkeypatch.setattr(PriceList, "installed", absent)
    with store.session() as session:
        assert PriceBook(session, store.database).learn("without", "0" * 32, "f" * 32) == ""
    found = {one.metric for one in values_in(store, project="without")}

    assert "cost_usd" not in found
    assert "input_tokens" in found
