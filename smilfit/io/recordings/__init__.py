"""Recorded sessions of other tools: labels, videos, folders."""
