"""Overlays, plots, video and the HTML report."""
