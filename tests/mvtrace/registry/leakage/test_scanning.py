"""One pass over training data: batches, processes, and what a certificate says of it."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import orjson
import pytest
from near_duplicates import Corpus

from mvtrace.errors import UsageError
from mvtrace.registry.datasets.hashing import hash_rows
from mvtrace.registry.datasets.rows import row_bytes
from mvtrace.registry.entries import MAX_ENTRY_BYTES
from mvtrace.registry.leakage import scanning
from mvtrace.registry.leakage.certificates import MAX_LISTED, certificate
from mvtrace.registry.leakage.checking import check
from mvtrace.registry.leakage.examples import read_examples
from mvtrace.registry.leakage.methods import Settings
from mvtrace.registry.leakage.places import Rooted
from mvtrace.registry.leakage.scanning import Scanner
from mvtrace.registry.leakage.sides import Side
from mvtrace.resources import schema_root

CORPUS = Corpus(8)
EVALS = CORPUS.texts(60)
TRAINS = [one.text for one in CORPUS.copies(EVALS, (0, 2, 9))] + CORPUS.texts(300)
ROWS = [row_bytes({"text": text}) for text in TRAINS]


def test_processes_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Several processes, and other batches, find what one process finds, with the same positions.
    """
    examples = read_examples([[row_bytes({"text": text}) for text in EVALS]])
    with Scanner(examples, Settings()) as scanner:
        alone = scanner.scan(ROWS)
    monkeypatch.setattr(scanning, "ROWS_AT_ONCE", 97)
    monkeypatch.setattr(scanning, "WORTH_BYTES", 1)
    rooted = Rooted()

    with Scanner(examples, Settings(), jobs=2) as scanner:
        together = scanner.scan(ROWS, size=2, seen=rooted)

    assert together == alone
    assert (together.rows, len(together.hits)) == (len(ROWS), 60)
    assert rooted.root() == hash_rows(ROWS)[0]


def test_a_certificate_fits_its_entry(tmp_path: Path) -> None:
    """
    However much is found, a certificate counts it all, names the first, and is as its schema says.
    """
    path = tmp_path / "all.jsonl"
    rows = [{f"column {i}": f"{i} {text}" for i in range(3)} for text in CORPUS.texts(150)]
    path.write_bytes(b"".join(row_bytes(one) + b"\n" for one in rows))

    found = check(Side("e", path=path), [Side("t", path=path)], Settings(), ask=None)
    entry = certificate(found)

    assert (found.overlap, len(entry.said["listed"])) == (150, MAX_LISTED)
    assert len(entry.body) < MAX_ENTRY_BYTES / 2
    schema = orjson.loads((schema_root() / "events/certificate.schema.json").read_bytes())
    jsonschema.validate(entry.said, schema)
    assert certificate(found) == entry


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"threshold": 0.2}, "--threshold is 0.2; it is from 0.3 to 1."),
        ({"shingle": 0}, "--shingle is 0; it is from 1 to 64."),
        ({"permutations": 5000}, "--permutations is 5000; it is from 16 to 1024."),
        ({"run": 1}, "--run is 1; it is from 2 to 64."),
        ({"contained": 1.5}, "--contained is 1.5; it is from 0.3 to 1."),
        ({"threshold": float("nan")}, "--threshold is nan; it is from 0.3 to 1."),
    ],
)
def test_settings_that_compare_nothing(setting: dict[str, float], message: str) -> None:
    """
    Settings that would find nothing, or everything, are refused with what they may be.
    """
    with pytest.raises(UsageError) as refused:
        Settings(**setting)  # type: ignore[arg-type]

    assert refused.value.message == message
