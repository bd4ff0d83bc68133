"""A small store for tests of SQL: 400 requests of two projects, with spans and a registry.

The rows are made by SQL from ``numbers()``, so that they need no loader and never change.
"""

from __future__ import annotations

from typing import Final

from mvtrace.store import Store

PROJECTS: Final = ("default", "other")
"""Each has half of all rows; rows of both stand in the same granules."""

_ID: Final = "unhex(concat(lower(leftPad(hex(1790000000000 + number * 60000), 12, '0')), '7000', "
_REQUESTS: Final = f"""
INSERT INTO {{database}}.requests (project, request_id, revision, record, service, environment,
    state, started_at, duration_ns, status_code, error_type, route, composite_version,
    composite_name, arm, models_served, input_tokens, output_tokens, drift, received_at, protocol)
SELECT {{project:String}}, {_ID}leftPad(hex(number * 7919 + {{salt:UInt8}}), 16, '0'))), 2,
    concat('{{"n":', toString(number), ',"owner":"', {{project:String}}, '"}}'),
    'support', ['production', 'staging'][1 + number % 10 = 1], 'finished',
    toDateTime64(1790000000 + number * 60, 9, 'UTC'), 1000000 * (100 + number % 97),
    if(number % 20 = 3, 500, 200), if(number % 20 = 3, {{project:String}}, NULL),
    ['/chat', '/search'][1 + number % 2], repeat(['a', 'b'][1 + number % 3 = 1], 64), 'support-bot',
    ['stable', 'canary'][1 + number % 5 = 1], ['m1'], number % 50, number % 70, number % 30 = 2,
    now64(3), 'http'
FROM numbers(200)
"""
_SPANS: Final = f"""
INSERT INTO {{database}}.spans (project, request_id, span_id, trace_id, name, start_time,
    duration_ns, service, operation, model_requested, model_served, input_tokens, output_tokens,
    attributes_string, attributes_int, attributes_json, events, received_at)
SELECT {{project:String}}, {_ID}leftPad(hex(number * 7919 + {{salt:UInt8}}), 16, '0'))),
    unhex(leftPad(hex(number * 10 + step), 16, '0')), unhex(leftPad(hex(number + 1), 32, '0')),
    ['retrieve', 'generate'][step], toDateTime64(1790000000 + number * 60, 9, 'UTC'),
    1000000 * step * (10 + number % 31), 'support', ['retrieval', 'chat'][step],
    ['', 'm1'][step], ['', 'm1'][step], number % 50, number % 70,
    map('index', 'faq', 'owner', {{project:String}}), map('top_k', toInt64(3 + number % 3)),
    map('documents', '["d1","d2"]'),
    [(toDateTime64(1790000000 + number * 60, 9, 'UTC'), 'first token', map('n', '1'))], now64(3)
FROM numbers(200) ARRAY JOIN [1, 2] AS step
"""
_COMPONENTS: Final = """
INSERT INTO {database}.components SELECT {project:String}, concat('sha256:', toString(number)),
    ['model', 'prompt', 'index', 'router'][1 + number % 4],
    concat('{"kind":"', ['model', 'prompt', 'index', 'router'][1 + number % 4],
        '","facts":{"size":', toString(number), ',"owner":"', {project:String}, '"}}'), now64(3)
FROM numbers(8)
"""
_COMPOSITES: Final = """
INSERT INTO {database}.composites (project, version, name, manifest, labels, component_kinds,
    component_names, component_digests, received_at) SELECT {project:String}, repeat(['a', 'b'][1 + number], 64),
    'support-bot', '{"components":[],"edges":[]}', map('model/answer', concat('v', toString(number))),
    ['model', 'prompt', 'index'], ['answer', 'system', 'faq'],
    arrayMap(n -> concat('sha256:', toString(4 * number + n)), [0, 1, 2]), now64(3)
FROM numbers(2)
"""


def fill(store: Store) -> None:
    """Put the rows of both projects into *store*, whose tables are empty."""
    for salt, project in enumerate(PROJECTS):
        for statement in (_REQUESTS, _SPANS, _COMPONENTS, _COMPOSITES):
            sql = statement.replace("{database}", store.database)
            store.command(sql, {"project": project, "salt": salt})
    for table in ("requests", "spans", "components", "composites"):
        store.command(f"OPTIMIZE TABLE {store.database}.{table} FINAL")
