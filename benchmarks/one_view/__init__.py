"""Single views of animals of unknown proportions: which way the body points, and whether the fit knows it."""
