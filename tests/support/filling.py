"""Many requests in a store, cloned in SQL from one real request that came the whole way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from processes import collector

from mvtrace.ids import format_uuid7
from mvtrace.store import open_store

MONTH_MS: Final = 30 * 24 * 3600 * 1000

ONE_REQUEST: Final = """
import sys, mvtrace
mvtrace.configure(service="filled", environment="bench", url=sys.argv[1], spool_dir=sys.argv[2])
model = mvtrace.model("m", provider="bench", model_id="m-1")
index = mvtrace.index("notes", {"a": [1.0, 0.0], "b": [0.0, 1.0]})
prompt = mvtrace.prompt("answer", "Say {x}")
router = mvtrace.router("route", policy={"threshold": 0.5}, candidates=["small", model])
system = mvtrace.composite("filled", model, index, prompt, router, mvtrace.stack())
with mvtrace.request(route="/ask", composite=system) as request:
    with mvtrace.retrieval("notes", index=index, query="q", top_k=2) as call:
        call.documents([("a", 0.9), ("b", 0.1)])
    with mvtrace.routing("route", router=router) as call:
        call.candidate("small", score=0.2, threshold=0.5)
        call.candidate("m", score=0.8, threshold=0.5)
        call.choose("m")
    with mvtrace.generation("g", model="m-1", provider="bench", prompt=prompt, seed=7) as call:
        call.response(model="m-1", id="resp-1", finish_reason="stop", input_tokens=3)
assert mvtrace.flush(20)
print(request.request_id)
"""

MILLISECONDS: Final = "({first_ms} + intDiv(number * {span_ms}, {total}))"
NEW_ID: Final = f"""toFixedString(concat(
    unhex(leftPad(hex(toUInt64({MILLISECONDS})), 12, '0')),
    unhex(concat('7', substring(hex(sipHash64(number, 1)), 1, 3))),
    unhex(concat('8', substring(hex(sipHash64(number, 2)), 1, 3))),
    unhex(leftPad(hex(number), 12, '0'))), 16)"""
NEW_TRACE: Final = "toFixedString(sipHash128(number), 16)"
NEW_ALIAS: Final = "if(kind = 'trace_id', trace, concat('resp-', toString(number)))"
ID_TEXT: Final = """concat(lower(hex(substring(id, 1, 4))), '-', lower(hex(substring(id, 5, 2))),
    '-', lower(hex(substring(id, 7, 2))), '-', lower(hex(substring(id, 9, 2))), '-',
    lower(hex(substring(id, 11, 6))))"""


def fill(folder: Path, requests: int, months: int) -> list[str]:
    """Fill the store in *folder* with *requests* over *months*; return 256 of their ids in order.

    Every clone has its own record (its own id and trace id inside), spans and aliases.
    """
    original = _one_request(folder)
    first_ms = int(time.time() * 1000) - months * MONTH_MS
    span_ms = (months - 1) * MONTH_MS
    store = open_store(f"chdb://{folder / 'store'}")
    try:
        for start in range(0, requests, 250_000):
            count = min(250_000, requests - start)
            numbers = f"numbers({start}, {count})"
            for table in ("requests", "spans", "request_aliases"):
                sql = _clone(table, original, numbers)
                store.command(
                    sql.format(first_ms=first_ms, span_ms=span_ms, total=requests),
                    settings={"max_partitions_per_insert_block": 1000},
                )
        picked = store.query(
            "SELECT request_id_text FROM requests WHERE service = 'filled' "
            "ORDER BY request_id LIMIT 1 BY intDiv(rowNumberInAllBlocks(), {step:UInt64})",
            {"step": max(1, requests // 256)},
        )
        return [str(row[0]) for row in picked.rows]
    finally:
        store.close()


def _one_request(folder: Path) -> str:
    with collector(folder) as one:
        command = [sys.executable, "-c", ONE_REQUEST, one.url, str(folder / "spool")]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        request_id = made.stdout.strip()
        explain = [sys.executable, "-m", "mvtrace", "explain", request_id, "--url", one.url]
        subprocess.run(explain, check=True, capture_output=True)
    return request_id


def _clone(table: str, original: str, numbers: str) -> str:
    """Return the INSERT that clones the rows of *original* in *table* for each of *numbers*."""
    replaced = {
        "requests": f"""{NEW_ID} AS id, {NEW_TRACE} AS trace, * REPLACE (
            id AS request_id, toNullable(trace) AS trace_id,
            replaceAll(replaceOne(replaceOne(record, '{original}', {ID_TEXT}),
                                  lower(hex(assumeNotNull(trace_id))), lower(hex(trace))),
                       'resp-1', concat('resp-', toString(number))) AS record)""",
        "spans": f"{NEW_ID} AS id, * REPLACE (id AS request_id, {NEW_TRACE} AS trace_id)",
        "request_aliases": f"""{NEW_ID} AS id, lower(hex({NEW_TRACE})) AS trace, * REPLACE (
            id AS request_id, {NEW_ALIAS} AS alias, sipHash64({NEW_ALIAS}) AS alias_hash)""",
    }[table]
    raw = original.replace("-", "")
    # The helper columns come first and are cut off again by EXCEPT.
    helpers = "id, trace" if "AS trace," in replaced else "id"
    return (
        f"INSERT INTO {table} SELECT * EXCEPT ({helpers}) FROM (SELECT {replaced} FROM "
        f"(SELECT * FROM {table} WHERE request_id = unhex('{raw}')) AS source, "
        f"{numbers} AS counted)"
    ).replace("* REPLACE", "source.* REPLACE")


def earlier_id(months: int) -> str:
    """Return a request id whose time lies *months* back, for a record made today."""
    return format_uuid7(int(time.time() * 1000) - months * MONTH_MS, months + 1)
