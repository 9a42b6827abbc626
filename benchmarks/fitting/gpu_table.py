"""Frames a second on a graphics card, from one frame to a hundred thousand."""

from dataclasses import replace

import torch

from benchmarks.fitting.methods import own_methods
from benchmarks.fitting.problems import Problem, seen_by_cameras, seen_in_space
from benchmarks.fitting.setting import Setting, absent
from benchmarks.measuring import Row, seconds_of
from smilfit.body_models import SMIL

COLUMNS = ('seconds', 'frames_per_s', 'evaluations', 'joint_error', 'memory_mb')


def gpu(setting: Setting) -> list[Row]:
    """Batch 1, 1,000 and 100,000; 3D keypoints, and four views."""
    if not torch.cuda.is_available():
        return [{'method': 'all', 'note': 'no GPU'}]
    rows = []
    for make in (seen_in_space, seen_by_cameras):
        for batch in setting.size((1, 1000, 100_000), (1, 3)):
            problem = on_device(make(setting.data, batch, 0), 'cuda')
            for name, method in own_methods().items():
                row: Row = {'case': make.__name__, 'method': name, 'batch': batch}
                if method is None:
                    rows.append(absent(row, COLUMNS))
                    continue
                # The first call compiles.
                method(problem)
                torch.cuda.reset_peak_memory_stats()
                seconds, fit = seconds_of(lambda m=method, p=problem: m(p))
                memory = torch.cuda.max_memory_allocated() / 1e6
                error = float(problem.error(fit.params).mean())
                values = (seconds, batch / seconds, fit.evaluations, error, memory)
                rows.append({**row, **dict(zip(COLUMNS, values)), 'note': ''})
    return rows


def on_device(problem: Problem, device: str) -> Problem:
    """Move a problem; the body is built again, because a module moves in place."""
    return replace(
        problem,
        body=SMIL(problem.data).to(device),
        truth=problem.truth.to(device),
        seen=problem.seen.to(device),
    )
