"""A real collector with short deadlines: ``python hasty_collector.py STORE [LIMIT=NUMBER …]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mvtrace_collector.app import serve
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.limits import Limits


def main(store: str, limits: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    pairs = [text.split("=") for text in limits]
    wanted = Limits(
        **{name: float(number) if "." in number else int(number) for name, number in pairs}
    )  # type: ignore[arg-type]
    serve(CollectorConfig(store=f"chdb://{Path(store).absolute()}", port=0, limits=wanted))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
