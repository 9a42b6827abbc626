"""Named measurements of models, registrations and fits, and how they grow with size."""
