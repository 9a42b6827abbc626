"""Fits against peers that minimise the same objective: `python -m benchmarks.fitting [--only TABLE] [--quick]`."""
