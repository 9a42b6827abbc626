"""Independent frames: 3D keypoints, keypoints of four cameras, and what fourteen more cameras cost."""

from collections.abc import Callable

from benchmarks.fitting.methods import OURS, PEER_A, PEER_B, methods
from benchmarks.fitting.peers import seconds_of_an_evaluation
from benchmarks.fitting.problems import Problem, seen_by_cameras, seen_in_space
from benchmarks.fitting.reference_body import recomputed_energy
from benchmarks.fitting.setting import Setting, absent, take_turns
from benchmarks.measuring import Row

COLUMNS = (
    'ms_per_frame', 'evaluations', 'energy', 'energy_over_best_peer', 'joint_error', 'times_A', 'times_B',
)  # fmt: skip
# From this batch on peer A is estimated: its evaluations are peer B's (the same maths), its cost is measured.
ESTIMATED_FROM = 512
# The slow-down from 4 to 18 views that is still good.
VIEWS_GOAL = 1.2


def keypoints3d(setting: Setting) -> list[Row]:
    """3D keypoints; batch 1, 32 and 512."""
    sizes = setting.size({1: 5, 32: 3, 512: 1}, {1: 1, 2: 1})
    return [
        row
        for batch, seeds in sizes.items()
        for row in compare(setting, batch, seeds, lambda b, s: seen_in_space(setting.data, b, s))
    ]


def multiview(setting: Setting) -> list[Row]:
    """Four views, a fifth of the keypoints missing, 1.5 px noise; batch 32."""
    batch, seeds = setting.size((32, 3), (2, 1))
    return compare(setting, batch, seeds, lambda b, s: seen_by_cameras(setting.data, b, s))


def views(setting: Setting) -> list[Row]:
    """18 views against 4; goal at most 1.2 times the time."""
    batch, seeds = setting.size((32, 3), (2, 1))
    counts = (4, 18)
    problems = {n: [seen_by_cameras(setting.data, batch, s, n) for s in range(seeds)] for n in counts}
    chosen = {name: m for name, m in methods(setting.quick).items() if name != PEER_A}
    runs = {n: take_turns(chosen, problems[n], tuple(OURS)) for n in counts}
    rows = []
    for name in chosen:
        row: Row = {'method': name, 'batch': batch}
        few, many = (runs[n][name] for n in counts)
        columns = ('ms_4_views', 'ms_18_views', 'ratio', 'evaluations_4', 'evaluations_18', 'goal')
        if few is None or many is None:
            rows.append(absent(row, columns))
            continue
        ratio = many.median_s / few.median_s
        ms = (1e3 * few.median_s / batch, 1e3 * many.median_s / batch)
        values = (*ms, ratio, few.evaluations, many.evaluations, ratio <= VIEWS_GOAL)
        rows.append({**row, **dict(zip(columns, values)), 'note': ''})
    return rows


def compare(setting: Setting, batch: int, seeds: int, make: Callable[[int, int], Problem]) -> list[Row]:
    """Measure all methods on the problems of some seeds."""
    problems = [make(batch, seed) for seed in range(seeds)]
    chosen = methods(setting.quick)
    estimated = batch >= ESTIMATED_FROM
    if estimated:
        chosen.pop(PEER_A)
    runs = take_turns(chosen, problems, tuple(OURS))
    energies = {
        name: sum(recomputed_energy(p, f.params) for p, f in zip(problems, run.fits)) / seeds
        for name, run in runs.items()
        if run is not None
    }
    best = min(energies[name] for name in (PEER_A, PEER_B) if name in energies)
    seconds = {name: run.median_s for name, run in runs.items() if run is not None}
    rows = []
    if estimated:
        seconds[PEER_A] = runs[PEER_B].evaluations * seconds_of_an_evaluation(problems[0])
        row = {'method': PEER_A, 'batch': batch, **dict.fromkeys(COLUMNS)}
        row |= {'ms_per_frame': 1e3 * seconds[PEER_A] / batch, 'evaluations': runs[PEER_B].evaluations}
        rows.append(
            {**row, **_ratios(seconds, PEER_A), 'note': 'estimated: evaluations of B x measured cost'}
        )
    for name, run in runs.items():
        row = {'method': name, 'batch': batch}
        if run is None:
            rows.append(absent(row, COLUMNS))
            continue
        row |= {'ms_per_frame': 1e3 * run.median_s / batch, 'evaluations': run.evaluations}
        row |= {'energy': energies[name], 'energy_over_best_peer': energies[name] / best}
        row |= {'joint_error': run.mean_error(problems), **_ratios(seconds, name)}
        rows.append({**row, 'note': _judged(name, energies[name], best)})
    return rows


def _ratios(seconds: dict[str, float], name: str) -> Row:
    return {'times_A': seconds[PEER_A] / seconds[name], 'times_B': seconds[PEER_B] / seconds[name]}


def _judged(name: str, energy: float, best: float) -> str:
    if name not in OURS:
        return ''
    return "energy at most the peers'" if energy <= best else "ENERGY ABOVE A PEER'S"
