"""Commands that train, test, predict, and bring networks in and out."""
