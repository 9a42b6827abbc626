"""Measure how well views meet in space: heat maps with every fault of a network's, made from known truth.

    python -m benchmarks.consensus SESSION [SESSION ...] [--frames 20]

SESSION is a made session's folder (`truth.npz`, `calibration.toml`). Crops of 128 px around the animal; heat maps of
64 x 64 with a blob for each keypoint, off by Gaussian noise that its width tells of; some maps have a higher peak
elsewhere, in some views pairs of left and right are exchanged, some maps are flat.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import machine_load, seconds_of
from smilfit.geometry.heatmaps import gaussian_targets
from smilfit.io import read_calibration
from smilfit.models import MeetInSpace
from smilfit.structures import Cameras

STRIDE, CELLS, SIGMA_CELLS = 2.0, 64, 1.25
PIXELS = int(STRIDE * CELLS)
# 68 % of a normal distribution of three dimensions lie within this squared distance.
WITHIN_68 = 3.51


def crops_of(cameras: Cameras, points: Tensor) -> Cameras:
    """Give the cameras of crops around points (B, K, 3), a fifth wider than these."""
    px, _, _ = cameras.project(points)
    low, high = px.amin(2), px.amax(2)
    side = 1.4 * (high - low).amax(-1, keepdim=True)
    scale = PIXELS / side
    corner = (low + high - side) / 2
    affine = torch.cat((scale.unsqueeze(-1) * torch.eye(2), (-corner * scale).unsqueeze(-1)), -1)
    return cameras.transformed(affine, torch.full_like(corner, PIXELS))


def heat_maps(
    px: Tensor, pairs: Tensor, noise_px: float, wrong: float, swapped: float, flat: float
) -> Tensor:
    """Draw logits (B, C, K, h, w) with faults: shares of maps (wrong, flat) and of views and pairs (swapped)."""
    swaps = torch.rand(*px.shape[:2], len(pairs)) < swapped
    order = torch.arange(px.shape[2]).expand(px.shape[:3]).clone()
    for i, (left, right) in enumerate(pairs.tolist()):
        order[..., left] = torch.where(swaps[..., i], right, order[..., left])
        order[..., right] = torch.where(swaps[..., i], left, order[..., right])
    px = px.gather(2, order.unsqueeze(-1).expand_as(px))
    width = math.hypot(SIGMA_CELLS, noise_px / STRIDE)
    maps = 0.95 * gaussian_targets(px + noise_px * torch.randn_like(px), (CELLS, CELLS), STRIDE, width)
    elsewhere = gaussian_targets(torch.rand_like(px) * PIXELS, (CELLS, CELLS), STRIDE, width)
    is_wrong = (torch.rand(px.shape[:3]) < wrong)[..., None, None]
    maps = torch.where(is_wrong, 0.4 * maps + 0.55 * elsewhere, maps)
    maps = torch.where((torch.rand(px.shape[:3]) < flat)[..., None, None], torch.zeros_like(maps), maps)
    return (maps + 0.05 / CELLS**2).log()


def left_right(names: list[str]) -> Tensor:
    """Pair the names that differ by left and right alone."""
    sides = (('left', 'right'), ('_l', '_r'), ('l_', 'r_'), ('_L', '_R'), ('L_', 'R_'))
    pairs = {
        (i, names.index(name.replace(left, right)))
        for i, name in enumerate(names)
        for left, right in sides
        if left in name and name.replace(left, right) in names
    }
    return torch.tensor(sorted(pairs)).reshape(-1, 2)


def measure(folder: Path, n_frames: int, n_views: int, faults: dict[str, float]) -> dict[str, float]:
    """Measure one session: errors in % of the animal's length (its two farthest keypoints)."""
    truth = np.load(folder / 'truth.npz', allow_pickle=False)
    points = torch.from_numpy(truth['keypoints3d']).float()
    points = points[torch.linspace(0, len(points) - 1, n_frames).long()]
    pairs = left_right([str(name) for name in truth['keypoint_names']])
    cameras = read_calibration(folder / 'calibration.toml').to(torch.float32)
    crops = crops_of(cameras.select(cameras.names[:n_views]), points)
    logits = heat_maps(crops.project(points)[0], pairs, **faults)
    mask = torch.ones(logits.shape[:2], dtype=torch.bool)
    meet = MeetInSpace()
    seconds, found = seconds_of(lambda: meet(logits, STRIDE, crops, mask))
    length = float(torch.cdist(points, points).amax((1, 2)).median())
    error = found.xyz - points
    distance = 100 * error.norm(dim=-1) / length
    squared = (error.unsqueeze(-2) @ torch.linalg.solve(found.covariance, error.unsqueeze(-1))).flatten()
    return {
        'mpjpe': float(distance.mean()),
        'median': float(distance.median()),
        'p90': float(distance.quantile(0.9)),
        'in_68': 100 * float((squared < WITHIN_68).float().mean()),
        'sure': 100 * float((found.confidence > 0.5).float().mean()),
        'mpjpe_sure': float(distance[found.confidence > 0.5].mean()),
        'ms': 1e3 * seconds / n_frames,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sessions', nargs='+', type=Path)
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--noise-px', type=float, default=1.3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    clean = {'noise_px': arguments.noise_px, 'wrong': 0.0, 'swapped': 0.0, 'flat': 0.0}
    kinds = {
        'noise': clean,
        'wrong peaks 10 %': clean | {'wrong': 0.1},
        'swaps 5 %': clean | {'swapped': 0.05},
        'flat 10 %': clean | {'flat': 0.1},
        'all of these': clean | {'wrong': 0.1, 'swapped': 0.05, 'flat': 0.1},
    }
    print(f'{len(arguments.sessions)} sessions, {arguments.frames} frames each; load {machine_load()}')
    print('| heat maps | views | MPJPE % | median | p90 | in 68 % | confident | their MPJPE % | ms a frame |')
    print('|---|---|---|---|---|---|---|---|---|')
    for kind, faults in kinds.items():
        for n_views in (4, 3, 2):
            rows = [measure(folder, arguments.frames, n_views, faults) for folder in arguments.sessions]
            mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
            print(
                f'| {kind} | {n_views} | {mean["mpjpe"]:.2f} | {mean["median"]:.2f} | {mean["p90"]:.2f} | '
                f'{mean["in_68"]:.0f} | {mean["sure"]:.0f} % | {mean["mpjpe_sure"]:.2f} | {mean["ms"]:.1f} |'
            )


if __name__ == '__main__':
    main()
