"""Evals as versions: immutable suites and scorers, results pinned to both and to a version."""
