"""From recordings, annotated images and points to dataset files."""
