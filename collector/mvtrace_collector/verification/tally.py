"""What a check has looked at and found so far: one Tally a check, of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

MAX_EXAMPLES: Final = 10


@dataclass(slots=True)
class Tally:
    """The outcome of one check; *wrong* less *repaired* is what fails it."""

    name: str
    what: str
    """What holds where nothing is wrong."""
    checked: int = 0
    wrong: int = 0
    repaired: int = 0
    is_note: bool = False
    """Whether what is found is told without failing."""
    hint: str = ""
    """What to do about it."""
    examples: list[str] = field(default_factory=list)

    def found(self, examples: Iterable[str], *, count: int) -> None:
        """Add *count* findings, some of them shown."""
        self.wrong += count
        room = MAX_EXAMPLES - len(self.examples)
        self.examples.extend(list(examples)[:room])

    @property
    def is_failing(self) -> bool:
        """Whether something is wrong that was not repaired."""
        return not self.is_note and self.wrong > self.repaired

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        state = "note" if self.is_note and self.wrong else "wrong" if self.is_failing else "ok"
        return {
            "check": self.name,
            "what": self.what,
            "state": state,
            "checked": self.checked,
            "wrong": self.wrong,
            "repaired": self.repaired,
            "hint": self.hint if self.wrong else "",
            "examples": self.examples,
        }
