"""Attacks on readers and faults in writers, counted."""
