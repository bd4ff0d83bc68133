"""Every error mvtrace raises on purpose, and nothing else; imports nothing of ours.

MvtraceError
├── UsageError                  the caller asked for something that cannot be (exit code 2)
│   ├── ComponentError          a component cannot be pinned
│   ├── CompositeError          components do not make a composite version
│   ├── CanonicalFormError      a value has no canonical form, hence no digest
│   ├── PlanFileError           a file holds no plan of a comparison
│   ├── ConfigurationError      a setting has a value it cannot have
│   ├── MalformedIdError        a text cannot be an id of that kind
│   ├── FilterError             a list is asked for by something that means nothing
│   ├── QueryRefusedError       a statement is not let through the SQL gate
│   └── StatementFailedError    the store refuses a statement, with its own error code
├── NotFoundError               what was asked for is not stored (exit code 1)
│   ├── RequestNotFoundError
│   ├── AmbiguousIdError        several requests carry the id
│   ├── VersionNotFoundError
│   ├── AmbiguousVersionError   several composite versions start like that
│   ├── UnregisteredVersionError  no registered composite version starts like that
│   ├── ComponentNotFoundError  no version and no request holds such a component
│   ├── DriftNotFoundError
│   └── AmbiguousDriftError     several episodes of drift start like that
├── CheckFailedError            a check that was asked for found a difference (exit code 1)
│   └── LostRaceError           another version serves than was expected
└── UnavailableError            the store or the collector cannot be reached (exit code 3)
    ├── CollectorUnreachableError
    ├── StoreUnreachableError
    ├── StoreInUseError         another process owns the embedded store
    ├── StoreForkedError        an embedded store was opened before a fork and used after it
    ├── IndexUnavailableError   an index failed a moment ago, and is not asked again yet
    └── MigrationError          the store's schema is not the one this version knows

A class has a kebab-case *code*, an *exit_code* for the command line, a message (what happened with
which value; what does hold) and a *hint* (one thing to do next). Those that only the registry
raises are in ``mvtrace/registry/errors.py``, below the same branches.
"""

from __future__ import annotations

from collections.abc import Sequence

_MAX_SHOWN = 80
_MAX_SHOWN_IDS = 20


def _shown(text: str) -> str:
    """Return *text* short enough for a message."""
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


class MvtraceError(Exception):
    """Base of all errors of mvtrace: a message for a person, a *code* for a program."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MvtraceError):
    """What was asked for cannot be; nothing was done."""

    code = "usage"
    exit_code = 2


class ComponentError(UsageError):
    """A component cannot be pinned: nothing of it was registered."""

    code = "component"

    def __init__(self, kind: str, name: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"Component {kind} {name!r}: {problem}", hint=hint)
        self.kind = kind
        self.name = name


class CompositeError(UsageError):
    """Components do not make a composite version: nothing of it was registered."""

    code = "composite"

    def __init__(self, name: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"Composite {name!r}: {problem}", hint=hint)
        self.name = name


class PlanFileError(UsageError):
    """A file holds no plan of a comparison: nothing was compared."""

    code = "plan-file"

    def __init__(self, file: str, key: str, problem: str, *, hint: str | None = None) -> None:
        """*key* is empty where it is about the file as a whole."""
        super().__init__(f"Plan {file}{f', {key}' if key else ''}: {problem}.", hint=hint)
        self.file = file
        self.key = key


class CanonicalFormError(UsageError):
    """A value has no canonical form (RFC 8785), hence no digest."""

    code = "canonical-form"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(
            f"Value at {path} has no canonical form: {problem}",
            hint="Use text, booleans, finite numbers, lists and dicts with text keys.",
        )
        self.path = path


class ConfigurationError(UsageError):
    """A setting has a value it cannot have."""

    code = "configuration"

    def __init__(self, key: str, value: object, expected: str, *, hint: str | None = None) -> None:
        super().__init__(f"{key} is {value!r}; {expected}.", hint=hint)
        self.key = key
        self.value = value


class MalformedIdError(UsageError):
    """A text cannot be an id of that kind."""

    code = "malformed-id"

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(
            f"{_shown(text)!r} cannot be an id: {problem}.",
            hint="Ids are a request id, trace id, x-request-id or provider response id; "
            "write kind:value to say which, for example trace:4bf92f35….",
        )
        self.text = text


class FilterError(UsageError):
    """A list is asked for by something that means nothing."""

    code = "filter"

    def __init__(self, key: str, value: str, expected: str) -> None:
        super().__init__(f"{key} is {_shown(value)!r}; {expected}.")
        self.key = key
        self.value = value


class QueryRefusedError(UsageError):
    """A statement is not let through the SQL gate."""

    code = "query-refused"

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        super().__init__(
            f"The query is refused: {problem}.",
            hint=hint or "Allowed is one SELECT over the tables of mvtrace.",
        )


class StatementFailedError(UsageError):
    """The store refuses a statement; *store_code* is ClickHouse's own error code."""

    code = "statement-failed"

    def __init__(self, reason: str, *, store_code: int | None, hint: str | None = None) -> None:
        super().__init__(f"The store refuses the statement: {reason}.", hint=hint)
        self.store_code = store_code


