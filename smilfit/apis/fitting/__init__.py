"""Fits of sessions and images, and what they leave behind."""
