"""Meshes, scans and motion files."""
