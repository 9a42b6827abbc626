"""The version, in one place for setup.py, files and reports."""

__version__ = '0.1.0'
