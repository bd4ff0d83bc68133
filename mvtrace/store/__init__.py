"""Stores: embedded, behind a collector, or a ClickHouse server; the same SQL for all."""

from mvtrace.store.dsn import StoreDsn, parse_dsn
from mvtrace.store.migrations import migrate, pending
from mvtrace.store.opening import open_store
from mvtrace.store.session import Rows, Session
from mvtrace.store.store import Store

__all__ = ["Rows", "Session", "Store", "StoreDsn", "migrate", "open_store", "parse_dsn", "pending"]
