"""derived(): an application, or a training script, says what something was made from.

In: things, as they are at hand: components, versions, entries, refs, paths. Out: the entry of a
derivation, queued for the spool as everything else. The collector refuses what would close a cycle.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from mvtrace.capture.pipeline import current_tracing
from mvtrace.components.artifact import hash_artifact
from mvtrace.components.component import Component
from mvtrace.components.composite import CompositeVersion
from mvtrace.registry.entries import Entry
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import KIND, default_role, derivation
from mvtrace.registry.refs import Ref

Thing = Component | CompositeVersion | Entry | Ref | str | os.PathLike[str]
"""What can be made, or be made from; a text is a ref such as ``dataset:…``, a path an artifact."""


def derived(
    child: Thing,
    parents: Iterable[Thing | tuple[Thing, str]],
    *,
    how: Entry | Ref | str | None = None,
    name: str = "",
    reason: str = "",
    run: Mapping[str, str] | None = None,
) -> Entry:
    """Record that *child* was made from *parents*, each a thing or a pair of thing and role.

    Without a role a dataset is ``dataset``, what has weights or parts is ``base``, and a version
    that a version was made from ``previous``. *how* is a transformation. *run* says when and where:
    ``started_at``, ``ended_at`` (ISO 8601), ``host``.
    Several parents in the roles ``base`` or ``merge`` are a merge, of which explanations warn.

    Raises:
        RegistryError: something is no thing, *child* is a parent of itself, or a role is none.
    """
    made = ref_of(child)
    entry = derivation(
        made,
        [_pair(one, made) for one in parents],
        how=None if how is None else ref_of(how),
        name=name,
        reason=reason,
        run=run,
    )
    tracing = current_tracing()
    for event in entry.events():
        tracing.emit_event(event)
    return entry


def ref_of(thing: Thing) -> Ref:
    """Return the ref of *thing*; a file or folder is read.

    Raises:
        RegistryError: it is none, or cannot be read.
    """
    try:
        if isinstance(thing, Ref):
            return thing
        if isinstance(thing, Component):
            return Ref.of("component", thing.digest)
        if isinstance(thing, CompositeVersion):
            return Ref("composite", thing.version)
        if isinstance(thing, Entry):
            root = thing.said.get("root") if thing.kind == "dataset" else None
            return Ref.of("dataset", str(root)) if root else thing.ref
        if isinstance(thing, str):
            return Ref.parse(thing)
        return Ref.of("artifact", hash_artifact(thing).digest)
    except (OSError, TypeError, ValueError) as error:
        raise RegistryError(KIND, f"{thing!r} is nothing that is made: {error}.") from error


def _pair(parent: Thing | tuple[Thing, str], child: Ref) -> tuple[Ref, str]:
    if isinstance(parent, tuple) and not isinstance(parent, Ref):
        thing, role = parent
        return ref_of(thing), role
    ref = ref_of(parent)
    return ref, default_role(ref, child)
