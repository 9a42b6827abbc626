"""Optimisers of an objective; they know no body."""

from smilfit.solvers.base import SolverResult, StopReason
from smilfit.solvers.chain_problem import ChainProblem, ChainSolution, ChainState
from smilfit.solvers.first_order import LBFGS, Adam, FirstOrderSolver
from smilfit.solvers.least_squares import FrameStatus, LeastSquares
from smilfit.solvers.levenberg_marquardt import LevenbergMarquardt
from smilfit.solvers.processes import DistributedProcesses, Processes
from smilfit.solvers.second_order import SecondOrderSolver
from smilfit.solvers.warp_chain import solve_chains, warp_available

__all__ = [
    'LBFGS',
    'Adam',
    'ChainProblem',
    'ChainSolution',
    'ChainState',
    'DistributedProcesses',
    'FirstOrderSolver',
    'FrameStatus',
    'LeastSquares',
    'LevenbergMarquardt',
    'Processes',
    'SecondOrderSolver',
    'SolverResult',
    'StopReason',
    'solve_chains',
    'warp_available',
]
