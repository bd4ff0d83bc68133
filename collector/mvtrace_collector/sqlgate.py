"""The gate before SQL of others: one SELECT over mvtrace's tables passes, all else is refused.

In: the text of a query and its parameters. Out: an Approved statement, which is the engine's
normal form of it; what is looked at is what runs, to the letter. Three looks, each of which a
refusal ends:

1. ``formatQuerySingleLine({q:String})`` parses the text and refuses several statements. Comments,
   heredocs and odd quotes are gone from what it gives back.
2. ``sqltext`` looks that over sign by sign: no name may hold what could imitate a tree.
3. ``EXPLAIN AST`` prints its tree, ``sqltree`` reads it, and every node has to be of a known kind,
   every function listed in ``sql_functions.txt``, every table one of the database's.

Left out: running the query (``sqlreaders``), and rows of other projects (the readers' filter).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from mvtrace.errors import QueryRefusedError, StatementFailedError
from mvtrace.store import Store
from mvtrace_collector.sqlcatalog import Catalog, read_catalog
from mvtrace_collector.sqlreaders import Limits, ReaderPool, reader_settings
from mvtrace_collector.sqltext import Statement, looked_over
from mvtrace_collector.sqltree import Node, arguments, tree_of

MAX_STATEMENT: Final = 128 * 1024
"""Bytes of a statement; the engine's own parser stops at 256 KiB."""

CATALOG_AGE_S: Final = 30.0
"""A table that a migration adds is seen after this time."""

_KEPT: Final = 512
"""Verdicts kept: a dashboard sends the same few statements again and again."""

_NORMAL_SQL: Final = "SELECT formatQuerySingleLine({q:String})"

_KINDS: Final = frozenset(
    {
        *("SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery", "ExpressionList"),
        *("Literal", "Identifier", "TableIdentifier", "Function", "Subquery"),
        *("TablesInSelectQuery", "TablesInSelectQueryElement", "TableExpression", "TableJoin"),
        *("ArrayJoin", "SampleRatio", "Asterisk", "QualifiedAsterisk", "WithElement"),
        *("WindowDefinition", "WindowListElement", "OrderByElement", "InterpolateElement"),
        *("ColumnsRegexpMatcher", "ColumnsListMatcher", "QualifiedColumnsRegexpMatcher"),
        *("QualifiedColumnsListMatcher", "ColumnsTransformerList", "ColumnsExceptTransformer"),
        *("ColumnsReplaceTransformer", "ColumnsReplaceTransformer::Replacement"),
    }
)
_WORDS: Final = {
    "Set": "a SETTINGS clause",
    "ColumnsApplyTransformer": "APPLY",
    "Explain": "EXPLAIN",
}
_MEMBERSHIP: Final = frozenset(
    name + suffix for name in ("in", "notIn", "nullIn", "notNullIn") for suffix in ("", "IgnoreSet")
) | {"globalIn", "globalNotIn", "globalNullIn", "globalNotNullIn"}
_TYPED: Final = frozenset({"CAST", "_CAST", "accurateCast", "accurateCastOrNull", "reinterpret"})
_NAMED_AGGREGATE: Final = frozenset({"arrayReduce", "arrayReduceInRanges"})
_TABLE_FUNCTIONS: Final = frozenset({"numbers"})


class Approved(NamedTuple):
    """A statement that may run on a reader."""

    sql: str
    """The normal form, without its FORMAT clause."""
    format: str | None
    parameters: Mapping[str, Any]
    """Those that the statement names."""


