"""Read what is stored about requests: few point queries, all of one project, none with FINAL.

In: an id as somebody typed it, or a filter. Out: :class:`Evidence` for `explain`, or a list of
requests. What an id can mean is decided in ``request_ids``; judging evidence is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mvtrace.errors import (
    AmbiguousIdError,
    AmbiguousVersionError,
    RequestNotFoundError,
    VersionNotFoundError,
)
from mvtrace.explain.evidence import Evidence
from mvtrace.ids import unix_ms_of
from mvtrace.semconv import ALIAS_TRACE_ID
from mvtrace.store import rows
from mvtrace.store.filters import RequestFilter
from mvtrace.store.gaps import Gaps, OpenGaps
from mvtrace.store.gathering import Gathering
from mvtrace.store.memory import Generation, Memory
from mvtrace.store.request_ids import Alias, hexadecimal, highest_id, lowest_id, sought
from mvtrace.store.statements import Statements
from mvtrace.store.store import Store

MAX_LISTED: Final = 20
MAX_COUNTED: Final = 1_000
"""Requests with the same id that are counted."""
VERSION_DIGITS: Final = 64


class Reader:
    """Reads of one *project*; safe for several threads, as the store is."""

    def __init__(
        self,
        store: Store,
        project: str = "default",
        *,
        open_gaps: OpenGaps | None = None,
        generation: Generation | None = None,
    ) -> None:
        """*open_gaps* knows the open gaps by heart; without it the table is read.

        *generation* tells a value that changes with everything stored; without it nothing that
        could change is kept.
        """
        statements = Statements(store, project)
        self._run = statements.run
        self.gaps = Gaps(statements, open_gaps)
        self._gathering = Gathering(statements, self.gaps, Memory(statements, generation))

    def read(self, text: str) -> Evidence:
        """Return everything stored about the one request that *text* names.

        A trace id that several requests share means the one that called the others, where one did.

        Raises:
            MalformedIdError: *text* cannot be an id.
            RequestNotFoundError: nothing stored carries it.
            AmbiguousIdError: several requests carry it.

        """
        asked = sought(text)
        found = self.evidence(asked.request_id) if asked.request_id else None
        carried = {} if found else self._gathering.aliased(asked.aliases)
        for alias in asked.aliases:
            if found is not None:
                break
            ids = carried.get(alias, [])
            found = self.evidence(self._meant(ids, alias, asked.text)) if ids else None
        if found is None:
            raise RequestNotFoundError(
                asked.text, newest=self.newest(), lost=self._lost_then(asked.request_id)
            )
        return found

    def evidence(self, request_id: str) -> Evidence | None:
        """Return everything stored about *request_id*, or None where nothing is."""
        return self._gathering.evidence(request_id)

    def resolve(self, text: str) -> tuple[str, ...]:
        """Return the ids of all requests that *text* can name, newest first.

        Raises:
            MalformedIdError: *text* cannot be an id.

        """
        asked = sought(text)
        own = [asked.request_id] if asked.request_id and self._is_stored(asked.request_id) else []
        carried = self._gathering.aliased(asked.aliases)
        return tuple(
            sorted({*own, *(one for ids in carried.values() for one in ids)}, reverse=True)
        )

    def find(self, wanted: RequestFilter) -> list[dict[str, Any]]:
        """Return the newest requests that *wanted* lets through, newest first.

        Raises:
            VersionNotFoundError: no composite version starts like the one wanted.
            AmbiguousVersionError: several do.

        """
        version = self.version(wanted.version) if wanted.version else ""
        found = self._run(
            "find_requests",
            first=hexadecimal(lowest_id(wanted.since_ms)),
            last=hexadecimal(highest_id(wanted.until_ms)),
            service=wanted.service or "",
            environment=wanted.environment or "",
            route=wanted.route or "",
            version=version,
            arm=wanted.arm or "",
            conversation=wanted.conversation or "",
            errors=int(wanted.errors),
            limit=wanted.limit,
        )
        return [rows.listed_request(row) for row in found.dicts()]

    def version(self, prefix: str) -> str:
        """Return the one composite version that starts with *prefix*.

        Raises:
            VersionNotFoundError: none does.
            AmbiguousVersionError: several do.

        """
        if len(prefix) == VERSION_DIGITS:
            return prefix
        found = [str(row[0]) for row in self._run("versions_starting", prefix=prefix).rows]
        if not found:
            raise VersionNotFoundError(prefix)
        if len(found) > 1:
            raise AmbiguousVersionError(prefix, found[:MAX_LISTED])
        return found[0]

    def newest(self) -> str | None:
        """Return when the newest stored request started, as text, or None for an empty store."""
        found = self._run("newest_request").rows
        return rows.second_text(found[0][0]) if found else None

    def _lost_then(self, request_id: str | None) -> tuple[str, ...]:
        """Return what was lost at the moment that an unknown *request_id* tells."""
        if request_id is None:
            return ()
        return tuple(gap.sentence() for gap in self.gaps.covering(unix_ms_of(request_id)))

    def _is_stored(self, request_id: str) -> bool:
        return bool(self._gathering.heads([request_id]))

    def _meant(self, ids: Sequence[str], alias: Alias, text: str) -> str:
        """Return the one request meant by an id that *ids*, newest first, carry.

        Ids without a record were minted for parts of a trace; they are united with it.
        """
        if len(ids) == 1:
            return ids[0]
        heads = self._gathering.heads(ids[:MAX_COUNTED])
        if len(heads) <= 1:
            return next(iter(heads), ids[-1])
        roots = [head for head in heads.values() if head.parent_request_id not in heads]
        if len(roots) == 1 and alias.kind == ALIAS_TRACE_ID:
            return roots[0].request_id
        listed = [rows.head_text(head) for head in list(heads.values())[:MAX_LISTED]]
        raise AmbiguousIdError(text, listed, total=len(heads))
