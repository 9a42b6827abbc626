"""Optimisers of an objective; they know no body."""

from smilfit.solvers.base import SolverResult, StopReason
from smilfit.solvers.first_order import LBFGS, Adam, FirstOrderSolver
from smilfit.solvers.levenberg_marquardt import FrameStatus, LevenbergMarquardt

__all__ = [
    'LBFGS',
    'Adam',
    'FirstOrderSolver',
    'FrameStatus',
    'LevenbergMarquardt',
    'SolverResult',
    'StopReason',
]
