"""Tie one observation (an Input) or a prior to one loss."""
