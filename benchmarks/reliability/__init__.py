"""Hostile files, and a box to read them in."""
