"""Pure tensor functions: rotation, projection, distortion, triangulation, procrustes, kinematic chain."""
