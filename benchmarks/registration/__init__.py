"""Are the correspondences of a registration right, and what does a shape space of registrations generalise to?"""