class Gate:
    """Judges statements for one store; safe for several threads."""

    def __init__(
        self, store: Store, readers: ReaderPool, *, hidden: frozenset[str] = frozenset()
    ) -> None:
        self._store = store
        self._hidden = hidden
        """Tables that are refused as if there were none of that name."""
        self._readers = readers
        self._guard = threading.Lock()
        self._verdicts: OrderedDict[str, Statement] = OrderedDict()
        self._catalog: Catalog | None = None
        self._read_at = 0.0
        limits = replace(Limits(), max_execution_time=5, max_memory_usage=512 << 20, max_threads=1)
        self._settings = reader_settings(
            limits, database=store.database, tables=frozenset(), project=None
        )

    @property
    def catalog(self) -> Catalog:
        """What may be named, as of at most half a minute ago."""
        with self._guard:
            if self._catalog is None or time.monotonic() - self._read_at > CATALOG_AGE_S:
                catalog = read_catalog(self._store).without(self._hidden)
                if catalog != self._catalog:
                    self._verdicts.clear()
                self._catalog, self._read_at = catalog, time.monotonic()
            return self._catalog

    def approve(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Approved:
        """Return what may run of *sql*.

        Raises:
            QueryRefusedError: *sql* is not let through, with the reason.
            StatementFailedError: *sql* is no SQL, or a parameter is missing.

        """
        given = dict(parameters or {})
        catalog = self.catalog
        statement = self._kept(sql)
        if statement is None:
            statement = self._judged(sql, given, catalog)
            with self._guard:
                self._verdicts[sql] = statement
                while len(self._verdicts) > _KEPT:
                    self._verdicts.popitem(last=False)
        named = {name: given[name] for name in statement.parameters if name in given}
        return Approved(statement.text, statement.format, named)

    def normal_form(self, sql: str) -> str:
        """Return *sql* as the engine writes it: one line, one statement, no comment."""
        try:
            size = len(sql.encode())
        except UnicodeEncodeError:
            raise QueryRefusedError("it holds half a character, which no text has") from None
        if size > MAX_STATEMENT:
            raise QueryRefusedError(f"it is longer than {MAX_STATEMENT // 1024} KiB")
        with self._readers.reader(self._settings) as session:
            try:
                normal = session.raw(_NORMAL_SQL, {"q": sql}, "TSVRaw")
            except StatementFailedError as error:
                raise _unparsed(error) from error
        return normal.decode("utf-8", "surrogateescape").removesuffix("\n")

    def _kept(self, sql: str) -> Statement | None:
        with self._guard:
            statement = self._verdicts.get(sql)
            if statement is not None:
                self._verdicts.move_to_end(sql)
            return statement

    def _judged(self, sql: str, given: dict[str, Any], catalog: Catalog) -> Statement:
        statement = looked_over(self.normal_form(sql))
        named = {name: given[name] for name in statement.parameters if name in given}
        with self._readers.reader(self._settings) as session:
            printed = session.raw(f"EXPLAIN AST {statement.text}", named or None, "TSVRaw")
        check_tree(tree_of(printed.decode("utf-8", "surrogateescape")), statement, catalog)
        return statement


def _unparsed(error: StatementFailedError) -> QueryRefusedError | StatementFailedError:
    if "Multi-statements" in error.message:
        return QueryRefusedError("it holds several statements")
    return error


def check_tree(root: Node, statement: Statement, catalog: Catalog) -> None:
    """Raise QueryRefusedError where the tree under *root* holds what is not let through."""
    check = _Check(statement, catalog)
    check.root(root)
    for node, parent in root.walk():
        check.node(node, parent)


class _Check:
    """The rules, a method for each kind of node that needs one."""

    def __init__(self, statement: Statement, catalog: Catalog) -> None:
        self._subqueries = statement.subqueries
        self._catalog = catalog
        self._rules = {
            "Function": self._function,
            "Identifier": self._identifier,
            "TableIdentifier": self._table,
            "SelectWithUnionQuery": self._select,
        }

    def root(self, node: Node) -> None:
        if node.kind != "SelectWithUnionQuery":
            raise QueryRefusedError(f"it is {_WORDS.get(node.kind, node.kind)}, not SELECT")
        # The format is that of EXPLAIN itself; the file name of INTO OUTFILE would be a Literal.
        extra = [child.kind for child in node.children[1:] if child.kind != "Identifier"]
        if extra:
            word = "INTO OUTFILE" if "Literal" in extra else _WORDS.get(extra[0], extra[0])
            raise QueryRefusedError(f"{word} is not let through")
        node.children[1:] = []

    def node(self, node: Node, parent: Node) -> None:
        if node.kind not in _KINDS:
            raise QueryRefusedError(f"{_WORDS.get(node.kind, node.kind)} is not let through")
        rule = self._rules.get(node.kind)
        if rule is not None:
            rule(node, parent)

    def _select(self, node: Node, _: Node) -> None:
        if [child.kind for child in node.children] != ["ExpressionList"]:
            raise QueryRefusedError("INTO OUTFILE, FORMAT or SETTINGS stands in a subquery")

    def _function(self, node: Node, parent: Node) -> None:
        if parent.kind == "TableExpression":
            if node.name not in _TABLE_FUNCTIONS:
                raise QueryRefusedError(f"the table function {node.name!r} is not let through")
            return
        if not self._catalog.allows_function(node.name):
            raise QueryRefusedError(f"the function {node.name!r} is not let through")
        given = arguments(node)
        if node.name in _MEMBERSHIP and len(given) > 1 and given[1].kind == "Identifier":
            self._set(given[1].name)
        if node.name.lower() in {"cast", "_cast"} or node.name in _TYPED:
            self._constant(node, given[1:2])
        if node.name in _NAMED_AGGREGATE:
            self._constant(node, given[:1])

    def _constant(self, node: Node, given: Any) -> None:
        if any(one.kind != "Literal" for one in given):
            raise QueryRefusedError(f"{node.name} takes its type or function as a literal only")

    def _identifier(self, node: Node, _: Node) -> None:
        if not self._catalog.allows_identifier(node.name):
            raise QueryRefusedError(
                f"{node.name!r} is the name of a function that is not let through",
                hint="Give the column or alias another name.",
            )

    def _table(self, node: Node, parent: Node) -> None:
        if parent.kind != "TableExpression":
            raise QueryRefusedError(f"the table {node.name!r} stands where no table belongs")
        if not (self._is_open(node.name) or self._is_subquery(node.name)):
            self._refuse_table(node.name)

    def _set(self, name: str) -> None:
        """``x IN name``: a column or an alias, a subquery of WITH, or a table."""
        is_relation = "." in name or name in self._catalog.closed
        if is_relation and not self._is_open(name):
            self._refuse_table(name)

    def _is_open(self, name: str) -> bool:
        return name.removeprefix(f"{self._catalog.database}.") in self._catalog.tables

    def _is_subquery(self, name: str) -> bool:
        return name in self._subqueries and name not in self._catalog.closed

    def _refuse_table(self, name: str) -> None:
        raise QueryRefusedError(
            f"the table {name!r} is not one of {self._catalog.database}",
            hint=f"The tables are {', '.join(sorted(self._catalog.tables))}.",
        )
