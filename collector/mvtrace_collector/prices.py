"""Prices of the models that served, looked up as they are met.

In: the ids of some requests of a project. Out: a row of ``model_prices`` for each price of each
model that they called, and the list's component among the project's, so that the scorer of
``cost_usd`` can be looked up like any other. A model is looked up once a project and list; one that
the list does not have is remembered too, and costs nothing known.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from mvtrace.store.session import Session
from mvtrace_collector.price_list import ALWAYS, Price, PriceList
from mvtrace_collector.statements import statement

_LOGGER: Final = logging.getLogger(__name__)

MAX_MODELS: Final = 2_000
"""Pairs of provider and model of one project and list; of more the cost is not known."""
NO_LIST: Final = ""
_COLUMNS: Final = (
    *("project", "list", "provider", "model", *Price._fields),
    *("priced_as", "received_at"),
)
_COMPONENT_COLUMNS: Final = ("project", "digest", "kind", "body", "received_at")
_NO_PRICE: Final = Price(0, date(1970, 1, 1), 0, 0, "", ALWAYS, Decimal(0), 0)
"""The row of a model that the list does not have."""


class PriceBook:
    """Learns prices, one statement at a time; not for several threads at once."""

    def __init__(self, session: Session, database: str, prices: PriceList | None = None) -> None:
        """*prices* is the list; None: the installed one, once a model asks for it."""
        self._session = session
        self._database = database
        self._prices = prices
        self._is_missing = False
        self._known: dict[str, int] = {}

    def learn(self, project: str, first: str, last: str) -> str:
        """Look up what the calls of the requests from id *first* to *last* (32 hex digits) cost.

        Return the digest of the price list, to be the parameter ``prices`` of ``quality_values``;
        empty where no list is installed.

        Raises:
            StatementFailedError: the store refuses.
            UnavailableError: it does not answer.
        """
        prices = self._list()
        if prices is None:
            return NO_LIST
        room = MAX_MODELS - self._count(project, prices)
        if room > 0:
            asked = {"project": project, "first": first, "last": last, "prices": prices.digest}
            found = self._session.query(
                statement("quality_models", self._database), {**asked, "limit": room}
            )
            self._add(project, prices, found.rows)
        return prices.digest

    def _list(self) -> PriceList | None:
        if self._prices is None and not self._is_missing:
            try:
                self._prices = PriceList.installed()
            except ImportError as error:
                self._is_missing = True
                _LOGGER.warning("Nothing is priced, since no price list is installed: %s", error)
        return self._prices

    def _count(self, project: str, prices: PriceList) -> int:
        """Return how many models are known; asked once, so that a full book stays full."""
        if project not in self._known:
            rows = self._session.query(
                statement("prices_known", self._database),
                {"project": project, "prices": prices.digest},
            ).rows
            self._known[project] = int(rows[0][0])
        return self._known[project]

    def _add(self, project: str, prices: PriceList, models: list[tuple[Any, ...]]) -> None:
        if not models:
            return
        now = datetime.now(UTC)
        rows = []
        for provider, model in models:
            priced = prices.of(provider, model)
            key = (project, prices.digest, provider, model)
            rows += [(*key, *price, priced.name, now) for price in priced.prices or (_NO_PRICE,)]
        one = prices.component
        self._session.insert(
            "components",
            _COMPONENT_COLUMNS,
            [(project, one.digest, one.kind, one.body.decode(), now)],
        )
        self._session.insert("model_prices", _COLUMNS, rows)
        self._known[project] = self._known.get(project, 0) + len(models)
