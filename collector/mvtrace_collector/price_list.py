"""The price list of ``genai-prices`` as it is installed: a component, and prices as rows.

In: the names that a call gave its provider and its model. Out: each price the list has for it, with
the days, hours and numbers of tokens it is for; nothing where the list does not know the model. No
price is fetched: another release of the package is another list, with another digest. Prices of a
service tier (batch, flex, priority) are left out, since no record says which was charged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from mvtrace.components.code import custom
from mvtrace.components.component import Component

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ConditionalPrice, ModelPrice

PACKAGE: Final = "genai-prices"
ALWAYS: Final = -1
"""The bound of a price that does not depend on the number of tokens."""
DAY_S: Final = 86_400
DIGITS: Final = Decimal(1).scaleb(-18)
_EVER: Final = date(1970, 1, 1)
_DATA: Final = ("data.py", "data_units.py")
_UNITS: Final = {
    "input_mtok": ("input", 1_000_000),
    "cache_read_mtok": ("cache_read", 1_000_000),
    "cache_write_mtok": ("cache_write", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "output_reasoning_mtok": ("output_reasoning", 1_000_000),
    "requests_kcount": ("requests", 1_000),
}
"""What a record counts, as the list calls its prices; of anything else nobody says how much it was.
"""


class Price(NamedTuple):
    """What *per* of a *unit* cost; the table ``model_prices`` says which price holds when."""

    rank: int
    valid_from: date
    second_from: int
    second_until: int
    unit: str
    above: int
    usd: Decimal
    per: int


class Priced(NamedTuple):
    """A model of the list, and its prices."""

    name: str
    prices: tuple[Price, ...]


class PriceList:
    """One price list; not for several threads at once."""

    def __init__(self, snapshot: DataSnapshot, component: Component) -> None:
        self._snapshot = snapshot
        self.component = component

    @property
    def digest(self) -> str:
        """The digest of the list, which is the scorer of what it prices."""
        return self.component.digest

    @classmethod
    def installed(cls) -> Self:
        """Return the list that the installed package brings along.

        Raises:
            ImportError: there is none.
        """
        return cls(_snapshot(), _component())

    def of(self, provider: str, model: str) -> Priced:
        """Return what *model* of *provider* costs, by the names that a call gave them.

        Without a provider nothing is guessed: a model of that name may run on one's own machine.
        """
        if not provider:
            return Priced("", ())
        try:
            seller, found = self._snapshot.find_provider_model(model, None, provider, None)
        except LookupError:
            return Priced("", ())
        terms: list[ConditionalPrice | ModelPrice] = []
        terms += found.prices if isinstance(found.prices, list) else [found.prices]
        prices = tuple(price for rank, one in enumerate(terms) for price in _prices(rank, one))
        return Priced(f"{seller.id}/{found.id}", prices)


@cache
def _snapshot() -> DataSnapshot:
    from genai_prices.data import providers  # noqa: PLC0415 (slow to import, and large)
    from genai_prices.data_snapshot import DataSnapshot  # noqa: PLC0415 (as above)

    return DataSnapshot(providers=providers, from_auto_update=False)


@cache
def _component() -> Component:
    data = hashlib.sha256()
    for name in _DATA:
        data.update((files("genai_prices") / name).read_bytes())
    return custom(
        PACKAGE, library=PACKAGE, version=version(PACKAGE), data=f"sha256:{data.hexdigest()}"
    )


def _prices(rank: int, terms: ConditionalPrice | ModelPrice) -> Iterator[Price]:
    """Yield the prices of one set of terms of a model."""
    valid_from, second_from, second_until = _when(getattr(terms, "constraint", None))
    for key, said in vars(getattr(terms, "prices", terms)).items():
        if said is None or key not in _UNITS:
            continue
        unit, per = _UNITS[key]
        steps = [(ALWAYS, said)]
        if not isinstance(said, Decimal):
            steps = [(ALWAYS, said.base), *((tier.start, tier.price) for tier in said.tiers)]
        for above, usd in steps:
            yield Price(
                rank, valid_from, second_from, second_until, unit, above, usd.quantize(DIGITS), per
            )


def _when(constraint: object) -> tuple[date, int, int]:
    """Return the first day and the seconds of a day that a price is for."""
    if constraint is None:
        return _EVER, 0, DAY_S
    if hasattr(constraint, "start_date"):
        return constraint.start_date, 0, DAY_S
    begin, end = constraint.start_time, constraint.end_time  # type: ignore[attr-defined]
    return _EVER, _second(begin), _second(end)


def _second(moment: time) -> int:
    """Return the second of the day of *moment*, UTC where it names no zone."""
    if moment.tzinfo is not None:
        moment = datetime.combine(_EVER, moment).astimezone(UTC).time()
    return moment.hour * 3600 + moment.minute * 60 + moment.second
