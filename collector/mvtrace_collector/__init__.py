"""The collector: OTLP in, rows in the store, answers out.

A service: nothing here is imported by an application that is being traced.
"""
