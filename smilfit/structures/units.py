"""Units of length that are known: how many millimetres each is."""

MILLIMETRES = {'mm': 1.0, 'cm': 10.0, 'm': 1000.0, 'um': 1e-3}
