"""Registration of scanned meshes by a rigged body."""
