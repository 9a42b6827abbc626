"""What an option is, and the options of rooms below `apis`; imports nothing heavy, so that `--help` may read it."""
