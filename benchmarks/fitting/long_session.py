"""Ten thousand frames of one animal: four views, one shape."""

from benchmarks.fitting.methods import OURS, PEER_B, joint_lbfgs, own_methods
from benchmarks.fitting.problems import Problem, seen_by_cameras
from benchmarks.fitting.reference_body import recomputed_energy
from benchmarks.fitting.setting import Measured, Setting, absent, take_turns
from benchmarks.measuring import Row

GOAL_S = 60.0
COLUMNS = (
    'seconds', 'frames_per_s', 'evaluations', 'energy', 'joint_error', 'betas_rms_error', 'times_B', 'goal_met',
)  # fmt: skip


def session(setting: Setting) -> list[Row]:
    """10,000 frames, four views, one shared shape; goal 60 s. Peer B is measured on 256 frames and scaled."""
    frames, few = setting.size((10_000, 256), (6, 3))
    problem = seen_by_cameras(setting.data, frames, 0, shared_shape=True)
    part = seen_by_cameras(setting.data, few, 0, shared_shape=True)
    peer = {PEER_B: lambda p: joint_lbfgs(p, setting.size(30, 2))}
    scaled = take_turns(peer, [part])[PEER_B]
    peer_seconds = scaled.median_s * frames / few
    rows = [{**_row(PEER_B, few, scaled, part, peer_seconds), 'note': f'{few} frames, seconds scaled'}]
    rows[0] |= {'seconds': peer_seconds, 'goal_met': peer_seconds <= GOAL_S}
    take_turns(own_methods(), [part])
    for name, run in take_turns(own_methods(), [problem]).items():
        if run is None:
            rows.append(absent({'method': name, 'frames': frames}, COLUMNS))
        else:
            rows.append({**_row(name, frames, run, problem, peer_seconds), 'note': ''})
    return rows


def _row(name: str, frames: int, run: Measured, problem: Problem, peer_seconds: float) -> Row:
    params = run.fits[0].params
    betas = (params.betas[0] - problem.truth.betas[0]).square().mean().sqrt()
    values = (
        run.median_s, frames / run.median_s, run.evaluations, recomputed_energy(problem, params),
        run.mean_error([problem]), float(betas), peer_seconds / run.median_s if name in OURS else 1.0,
        run.median_s <= GOAL_S,
    )  # fmt: skip
    return {'method': name, 'frames': frames, **dict(zip(COLUMNS, values))}
