"""Side-by-side measurements against peers; run as modules from the repository's root."""
