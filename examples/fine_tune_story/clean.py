"""Bring raw notes into the form that training takes: lower case, one label of four.

    python clean.py IN OUT VOUCHER

The desk has a label ``voucher`` that the model does not know: VOUCHER says what becomes of it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL or CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)


def main(source: str, target: str, voucher: str) -> None:
    """Clean one file."""
    with Path(target).open("w", encoding="utf-8") as file:
        for row in rows(Path(source)):
            topic = voucher if row["topic"] == "voucher" else row["topic"]
            file.write(json.dumps({"text": row["text"].lower(), "topic": topic}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
