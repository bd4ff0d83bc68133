"""A canary from its first request to the verdict: see README.md."""
