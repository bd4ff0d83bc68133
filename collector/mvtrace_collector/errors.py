"""What the collector refuses or cannot do; each error knows its HTTP status.

IngestError                  one export request is answered with a google.rpc.Status
├── UndecodableError         400  the bytes are not what their content type says
├── SlowBodyError            408  the body did not arrive in time
├── MethodError              405
├── TooLargeError            413
├── UnsupportedError         415  content type or encoding
├── UnauthenticatedError     401
├── TooManyScoresError       429  with Retry-After
├── ForbiddenError           403  the key lacks the scope
└── BusyError                503  worth retrying, with Retry-After
ForbiddenProjectError        403  the key does not list the project
ProjectNeededError           400  the key lists several and none was named
InboxError(UnavailableError) the inbox cannot take or give data
├── InboxInUseError          another process has it
├── InboxFullError           a limit is reached
└── InboxWriteError          the disk refused

Permanent answers make OpenTelemetry clients delete the data, so everything unknown is a BusyError.
"""

from __future__ import annotations

from collections.abc import Sequence

from mvtrace.errors import MvtraceError, UnavailableError, UsageError

INVALID_ARGUMENT = 3
"""Codes of google.rpc.Code, as they stand in the body of an error answer."""
DEADLINE_EXCEEDED = 4
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
UNAVAILABLE = 14
UNAUTHENTICATED = 16

_SHOWN = 80
"""Characters of a foreign value that a message repeats."""


class IngestError(MvtraceError):
    """One export request is refused as a whole; *status* and *rpc_code* say how."""

    code = "ingest"
    status = 400
    rpc_code = INVALID_ARGUMENT

    @property
    def headers(self) -> dict[str, str]:
        """The headers the answer needs beside its body."""
        return {}


class UndecodableError(IngestError):
    """The bytes are not what their content type and encoding say."""

    code = "undecodable"


class UnauthenticatedError(IngestError):
    """The collector has a key and the request does not carry it."""

    code = "unauthenticated"
    status = 401
    rpc_code = UNAUTHENTICATED

    def __init__(self) -> None:
        super().__init__("This collector asks for 'Authorization: Bearer <key>'.")

    @property
    def headers(self) -> dict[str, str]:
        return {"www-authenticate": "Bearer"}


class ForbiddenError(IngestError):
    """The key is good and does not open this."""

    code = "forbidden"
    status = 403
    rpc_code = PERMISSION_DENIED

    def __init__(self, key_id: str, needed: Sequence[str], path: str, *, of_all: bool) -> None:
        wanted = f"the scope {' or '.join(needed)}{' in every project' if of_all else ''}"
        super().__init__(f"Key {key_id} has not {wanted} that {path[:_SHOWN]} asks for.")


class ForbiddenProjectError(UsageError):
    """The key does not list the project; whether there is such a one is not told."""

    code = "forbidden-project"
    status = 403

    def __init__(self, project: str) -> None:
        super().__init__(
            f"This key has no project {project!r}.",
            hint="An admin sees with 'mvtrace keys list' what each key may see.",
        )


class ProjectNeededError(UsageError):
    """The key lists several projects and the request names none."""

    code = "project-needed"

    def __init__(self, projects: Sequence[str]) -> None:
        super().__init__(
            f"This key has the projects {', '.join(projects)}, and the request names none.",
            hint="Set MVTRACE_PROJECT, the header x-mvtrace-project or the parameter project.",
        )


class SlowBodyError(IngestError):
    """The body did not arrive in time."""

    code = "slow-body"
    status = 408
    rpc_code = DEADLINE_EXCEEDED

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body did not arrive within {seconds:g} s.")

    @property
    def headers(self) -> dict[str, str]:
        return {"connection": "close"}


class MethodError(IngestError):
    """Exports are posted."""

    code = "method"
    status = 405
    rpc_code = UNIMPLEMENTED

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} is not an export; POST is.")

    @property
    def headers(self) -> dict[str, str]:
        return {"allow": "POST"}


class TooLargeError(IngestError):
    """The body is larger than the collector takes."""

    code = "too-large"
    status = 413
    rpc_code = RESOURCE_EXHAUSTED

    def __init__(
        self, what: str, limit: int, unit: str = "bytes", *, is_unread: bool = False
    ) -> None:
        super().__init__(f"The {what} is over the limit of {limit:,} {unit}; send smaller batches.")
        self.limit = limit
        self.is_unread = is_unread
        """Whether the sender may still be sending."""

    @property
    def headers(self) -> dict[str, str]:
        return {"connection": "close"}


class UnsupportedError(IngestError):
    """A content type or encoding the collector does not read."""

    code = "unsupported"
    status = 415

    def __init__(self, header: str, value: str, expected: str) -> None:
        shown = value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."
        super().__init__(f"{header} is {shown!r}; expected is {expected}.")


class TooManyScoresError(IngestError):
    """A key or an address scores faster than it may; the same request may be sent later."""

    code = "too-many-scores"
    status = 429
    rpc_code = RESOURCE_EXHAUSTED

    def __init__(self, whose: str, retry_after_s: int) -> None:
        super().__init__(
            f"This {whose} sends scores faster than it may; try again in {retry_after_s} s."
        )
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.retry_after_s)}


class BusyError(IngestError):
    """The same request may succeed later."""

    code = "busy"
    status = 503
    rpc_code = UNAVAILABLE

    def __init__(self, problem: str, *, retry_after_s: int) -> None:
        super().__init__(f"{problem}; the same request may be sent again.")
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.retry_after_s)}


class InboxError(UnavailableError):
    """The inbox cannot take or give data now."""

    code = "inbox"


class InboxInUseError(InboxError):
    """Another process has the inbox open."""

    code = "inbox-in-use"

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"The inbox {directory} is in use by another process; it belongs to one collector.",
            hint="Stop the other collector, or give this one its own with --data DIR.",
        )
        self.directory = directory


class InboxFullError(InboxError):
    """A limit of the inbox is reached; nothing was appended."""

    code = "inbox-full"

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"The inbox takes nothing more: {what} (limit {limit:,} bytes)")
        self.limit = limit


class InboxWriteError(InboxError):
    """The disk refused, or the inbox is closed; what was not acknowledged is not kept."""

    code = "inbox-write"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The inbox cannot be written: {reason}")