class NotFoundError(MvtraceError):
    """What was asked for is not stored."""

    code = "not-found"
    exit_code = 1


class RequestNotFoundError(NotFoundError):
    """No stored request carries the id that was asked for."""

    code = "request-not-found"

    def __init__(
        self,
        text: str,
        *,
        newest: str | None,
        waited_s: float = 0.0,
        lost: Sequence[str] = (),
    ) -> None:
        """*lost* are sentences about records that were lost when the id was made."""
        held = "the store is empty" if newest is None else f"the newest is from {newest}"
        waited = f" after waiting {waited_s:.0f} s for accepted data" if waited_s else ""
        told = "".join(f"\nIt may be among what was lost: {sentence}" for sentence in lost)
        super().__init__(
            f"No request {_shown(text)!r} is stored{waited}; {held}.{told}",
            hint="'mvtrace gaps' lists what was lost, and why."
            if lost
            else "A request shows up once its record is shipped and loaded; "
            "'mvtrace find --since 1h' lists what is stored.",
        )
        self.text = text
        self.newest = newest
        self.lost = tuple(lost)


class AmbiguousIdError(NotFoundError):
    """Several requests carry the id; the newest are listed."""

    code = "ambiguous-id"

    def __init__(self, text: str, hits: Sequence[str], *, total: int) -> None:
        # A line's end in what a stranger sent must not begin a line of its own.
        listed = "".join(f"\n  {' '.join(hit.splitlines())}" for hit in hits)
        super().__init__(
            f"{text!r} belongs to {total} requests; the newest are:{listed}",
            hint="Repeat the command with one of these request ids.",
        )
        self.text = text
        self.hits = tuple(hits)
        self.total = total


class VersionNotFoundError(NotFoundError):
    """No composite version starts with the digits that were given."""

    code = "version-not-found"

    def __init__(self, prefix: str) -> None:
        super().__init__(
            f"No composite version starts with {prefix!r}.",
            hint="'mvtrace find' shows the version of each request.",
        )
        self.prefix = prefix


class AmbiguousVersionError(NotFoundError):
    """Several composite versions start with the digits that were given."""

    code = "ambiguous-version"

    def __init__(self, prefix: str, versions: Sequence[str]) -> None:
        listed = "".join(f"\n  {version}" for version in versions)
        super().__init__(
            f"Several composite versions start with {prefix!r}:{listed}",
            hint="Give more digits.",
        )
        self.prefix = prefix
        self.versions = tuple(versions)


class UnregisteredVersionError(NotFoundError):
    """Nothing is known of what a version is made of, so it is not deployed."""

    code = "version-not-registered"

    def __init__(self, prefix: str, project: str) -> None:
        super().__init__(
            f"No composite version registered in project {project!r} starts with "
            f"{_shown(prefix)!r}: what it is made of is not known, so it is not deployed.",
            hint="A version is registered by the first process that runs it; "
            "'mvtrace sql \"SELECT version, name FROM composites\"' lists those there are.",
        )
        self.prefix = prefix


