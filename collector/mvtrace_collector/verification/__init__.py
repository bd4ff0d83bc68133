"""``mvtrace verify``: everything recomputed that can be recomputed."""
