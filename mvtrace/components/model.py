"""Models and what they are called with: model(), embedding_model() and sampling()."""

from __future__ import annotations

import os

from mvtrace.components.component import Component, Draft


def model(
    name: str,
    /,
    *,
    provider: str | None = None,
    model_id: str | None = None,
    path: str | os.PathLike[str] | None = None,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin a generation model: by the id its *provider* knows, by the weights at *path*, or both.

    *settings* are further facts that tell two models apart, such as ``revision`` or
    ``context_tokens``. *digest* is checked: it is that of the weights (the SHA-256 of a file, the
    artifact digest of a folder) or the component's.

    Raises:
        ComponentError: nothing says which model, *path* cannot be read, or *digest* differs.

    """
    draft = Draft("model", name, label, digest)
    return _model(draft, provider, model_id, path, settings)


def embedding_model(
    name: str,
    /,
    *,
    provider: str | None = None,
    model_id: str | None = None,
    path: str | os.PathLike[str] | None = None,
    digest: str | None = None,
    label: str | None = None,
    **settings: object,
) -> Component:
    """Pin an embedding model, as model() pins a generation model."""
    draft = Draft("embedding_model", name, label, digest)
    return _model(draft, provider, model_id, path, settings)


def sampling(
    name: str, /, *, digest: str | None = None, label: str | None = None, **parameters: object
) -> Component:
    """Pin the operator's default sampling *parameters* (temperature, top_p, stop, limits …).

    What a single request asks for instead is on its record, not here.

    Raises:
        ComponentError: there are no parameters, or one is not a JSON value.

    """
    draft = Draft("sampling", name, label, digest)
    if not parameters:
        raise draft.error(
            "it has no parameters.",
            hint=f"Name them: mvtrace.sampling({name!r}, temperature=0.7).",
        )
    draft.add_settings(parameters, "parameters")
    return draft.pin()


def _model(
    draft: Draft,
    provider: str | None,
    model_id: str | None,
    path: str | os.PathLike[str] | None,
    settings: dict[str, object],
) -> Component:
    if model_id is None and path is None and not settings:
        raise draft.error(
            "nothing says which model it is.",
            hint="Give model_id=… as its provider calls it, or path=… of its weights.",
        )
    draft.add(provider=provider, model_id=model_id)
    if path is not None:
        draft.add_artifact(path)
    draft.add_settings(settings)
    return draft.pin()
