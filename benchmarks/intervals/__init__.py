"""How many labels of a camera that a fit did not see its intervals hold."""
