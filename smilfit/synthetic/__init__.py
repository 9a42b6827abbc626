"""Procedural animals and rendered camera sessions with exactly known truth."""
