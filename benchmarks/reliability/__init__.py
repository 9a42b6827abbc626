"""`python -m benchmarks.reliability`: the rows of tests/hostile, counted."""
