"""A system described in a file and pinned in a lock; versions compared by component."""
