"""Commands that fit, register, and show or export what was fitted."""
