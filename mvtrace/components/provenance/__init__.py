"""Where parts of a system come from, as files, folders and the environment tell it."""
