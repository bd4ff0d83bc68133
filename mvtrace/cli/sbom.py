"""``mvtrace sbom``: what is installed beside mvtrace, as a CycloneDX bill of materials."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import click

from mvtrace.cli import listing
from mvtrace.cli.inert import json_text


@click.command(epilog="Example: mvtrace sbom > sbom.json")
def sbom() -> None:
    """Print what is installed beside mvtrace: a bill of materials (CycloneDX 1.6, JSON).

    Its time is now, or SOURCE_DATE_EPOCH where that is set; all else depends on what is installed.
    """
    from importlib.metadata import distributions  # noqa: PLC0415 (10 ms of an import)

    from mvtrace.cli.bill import bill  # noqa: PLC0415

    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    made = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    listing.write(json_text(bill(distributions(), made=made)))
