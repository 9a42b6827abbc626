"""What views say of a start and of its ambiguity."""
