"""Errors the command line has of its own: what a collector reported, and an extra not installed."""

from __future__ import annotations

from typing import Final

from mvtrace.errors import MvtraceError, UnavailableError, UsageError

_EXIT_CODES: Final = {400: 2, 401: 2, 403: 2, 404: 1, 409: 1, 413: 2, 421: 2}
"""By HTTP status, where the collector does not say; all others mean that it is not well."""


class ReportedError(MvtraceError):
    """An error as the collector reported it, with its code, message and hint."""

    def __init__(
        self, code: str, message: str, *, hint: str | None, exit_code: int | None, status: int
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.exit_code = _EXIT_CODES.get(status, 3) if exit_code is None else exit_code


class CommandLineError(UsageError):
    """The command line itself is wrong: an unknown option, a missing argument."""

    code = "usage"


class ExtraMissingError(UnavailableError):
    """A part of mvtrace that this command needs is not installed."""

    code = "extra-missing"

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(
            f"This command needs a part of mvtrace that is not installed ({missing}).",
            hint=f"pip install 'mvtrace[{extra}]'",
        )
