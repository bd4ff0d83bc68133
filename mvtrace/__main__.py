"""The command ``mvtrace``, also as ``python -m mvtrace``.

The core installation has no command line (it is what an application imports); then this says which
extra brings it.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say how to get it; ends the process."""
    try:
        from mvtrace.cli.main import main as command_line  # noqa: PLC0415 (an optional dependency)
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write(
            "error: extra-missing\n\nThe command line is not installed.\n\n"
            "hint: pip install 'mvtrace[cli]' (or [embedded], which brings the collector too).\n"
        )
        sys.exit(2)
    command_line()


if __name__ == "__main__":
    main()
