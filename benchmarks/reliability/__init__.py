"""Hostile and damaged inputs, made here, against which readers are held."""
