"""Optimisers of an objective; they know no body."""

from smilfit.solvers.base import SolverResult, StopReason
from smilfit.solvers.first_order import LBFGS, Adam, FirstOrderSolver

__all__ = ['LBFGS', 'Adam', 'FirstOrderSolver', 'SolverResult', 'StopReason']
