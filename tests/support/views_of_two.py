"""Two projects with rows in every table below a view, side by side in the same parts."""

from __future__ import annotations

import json
from typing import Final

from mvtrace.store import Store

MINE: Final = "a"
THEIRS: Final = "b"
SECRET: Final = "THEIRSECRET"
"""Stands in every text of the other project's rows, and in no other."""
ROWS: Final = 6

_ID: Final = "unhex(concat(lower(leftPad(hex(1787396400000 + number * 60000), 12, '0')), '7000', leftPad(hex(number * 7919 + {salt:UInt8}), 16, '8')))"
_AT: Final = "toDateTime64(1787396400 + number * 60, 9, 'UTC')"
_STATEMENTS: Final = (
    f"""INSERT INTO requests (project, request_id, revision, record, service, environment, state,
        outcome, started_at, duration_ns, first_byte_ns, status_code, error_type, protocol, method,
        route, composite_version, composite_name, arm, rollout, models_requested, models_served,
        index_snapshots, routes_chosen, finish_reasons, conversation_id, calls, received_at)
    SELECT {{p:String}}, {_ID}, 2, {{record:String}}, {{t:String}}, {{t:String}}, 'finished', 'ok',
        {_AT}, 5000000, 1000000, 200, {{t:String}}, 'http', {{t:String}}, {{t:String}}, {{t:String}},
        {{t:String}}, {{t:String}}, {{t:String}}, [{{t:String}}], [{{t:String}}], [{{t:String}}],
        [{{t:String}}], [{{t:String}}], {{t:String}}, 1, now64(3) FROM numbers({ROWS})""",
    f"""INSERT INTO scores (project, request_id, name, scorer, event_id, source, value, label,
        scored_at, actor, received_at)
    SELECT {{p:String}}, {_ID}, {{t:String}}, {{t:String}}, unhex(leftPad(hex(number + 1), 32, '0')),
        {{t:String}}, 0.5, {{t:String}}, {_AT}, {{t:String}}, now64(3) FROM numbers({ROWS})""",
    f"""INSERT INTO eval_results (project, suite, scorer, composite, run, entry, example, value,
        label, piece, pieces, recorded_at, received_at)
    SELECT {{p:String}}, {{t:String}}, {{t:String}}, {{t:String}}, {{t:String}}, {{t:String}},
        toString(number), 1, {{t:String}}, 1, 1, {_AT}, now64(3) FROM numbers({ROWS})""",
    f"""INSERT INTO drift_episodes (project, episode_id, revision, state, basis, service,
        environment, kind, name, what, expected, observed, first_request, last_request, started_at,
        last_at, requests, changed_at)
    SELECT {{p:String}}, unhex(leftPad(hex(number + 1), 32, '0')), 1, 'open', {{t:String}},
        {{t:String}}, {{t:String}}, {{t:String}}, {{t:String}}, {{t:String}}, {{t:String}},
        {{t:String}}, {_ID}, {_ID}, {_AT}, {_AT}, 1, now64(3) FROM numbers({ROWS})""",
    f"""INSERT INTO deployments (project, service, environment, at, seq, event_id, action, composite,
        share, actor, actor_label, claimed_actor, reason, body, received_at)
    SELECT {{p:String}}, {{t:String}}, {{t:String}}, {_AT}, number,
        unhex(leftPad(hex(number + 1), 32, '0')), {{t:String}}, {{t:String}}, 1, {{t:String}},
        {{t:String}}, {{t:String}}, {{t:String}}, {{t:String}}, now64(3) FROM numbers({ROWS})""",
    f"""INSERT INTO composites (project, version, name, manifest, labels, component_kinds,
        component_names, component_digests, received_at)
    SELECT {{p:String}}, concat({{t:String}}, toString(number)), {{t:String}}, {{t:String}},
        map({{t:String}}, {{t:String}}), [{{t:String}}], [{{t:String}}], [{{t:String}}], now64(3)
    FROM numbers({ROWS})""",
    f"""INSERT INTO quality_hourly (project, environment, service, composite_version, metric,
        rollout, arm, hour, phase, scorer, revision, requests, total, squares, base)
    SELECT {{p:String}}, {{t:String}}, {{t:String}}, {{t:String}},
        ['request', 'cost_usd', 'latency_ms'][1 + number % 3], {{t:String}}, {{t:String}},
        toDateTime(1787396400 + 3600 * number, 'UTC'), '', {{t:String}}, 1, 5, 2.5, 2, 5
    FROM numbers({ROWS})""",
    f"""INSERT INTO governance_events (project, name, at, seq, event_id, actor, actor_label, body,
        received_at)
    SELECT {{p:String}}, 'mvtrace.verdict', {_AT}, number,
        unhex(leftPad(hex(number + 1), 32, '0')), {{t:String}}, {{t:String}}, {{verdict:String}},
        now64(3) FROM numbers({ROWS})""",
)


def fill_two(store: Store) -> None:
    """Put rows of both projects into *store*, whose tables are empty."""
    for salt, (project, text) in enumerate(((MINE, "7"), (THEIRS, SECRET))):
        given = {
            "p": project,
            "t": text,
            "salt": salt,
            "record": json.dumps(_record(text)),
            "verdict": json.dumps(_verdict(text)),
        }
        for sql in _STATEMENTS:
            named = {name: value for name, value in given.items() if f"{{{name}:" in sql}
            store.command(sql, named)
    for sql in _STATEMENTS:
        table = sql.split()[2]
        store.command(f"OPTIMIZE TABLE {table} FINAL")


def _record(text: str) -> dict[str, object]:
    candidate = {"name": text, "score": 0.5, "threshold": 0.4}
    return {
        "annotations": {"segment": text},
        "calls": [{"kind": "generation", "name": text, "model_served": text}],
        "router_decisions": [{"name": text, "chosen": text, "candidates": [candidate]}],
        "index_snapshots": [{"name": text, "digest": text, "expected": text}],
    }


def _verdict(text: str) -> dict[str, object]:
    return {"decision": "hold", "reason": text, "sentence": text, "metrics": [text]}
