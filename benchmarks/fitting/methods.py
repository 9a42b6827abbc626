"""The methods by name: peers, and smilfit's own fit with each solver. One that is not here is None."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from benchmarks.fitting.peers import Fitted, full_lbfgs
from benchmarks.fitting.problems import Problem
from smilfit.registry import SOLVERS, build_registrant, build_solver
from smilfit.structures import Keypoints3d

Method = Callable[[Problem], Fitted]
PEER_A, PEER_B = 'A: LBFGS, all vertices', 'B: LBFGS, joints only'
LM_TORCH, LM_WARP = 'LM, torch', 'LM, warp'
OURS = {LM_TORCH: 'torch', LM_WARP: 'warp'}
# More steps than it needs: a frame that has converged costs nothing.
LM_STEPS, LM_FTOL = 50, 1e-6
LBFGS_STAGE = dict(n_iter=30, ftol=1e-4)
# As torch has it, which is what peer A uses.
LBFGS = dict(type='LBFGS', history_size=100, tolerance_grad=1e-7, tolerance_change=1e-9)


def methods(quick: bool = False) -> dict[str, Method | None]:
    """Give all methods of the keypoint tables."""
    outer = 2 if quick else 30
    return {
        PEER_A: lambda problem: full_lbfgs(problem, outer),
        PEER_B: lambda problem: joint_lbfgs(problem, outer),
        **own_methods(),
    }


def joint_lbfgs(problem: Problem, n_outer: int = 30) -> Fitted:
    """Fit as peer B does: smilfit's own stage loop, which computes joints only, with L-BFGS."""
    return fit(problem, build_solver(LBFGS), lbfgs_stages(n_outer))


def own_methods(n_iter: int = LM_STEPS, **options: Any) -> dict[str, Method | None]:
    """Give Levenberg-Marquardt by its backends; `options` are the solver's."""
    return {name: _own(solver, n_iter) for name, solver in levenberg_marquardt(**options).items()}


def _own(solver: Any, n_iter: int) -> Method | None:
    return None if solver is None else fit_again(solver, [lm_stage(n_iter)])


def fit_again(solver: Any, stages: list[dict[str, Any]]) -> Method:
    """Make a method whose registrant is built once a problem, as a user's is; its first fit checks derivatives."""
    made: list[tuple[Problem, Any]] = []

    def method(problem: Problem) -> Fitted:
        if not made or made[0][0] is not problem:
            made[:] = [(problem, registrant(problem, solver, stages))]
        result = made[0][1]([problem.seen])
        return Fitted(result.params, sum(stage['evaluations'] for stage in result.history), result)

    return method


def levenberg_marquardt(**options: Any) -> dict[str, Any]:
    """Build the solver for each backend that is installed."""
    there = SOLVERS.get('LevenbergMarquardt') is not None
    return {
        name: build_solver(dict(type='LevenbergMarquardt', backend=backend, **options))
        if there and (backend == 'torch' or find_spec(backend) is not None)
        else None
        for name, backend in OURS.items()
    }


def lbfgs_stages(n_outer: int) -> list[dict[str, Any]]:
    """Give peer B the stages of peer A."""
    place = dict(name='place', fit_body_pose=False, fit_betas=False)
    return [{**LBFGS_STAGE, **place, 'n_iter': n_outer}, {**LBFGS_STAGE, 'n_iter': n_outer, 'name': 'pose'}]


def lm_stage(n_iter: int = LM_STEPS) -> dict[str, Any]:
    """Fit everything at once."""
    return dict(name='pose', n_iter=n_iter, ftol=LM_FTOL)


def fit(problem: Problem, solver: Any, stages: list[dict[str, Any]]) -> Fitted:
    """Fit once with smilfit's stage loop and a solver of its own, from the zero pose."""
    return fit_again(solver, stages)(problem)


def registrant(
    problem: Problem, solver: Any, stages: list[dict[str, Any]], initializer: str | None = None
) -> Any:
    """Build the objective as a config's handlers and weights; without an initializer a fit starts at rest."""
    space = isinstance(problem.seen, Keypoints3d)
    return build_registrant(
        dict(
            type='SMPLify',
            body_model=problem.body,
            optimizer=solver,
            initializer=initializer,
            use_one_betas_per_video=problem.shared_shape,
            handlers=[
                dict(
                    type='Keypoint3dHandler' if space else 'Keypoint2dHandler',
                    handler_key='keypoints',
                    mse_loss=dict(type='KeypointMSELoss', sigma=problem.sigma, reduction='sum'),
                ),
                _prior('BodyPosePriorHandler', 'pose', 'PoseRegLoss'),
                _prior('BetasPriorHandler', 'shape', 'ShapePriorLoss'),
            ],
            stages=[{**stage, **_weights(problem)} for stage in stages],
        )
    )


def _prior(handler: str, key: str, loss: str) -> dict[str, Any]:
    return dict(type=handler, handler_key=key, prior_loss=dict(type=loss, reduction='sum'))


def _weights(problem: Problem) -> Mapping[str, float]:
    # The shape's term is summed over frames: one shape of all frames is to count once.
    shape = problem.weight_shape / (problem.batch if problem.shared_shape else 1)
    return dict(keypoints_weight=problem.weight, pose_weight=problem.weight_pose, shape_weight=shape)
