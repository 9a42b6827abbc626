"""Loss modules on tensors: one idea a file."""