class ComponentNotFoundError(NotFoundError):
    """No version and no request holds such a component; or a digest's beginning fits several."""

    code = "component-not-found"

    def __init__(self, text: str, digests: Sequence[str]) -> None:
        if digests:
            listed = "\n".join(f"  {digest}" for digest in digests[:_MAX_SHOWN_IDS])
            super().__init__(
                f"{len(digests)} components start with {_shown(text)!r}:\n{listed}",
                hint="Give one of them whole.",
            )
        else:
            super().__init__(
                f"No version and no request holds the component {_shown(text)!r}.",
                hint="Components are kind/name, kind/name@sha256:… or sha256:….",
            )


class DriftNotFoundError(NotFoundError):
    """No episode of drift has an id that starts so."""

    code = "drift-not-found"

    def __init__(self, prefix: str) -> None:
        super().__init__(
            f"No drift is known by {_shown(prefix)!r}.", hint="mvtrace drift lists what is known."
        )


class AmbiguousDriftError(NotFoundError):
    """Several episodes of drift have ids that start so."""

    code = "ambiguous-drift"

    def __init__(self, prefix: str, ids: Sequence[str]) -> None:
        listed = "\n".join(f"  {one}" for one in ids)
        super().__init__(
            f"Several drifts start with {_shown(prefix)!r}:\n{listed}",
            hint="Give more digits.",
        )


class CheckFailedError(MvtraceError):
    """A check that was asked for found a difference."""

    code = "check-failed"
    exit_code = 1


class LostRaceError(CheckFailedError):
    """Another version serves than was expected: the decision was not taken."""

    code = "lost-race"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"The decision was not taken: {detail}.",
            hint="'mvtrace deployments' shows who decided what, and when.",
        )


class UnavailableError(MvtraceError):
    """The store or the collector cannot be reached; the same call may work later."""

    code = "unavailable"
    exit_code = 3


class CollectorUnreachableError(UnavailableError):
    """No collector answers at the URL."""

    code = "collector-unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No collector answers at {url}: {reason}.",
            hint="Start one with 'mvtrace collector --store chdb:///DIR --listen 127.0.0.1:4318', "
            "or name another with --url or MVTRACE_URL.",
        )
        self.url = url


class StoreUnreachableError(UnavailableError):
    """The store does not answer."""

    code = "store-unreachable"

    def __init__(self, dsn: str, reason: str) -> None:
        super().__init__(
            f"The store {dsn} does not answer: {reason}.",
            hint="Check the DSN (chdb:///DIR, http://COLLECTOR or clickhouse://HOST:PORT).",
        )
        self.dsn = dsn


class StoreInUseError(UnavailableError):
    """Another process owns the embedded store; chDB locks its directory for one process."""

    code = "store-in-use"

    def __init__(self, directory: str, *, pid: int | None, url: str | None) -> None:
        owner = "another process" if pid is None else f"process {pid}"
        where = f" that listens on {url}" if url else ""
        super().__init__(
            f"The store {directory} is in use by {owner}{where}; "
            "an embedded store belongs to one process at a time.",
            hint=(
                f"Read through it instead: --url {url}" if url else "Stop it, or read through it."
            ),
        )
        self.directory = directory
        self.pid = pid
        self.url = url


class StoreForkedError(UnavailableError):
    """An embedded store was opened before a fork and used after it: the engine would hang."""

    code = "store-forked"

    def __init__(self, directory: str, *, opened_by: int, used_by: int) -> None:
        super().__init__(
            f"The store {directory} was opened by process {opened_by} and is used by its "
            f"child {used_by}; an embedded store does not survive a fork.",
            hint="Open the store after the fork, or read through the collector's URL.",
        )
        self.directory = directory


class IndexUnavailableError(UnavailableError):
    """A live index failed a moment ago, and is not asked again yet; only capture ever meets it."""

    code = "index-unavailable"

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            f"The index failed when it was asked for its state; asked again in {wait_s:.1f} s.",
            hint="The first error is in the log; the request goes on without a snapshot.",
        )
        self.wait_s = wait_s


class MigrationError(UnavailableError):
    """The store's schema is not the one this version knows."""

    code = "migration"

    def __init__(self, name: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"Migration {name}: {problem}.", hint=hint)
        self.name = name
