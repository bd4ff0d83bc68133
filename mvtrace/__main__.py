"""``python -m mvtrace``: the command line."""

from mvtrace.cli.main import main

if __name__ == "__main__":
    main()
