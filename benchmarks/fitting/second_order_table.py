"""Second-order peers on one energy: what a user could take instead for a body of known shape."""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from benchmarks.fitting.jaxls_peer import jaxls_method
from benchmarks.fitting.methods import (
    LM_FTOL,
    LM_STEPS,
    LM_TORCH,
    LM_WARP,
    OURS,
    levenberg_marquardt,
    registrant,
)
from benchmarks.fitting.mujoco_peers import Tree, mink_tasks
from benchmarks.fitting.mujoco_peers import levenberg_marquardt as mujoco_levenberg_marquardt
from benchmarks.fitting.peers import Fitted
from benchmarks.fitting.problems import WEIGHT_3D, WEIGHT_POSE, Problem, seen_in_space
from benchmarks.fitting.reference_body import recomputed_energy
from benchmarks.fitting.setting import Setting, take_turns
from benchmarks.measuring import Row
from smilfit.body_models import SMIL

PEER_D, PEER_E, PEER_F = 'D: MuJoCo + numpy', 'E: mink', 'F: jaxls'
# Relative to the least energy: equal to five digits.
EQUAL = 1e-5
Maker = Callable[[SMIL], Callable[[Problem], Fitted]]


def second_order(setting: Setting) -> list[Row]:
    """3D points of all joints, shape known, pose prior, from the zero pose; batch 1 and 32."""
    methods, absent = chosen(SMIL(setting.data))
    rows: list[Row] = []
    for batch, seeds in setting.size({1: 5, 32: 1}, {1: 1}).items():
        problems = [seen_in_space(setting.data, batch, seed, shape_sd=0.0) for seed in range(seeds)]
        runs = take_turns(methods, problems, tuple(methods))
        energies = {
            name: sum(recomputed_energy(p, f.params) for p, f in zip(problems, run.fits)) / seeds
            for name, run in runs.items()
        }
        least = min(energies.values())
        ours = min(runs[name].median_s for name in OURS if name in runs)
        for name, run in runs.items():
            row: Row = {'method': name, 'batch': batch, 'ms_per_frame': 1e3 * run.median_s / batch}
            row |= {'steps': run.evaluations, 'energy': energies[name]}
            row |= {
                'energy_over_least': energies[name] / least - 1,
                'times_best_of_ours': run.median_s / ours,
            }
            rows.append(
                {**row, 'note': '' if energies[name] <= (1 + EQUAL) * least else 'ENERGY ABOVE THE LEAST'}
            )
    blank = dict.fromkeys(list(rows[0])[1:-1])
    return [*rows, *({'method': name, **blank, 'note': why} for name, why in absent.items())]


def chosen(body: SMIL) -> tuple[dict[str, Callable[[Problem], Fitted]], dict[str, str]]:
    """Give the methods that are here, and why the others are not."""
    # Read when jax is imported: one thread, and no search for other devices.
    os.environ.setdefault('XLA_FLAGS', '--xla_cpu_multi_thread_eigen=false')
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    ours = {name: fit_pose(body, s) for name, s in levenberg_marquardt().items() if s is not None}
    peers: dict[str, tuple[str, Maker]] = {
        PEER_D: ('mujoco', lambda b: partial(mujoco_levenberg_marquardt, tree=Tree.of(b))),
        PEER_E: ('mink', lambda b: partial(mink_tasks, tree=Tree.of(b))),
        PEER_F: ('jaxls', lambda b: jaxls_method(b, WEIGHT_3D, WEIGHT_POSE)),
    }
    there = {name: make(body) for name, (package, make) in peers.items() if find_spec(package) is not None}
    absent = {
        name: f'{package} is not installed' for name, (package, _) in peers.items() if name not in there
    }
    absent |= {name: 'not installed' for name in (LM_TORCH, LM_WARP) if name not in ours}
    return {**ours, **there}, absent


def fit_pose(body: SMIL, solver: object) -> Callable[[Problem], Fitted]:
    """Make smilfit's fit of place and pose, the shape held; it is built once, as the peers' trees are."""
    stage = dict(name='pose', n_iter=LM_STEPS, ftol=LM_FTOL, fit_betas=False)
    fitter = registrant(seen_in_space(body.data, 1, 0), solver, [stage])

    def method(problem: Problem) -> Fitted:
        result = fitter([problem.seen])
        return Fitted(result.params, sum(s['steps'] for s in result.history), result)

    return method
