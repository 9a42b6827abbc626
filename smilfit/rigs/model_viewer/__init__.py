"""A body model in the browser, and what is edited there."""
