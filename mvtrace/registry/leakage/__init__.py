"""Separation of an eval set from training data: what of the one is found in the other."""
