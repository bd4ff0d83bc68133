"""Retention: which artifacts are kept, which are collected, and the tombstones that say so.

Only bytes are ever collected, of artifacts, from places under roots that a policy names. Versions,
components, scores, lineage, deployments and every other evidence are kept for ever.
"""
