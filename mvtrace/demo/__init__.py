"""The demo: a real small retrieval-augmented server, its collector, and one explanation."""

from mvtrace.demo.run import run

__all__ = ["run"]
