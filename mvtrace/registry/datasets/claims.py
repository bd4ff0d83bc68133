"""What an entry says of a dataset, read as what anybody may have written.

In: an entry of the kind dataset. Out: its root, and of all else what is there and of the right
type. A root that is none makes the entry useless, anything else is only not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from mvtrace.errors import CheckFailedError
from mvtrace.registry.datasets.columns import ANY, Kind, check_columns
from mvtrace.registry.entries import Entry
from mvtrace.registry.refs import Ref

_ROOT: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What was registered of a dataset; None where nothing was said."""

    root: str
    name: str
    rows: int | None
    distinct: int | None
    files: int | None
    bytes: int | None
    format: str | None
    uri: str | None
    columns: Mapping[str, Kind] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        """What names it."""
        return Ref("dataset", self.root)

    @property
    def typed(self) -> dict[str, Kind]:
        """The columns whose texts stand for something else than text."""
        return {name: kind for name, kind in self.columns.items() if kind not in (ANY, "text")}

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"dataset": str(self.ref), **asdict(self)}


def claim_of(entry: Entry) -> Claim:
    """Return what *entry* says.

    Raises:
        CheckFailedError: it names no root, so it says nothing of any dataset.
    """
    said = entry.said
    root = said.get("root")
    plain = root.removeprefix("sha256:") if isinstance(root, str) else ""
    if not _ROOT.fullmatch(plain):
        raise CheckFailedError(f"The entry {entry.digest} is no dataset: it has no root.")
    return Claim(
        root=plain,
        name=_text(said.get("name")) or "",
        rows=_count(said.get("rows")),
        distinct=_count(said.get("distinct")),
        files=_count(said.get("files")),
        bytes=_count(said.get("bytes")),
        format=_text(said.get("format")),
        uri=_text(said.get("uri")),
        columns=_columns(said),
    )


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _columns(said: Mapping[str, Any]) -> Mapping[str, Kind]:
    try:
        return check_columns(said.get("columns", {}))
    except ValueError:  # a type of a later version, or none
        return {}
