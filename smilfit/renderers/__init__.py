"""Meshes to pictures: one backend a file behind one interface."""
