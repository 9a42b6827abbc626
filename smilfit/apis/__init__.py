"""What a notebook or a command calls: preprocess, fit, train, test; nothing here parses a command line."""
