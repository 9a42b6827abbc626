"""Several animals in one image: boxes, tracks, limbs."""
