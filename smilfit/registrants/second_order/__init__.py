"""A stage of a fit as a least-squares problem: what solvers of second order work on."""

from smilfit.registrants.second_order.body_problem import BodyProblem
from smilfit.registrants.second_order.run_stage import run_second_order

__all__ = ['BodyProblem', 'run_second_order']
