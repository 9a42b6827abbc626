"""A trained regressor on raw recordings."""
