"""Optimisers of an objective; they know no body."""
