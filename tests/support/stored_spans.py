"""Rows of `spans` as a client of the SQL endpoint sees them, ready to be compared with a sender's."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect

COLUMNS = """trace_id_hex, span_id_hex, parent_span_id_hex, name, kind,
    toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, status_code, status_message,
    trace_state, scope_name, scope_version, attributes_string, attributes_int, attributes_double,
    attributes_bool, attributes_json, resource_attributes,
    arrayMap(e -> (toUnixTimestamp64Nano(e.time), e.name, e.attributes), events) AS event_list,
    arrayMap(l -> (lower(hex(l.trace_id)), lower(hex(l.span_id)), l.attributes), links) AS link_list,
    content_removed"""


def typed(value: Any) -> Any:
    """Make types part of a comparison: True, 1 and 1.0 are equal in Python."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return (type(value).__name__, value)


def stored_rows(url: str, service: str, count: int) -> dict[str, dict[str, Any]]:
    """Return the rows of a service by span id, once there are *count*."""
    address = urlsplit(url)
    client = clickhouse_connect.get_client(
        host=address.hostname, port=address.port, proxy_path="/sql"
    )
    query = f"SELECT {COLUMNS} FROM spans WHERE service = {{service:String}}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = list(client.query(query, parameters={"service": service}).named_results())
        if len(rows) >= count:
            break
        time.sleep(0.1)
    client.close()
    assert len(rows) == count
    return {row["span_id_hex"]: plain(row) for row in rows}


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Read the JSON texts of a row, so that it compares with Python's values."""
    row = dict(row)
    for name in ("attributes_json", "resource_attributes"):
        row[name] = {key: json.loads(text) for key, text in row[name].items()}
    for name in ("event_list", "link_list"):
        row[name] = [
            (one, two, {key: json.loads(text) for key, text in facts.items()})
            for one, two, facts in row[name]
        ]
    return row
