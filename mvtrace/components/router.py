"""router(): what decides which way a request goes: its policy, and what it chooses from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mvtrace.components.code import code
from mvtrace.components.component import Component, Draft
from mvtrace.errors import ComponentError


def router(
    name: str,
    /,
    *,
    policy: object,
    classifier: Component | Callable[..., Any] | None = None,
    candidates: Iterable[Component | str] = (),
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin a router: its *policy* (any JSON value), its *classifier* and its *candidates*.

    A candidate is a component, pinned by digest, or the name of something outside this system. A
    classifier that is a function becomes the component ``code/<name>.classifier``. Thresholds and
    weights belong into *policy*: changing one alone is another digest, changing *label* is not.

    Raises:
        ComponentError: the policy is no JSON value, the classifier has no source, or a candidate is
            neither component nor text.

    """
    draft = Draft("router", name, label, digest)
    draft.facts["policy"] = policy
    if classifier is not None:
        draft.add(classifier=draft.add_part("classifier", _classifier(draft, classifier)))
    draft.add(candidates=[_candidate(draft, item) for item in _listed(draft, candidates)])
    draft.add_settings(settings)
    return draft.pin()


def _classifier(draft: Draft, classifier: Component | Callable[..., Any]) -> Component:
    if isinstance(classifier, Component):
        return classifier
    if not callable(classifier):
        raise draft.error(
            f"its classifier {classifier!r} is neither a component nor a function.",
            hint="Pin a model that classifies with mvtrace.model(), and give that component.",
        )
    try:
        return code(f"{draft.name}.classifier", classifier)
    except ComponentError as error:
        problem = error.message.partition(": ")[2]
        raise draft.error(f"of its classifier, {problem}", hint=error.hint) from error


def _listed(draft: Draft, candidates: Iterable[Component | str]) -> list[object]:
    if isinstance(candidates, (str, Component)):
        raise draft.error(
            "its candidates are one value, not several.",
            hint="Give a list, such as candidates=['small', 'large'].",
        )
    return list(candidates)


def _candidate(draft: Draft, candidate: object) -> dict[str, Any]:
    if isinstance(candidate, Component):
        return draft.add_part("candidate", candidate)
    if isinstance(candidate, str) and candidate:
        return {"name": candidate}
    raise draft.error(
        f"its candidate {candidate!r} is neither a component nor a name.",
        hint="Give components, or names of what lies outside this system.",
    )
