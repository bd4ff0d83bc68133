"""Ancestry: what was made from what, and how; versions have parents, nothing is ever merged."""
