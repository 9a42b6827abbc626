"""XRMoCap's shipped three stages on a body of SMPL's size, exact joints, unknown shape."""

import math

from benchmarks.fitting.human_model import human_clip, human_data
from benchmarks.fitting.methods import OURS, PEER_B, joint_lbfgs, own_methods
from benchmarks.fitting.setting import Setting, absent, take_turns
from benchmarks.fitting.three_stages import three_stages
from benchmarks.measuring import Row

PEER_C = 'C: XRMoCap, three stages'
COLUMNS = (
    'seconds', 'ms_per_frame', 'evaluations', 'mean_error_mm', 'max_error_mm', 'finite', 'times_C', 'goal_met',
)  # fmt: skip
# Of one stage in which all moves. Exact joints leave no energy to stop at: the error would fall for ever.
OWN_STEPS = 6
ERROR_GOAL_MM, SPEED_GOAL, SPEED_FROM = 1.0, 200.0, 32


def human(setting: Setting) -> list[Row]:
    """Batch 1, 32 and 128; goals: mean joint error 1 mm, 200 times as fast as C from batch 32, never NaN."""
    data = human_data(setting.size(6890, 200))
    outer = setting.size(30, 2)
    chosen = {
        PEER_C: lambda p: three_stages(p, setting.size((10, 50, 120), (2, 2, 2))),
        PEER_B: lambda p: joint_lbfgs(p, outer),
        **own_methods(n_iter=OWN_STEPS),
    }
    rows = []
    for batch in setting.size((1, 32, 128), (1, 3)):
        problem = human_clip(data, batch)
        runs = take_turns(chosen, [problem], tuple(OURS))
        for name, run in runs.items():
            row: Row = {'method': name, 'batch': batch}
            if run is None:
                rows.append(absent(row, COLUMNS))
                continue
            error = 1e3 * problem.error(run.fits[0].params)
            ratio, mean = runs[PEER_C].median_s / run.median_s, float(error.mean())
            good = mean <= ERROR_GOAL_MM and (batch < SPEED_FROM or ratio >= SPEED_GOAL)
            values = (
                run.median_s, 1e3 * run.median_s / batch, run.evaluations, mean, float(error.max()),
                math.isfinite(mean), ratio, good,
            )  # fmt: skip
            rows.append({**row, **dict(zip(COLUMNS, values)), 'note': ''})
    return rows
