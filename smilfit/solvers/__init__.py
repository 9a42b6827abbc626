"""Optimisers of an objective; they know no body."""

from smilfit.geometry.damping import DampingPolicy
from smilfit.solvers.base import SolverResult, StopReason
from smilfit.solvers.chain_covariance import ChainCovariance, TreeMatrices
from smilfit.solvers.chain_fit import ChainLeastSquares, solve_chains, solve_shared_chains, warp_available
from smilfit.solvers.chain_problem import ChainProblem, ChainSolution, ChainState
from smilfit.solvers.chain_recording import ChainRecording, ChainView
from smilfit.solvers.chain_steps import (
    ChainFactor,
    ChainLoads,
    ChainMotion,
    ChainQuadratic,
    ChainStep,
    ChainSteps,
)
from smilfit.solvers.first_order import LBFGS, Adam, FirstOrderSolver
from smilfit.solvers.levenberg_marquardt import (
    FrameStatus,
    LeastSquares,
    LevenbergMarquardt,
    SecondOrderSolver,
)
from smilfit.solvers.motion_solve import CarriedPoints, MotionCoupling, motion_quadratic, solve_motion
from smilfit.solvers.processes import DistributedProcesses, Processes

__all__ = [
    'LBFGS',
    'Adam',
    'CarriedPoints',
    'ChainCovariance',
    'ChainFactor',
    'ChainLeastSquares',
    'ChainLoads',
    'ChainMotion',
    'ChainProblem',
    'ChainQuadratic',
    'ChainRecording',
    'ChainSolution',
    'ChainState',
    'ChainStep',
    'ChainSteps',
    'ChainView',
    'DampingPolicy',
    'DistributedProcesses',
    'FirstOrderSolver',
    'FrameStatus',
    'LeastSquares',
    'LevenbergMarquardt',
    'MotionCoupling',
    'Processes',
    'SecondOrderSolver',
    'SolverResult',
    'StopReason',
    'TreeMatrices',
    'motion_quadratic',
    'solve_chains',
    'solve_motion',
    'solve_shared_chains',
    'warp_available',
]
