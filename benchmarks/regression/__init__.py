"""Regressors, trained within a budget of CPU time, on animals, rigs and coats that they have not seen."""
