"""Rigs of other programs, and how they become body models: readers, cleaning, limits, clips."""
