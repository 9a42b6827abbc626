"""Right fits and fits that are wrong on purpose, and what the verdict says of them."""
