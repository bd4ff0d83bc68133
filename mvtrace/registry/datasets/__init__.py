"""Datasets: rows by their content, whatever file holds them, and what turns one into another."""
