"""Scanned specimens: registration, measurements and shape spaces."""
