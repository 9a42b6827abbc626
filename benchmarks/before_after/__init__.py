"""Every case of docs/benchmarks.md on this checkout and on another one, in turns."""
