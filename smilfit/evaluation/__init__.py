"""Metrics with the unit in the name."""
