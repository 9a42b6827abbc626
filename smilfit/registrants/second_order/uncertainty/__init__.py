"""How sure a fit is: noise, and covariances dense and along the tree."""
