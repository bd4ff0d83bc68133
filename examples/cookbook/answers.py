"""Read the cookbook, and write the answers that the store gives to its questions.

    python -m examples.cookbook.answers FOLDER

In: ``README.md``: a heading, a block of SQL, and the table it gives, again and again. Out: the same
with the tables made anew, by the collector's own gate and readers. FOLDER is where the store is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from mvtrace.store import Store, open_store
from mvtrace_collector.sqlgate import Gate
from mvtrace_collector.sqlreaders import Limits, ReaderPool, reader_settings

README: Final = Path(__file__).parent / "README.md"
_HEADING: Final = "\n## "
_QUERY: Final = re.compile(
    r"^```sql\n(?P<sql>(?:(?!```).*\n)+)```\n(?P<answer>(?:\n(?:\|.*\n)+)?)", re.MULTILINE
)


class Question(NamedTuple):
    """One question, its query, and the table that stands below it."""

    title: str
    sql: str
    answer: str


def questions(text: str) -> Iterator[Question]:
    """Yield the questions of the cookbook *text*."""
    for found in _QUERY.finditer(text):
        title = text[: found.start()].rpartition(_HEADING)[2].partition("\n")[0]
        yield Question(title, found["sql"], found["answer"].strip())


def answered(text: str, ask: Callable[[str], str]) -> str:
    """Return *text* with each table made anew by *ask*."""

    def renewed(found: re.Match[str]) -> str:
        head = found[0][: found.start("answer") - found.start()]
        return f"{head}\n{ask(found['sql']).strip()}\n"

    return _QUERY.sub(renewed, text)


class Desk:
    """Asks as somebody with a key of one project asks a collector."""

    def __init__(self, store: Store, project: str = "default") -> None:
        self._pool = ReaderPool(store)
        self._gate = Gate(store, self._pool)
        self._settings = reader_settings(
            Limits(), database=store.database, tables=self._gate.catalog.tables, project=project
        )

    def ask(self, sql: str) -> str:
        """Return the table that *sql* gives."""
        approved = self._gate.approve(sql)
        with self._pool.reader(self._settings) as session:
            return session.raw(approved.sql, approved.parameters or None, "Markdown").decode()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


if __name__ == "__main__":
    with open_store(f"chdb://{Path(sys.argv[1]).absolute() / 'store'}") as opened:
        desk = Desk(opened)
        README.write_text(answered(README.read_text(), desk.ask))
        desk.close()
