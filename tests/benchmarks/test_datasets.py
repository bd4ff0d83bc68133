"""What it costs to name a dataset: beside sha256sum, and for 10^7 rows; printed, never asserted."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

ROWS = int(os.environ.get("MVTRACE_BENCHMARK_ROWS", "10000000"))
SHORT, LONG = 12, 300
"""Words of a row: about 150 and 2,000 bytes of JSON."""
WORKER = """
import json, pathlib, sys, time
started = time.process_time(), time.perf_counter()
from mvtrace.registry.datasets.hashing import hash_dataset
found = hash_dataset(sys.argv[1])
print(json.dumps({
    "cpu": time.process_time() - started[0], "wall": time.perf_counter() - started[1],
    "rows": found.rows, "bytes": found.bytes, "root": found.root,
    "mib": int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024,
}))
"""


def rows(count: int, words: int, seed: int = 1) -> list[dict[str, object]]:
    chance = random.Random(seed)
    known = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(5000)]
    return [
        {
            "id": number,
            "text": " ".join(chance.choices(known, k=words)),
            "label": chance.choice("abc"),
            "score": chance.random(),
            "ok": number % 3 == 0,
        }
        for number in range(count)
    ]


def measured(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(path)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def sha256sum(path: Path) -> float:
    """Return the CPU seconds of sha256sum, the file being in memory."""
    path.read_bytes()
    before = os.times()
    subprocess.run(["sha256sum", str(path)], capture_output=True, check=True)
    after = os.times()
    return (
        after.children_user
        + after.children_system
        - (before.children_user + before.children_system)
    )


@pytest.mark.benchmark
def test_speed_beside_sha256sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each format of the same rows gives one root, at a share of the speed of reading the file once.
    """
    with capsys.disabled():
        print(
            f"\n{'':16}{'rows/s':>10}{'MB/s':>7}{'sha256sum':>11}{'ratio':>7}{'MiB':>6}  (CPU time)"
        )
        for name, count, words in (("short", 300_000, SHORT), ("long", 60_000, LONG)):
            content = rows(count, words)
            table = pa.Table.from_pylist(content)
            with (tmp_path / f"{name}.jsonl").open("wb") as file:
                file.writelines(orjson.dumps(row) + b"\n" for row in content)
            parquet.write_table(table, tmp_path / f"{name}.parquet")
            csv.write_csv(table, tmp_path / f"{name}.csv")
            with pa.ipc.new_stream(tmp_path / f"{name}.arrow", table.schema) as sink:
                sink.write_table(table, max_chunksize=10_000)
            for form in ("jsonl", "parquet", "arrow", "csv"):
                path = tmp_path / f"{name}.{form}"
                found, plain = measured(path), sha256sum(path)
                speed, other = found["bytes"] / found["cpu"], found["bytes"] / max(plain, 0.001)
                print(
                    f"{name + ' ' + form:16}{found['rows'] / found['cpu']:10,.0f}"
                    f"{speed / 1e6:7,.0f}{other / 1e6:11,.0f}{speed / other:7.2f}{found['mib']:6,.0f}"
                )


@pytest.mark.benchmark
def test_ten_million_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Memory does not grow with the rows: a tenth of them takes nearly as much.
    """
    with capsys.disabled():
        print(f"\n{'':22}{'rows':>12}{'MB':>8}{'CPU s':>8}{'wall s':>8}{'peak MiB':>10}")
        for form in ("jsonl", "parquet"):
            for count in (ROWS // 10, ROWS):
                path = tmp_path / f"{count}.{form}"
                written(path, count)
                found = measured(path)
                assert found["rows"] == count
                path.unlink()
                print(
                    f"{form:22}{count:12,}{found['bytes'] / 1e6:8,.0f}{found['cpu']:8.1f}"
                    f"{found['wall']:8.1f}{found['mib']:10,.0f}"
                )


def written(path: Path, count: int) -> None:
    """Write *count* different rows, from some that are made anew only in their id."""
    some = rows(50_000, SHORT)
    block = len(some)
    writer = None
    with path.open("wb") as file:
        for start in range(0, count, block):
            part = [{**row, "id": start + at} for at, row in enumerate(some[: count - start])]
            if path.suffix == ".jsonl":
                file.writelines(orjson.dumps(row) + b"\n" for row in part)
                continue
            table = pa.Table.from_pylist(part)
            writer = writer or parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
