"""The commands of whoever runs mvtrace: where each gets what it shows.

In: options. Out: documents and exit codes. What a command needs is imported when it runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mvtrace.cli import sources
from mvtrace.cli.errors import CommandLineError, ExtraMissingError
from mvtrace.cli.inert import json_text
from mvtrace.cli.remote import DEFAULT_URL


def status(url: str | None, spool: Path | None) -> tuple[dict[str, Any], int]:
    """Return what is known of the collector and of the spool folder, and the exit code."""
    from mvtrace.cli.status import gathered  # noqa: PLC0415 (not needed by the other commands)
    from mvtrace.config import default_spool_dir  # noqa: PLC0415

    named = os.environ.get("MVTRACE_SPOOL_DIR")
    folder = spool or (Path(named).expanduser() if named else default_spool_dir(os.environ))
    asked = None if spool is not None and url is None else sources.collector_at(url)
    return gathered(asked, folder.absolute())


def verify(
    url: str | None, store: str | None, *, since: str, repair: bool, as_json: bool
) -> tuple[str, int]:
    """Return what a verification found, in words, and the exit code."""
    from mvtrace.cli.verify import followed, verification_words  # noqa: PLC0415

    if url and store:
        raise CommandLineError("--url and --store name two sources.", hint="Give one of them.")
    if store and not store.startswith(("http://", "https://")):
        try:
            from mvtrace_collector.verification.direct import verify_store  # noqa: PLC0415
        except ImportError as error:
            raise ExtraMissingError("embedded", str(error)) from error
        lines = verify_store(store, since=since, repair=repair)
    else:
        lines = sources.collector_at(url or store).verification(since=since, repair=repair)
    return verification_words(followed(lines), as_json=as_json)


def watch(url: str | None, folder: Path | None, **options: Any) -> int:
    """Run the continuous self-check; return the exit code."""
    from mvtrace.cli.probes import PROJECT, folder_for  # noqa: PLC0415 (the whole capture side)
    from mvtrace.cli.watching import run  # noqa: PLC0415

    chosen = url or os.environ.get("MVTRACE_URL") or DEFAULT_URL
    project = options.pop("project") or os.environ.get("MVTRACE_PROJECT") or PROJECT
    place = folder or folder_for(chosen, project)
    key = os.environ.get("MVTRACE_API_KEY") or None
    return run(chosen, key, place.absolute(), project=project, options=options)


def words(found: Mapping[str, Any], *, as_json: bool) -> str:
    """Return what ``status`` found."""
    from mvtrace.cli.status import status_words  # noqa: PLC0415

    return json_text(found) if as_json else status_words(found)
