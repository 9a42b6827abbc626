"""Training, testing and pseudo-labels: what a command or a notebook calls of networks."""
