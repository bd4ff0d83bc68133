"""Estimators and tests: plain values in, plain values out; they need the extra ``quality``."""
