"""What is wrong with a dataset that cannot be read, hashed or made again."""

from __future__ import annotations

from mvtrace.errors import CheckFailedError, UnavailableError

_MOST_SHOWN = 300


class DatasetError(CheckFailedError):
    """A dataset is not what it has to be: malformed, out of bounds, or changed meanwhile."""

    code = "dataset"

    def __init__(self, place: object, problem: str, *, hint: str | None = None) -> None:
        shown = problem if len(problem) <= _MOST_SHOWN else f"{problem[: _MOST_SHOWN - 3]}..."
        super().__init__(f"Dataset {str(place)!r}: {shown}", hint=hint)
        self.place = str(place)
        self.problem = problem


class PartMissingError(UnavailableError):
    """A format needs a library that is not installed."""

    code = "extra-missing"

    def __init__(self, form: str, missing: str) -> None:
        super().__init__(
            f"Reading {form} needs a part of mvtrace that is not installed ({missing}).",
            hint="pip install 'mvtrace[datasets]'",
        )
