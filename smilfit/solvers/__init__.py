"""Optimisers of an objective; they know no body."""

from smilfit.solvers.base import SolverResult, StopReason
from smilfit.solvers.first_order import LBFGS, Adam, FirstOrderSolver
from smilfit.solvers.levenberg_marquardt import FrameStatus, LevenbergMarquardt
from smilfit.solvers.processes import DistributedProcesses, Processes

__all__ = [
    'LBFGS',
    'Adam',
    'DistributedProcesses',
    'FirstOrderSolver',
    'FrameStatus',
    'LevenbergMarquardt',
    'Processes',
    'SolverResult',
    'StopReason',
]
