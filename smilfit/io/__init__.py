"""Everything read from or written to other tools."""
