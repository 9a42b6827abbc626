"""What users pay before anything is done for them: imports, helps, and the look at a recording's cameras."""

import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import torch

from smilfit.cli.data.format_facts import format_facts
from smilfit.geometry.consistency import camera_consistency
from smilfit.geometry.projection import project_points

HELP_S, INFERENCE_S, CAMERAS_S = 0.5, 3.5, 0.5
CAMERAS, FRAMES, KEYPOINTS = 18, 256, 20


@dataclass(frozen=True)
class EverydayCost:
    """What was measured, CPU s of it, and the most that it may take."""

    what: str
    cpu_s: float
    most_s: float


def everyday_costs() -> list[EverydayCost]:
    """Measure; processes run on one thread."""
    formats = ('sleap', 'points3d', 'smilify', *format_facts()['readers'])
    helps = {
        f'preprocess {name}': _process('-m', 'smilfit.cli.main', 'preprocess', name, '--help')
        for name in formats
    }
    slowest = max(helps, key=lambda name: helps[name])
    return [
        EverydayCost(f'the slowest of {len(helps)} helps: {slowest} --help', helps[slowest], HELP_S),
        EverydayCost(
            'import smilfit.networks.inference.infer',
            _process('-c', 'import smilfit.networks.inference.infer'),
            INFERENCE_S,
        ),
        EverydayCost(f'the look at {CAMERAS} cameras, {FRAMES} frames', cameras_s(), CAMERAS_S),
        EverydayCost('the same, one camera turned by 5 degrees', cameras_s(5.0), CAMERAS_S),
    ]


def cameras_s(turned_degrees: float = 0.0) -> float:
    """Return the CPU s that judging a ring of cameras takes, the least of three; one of them may be turned."""
    draw = torch.Generator().manual_seed(0)
    angle = torch.arange(CAMERAS, dtype=torch.float64) * 2 * math.pi / CAMERAS
    centre = torch.stack((8 * angle.cos(), 8 * angle.sin(), torch.full_like(angle, 3.0)), -1)
    ahead = -centre / centre.norm(dim=-1, keepdim=True)
    across = torch.linalg.cross(ahead, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(ahead))
    across = across / across.norm(dim=-1, keepdim=True)
    rotation = torch.stack((across, torch.linalg.cross(ahead, across), ahead), 1)
    translation = -(rotation @ centre[..., None])[..., 0]
    intrinsics = torch.tensor([[1000.0, 0, 640], [0, 1000, 512], [0, 0, 1]], dtype=torch.float64)
    intrinsics = intrinsics.expand(CAMERAS, 3, 3)
    points = 0.7 * torch.randn(FRAMES, KEYPOINTS, 3, generator=draw, dtype=torch.float64)
    xy, _, visible = project_points(points, intrinsics, rotation, translation)
    xy = xy + 2 * torch.randn(xy.shape, generator=draw, dtype=torch.float64)
    seen = (visible & (torch.rand(xy.shape[:-1], generator=draw) > 0.2)).double()
    a = math.radians(turned_degrees)
    rotation_matrix = torch.tensor(
        [[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]], dtype=torch.float64
    )
    rotation[1], translation[1] = rotation_matrix @ rotation[1], rotation_matrix @ translation[1]
    size = torch.tensor([1280.0, 1024.0], dtype=torch.float64).expand(CAMERAS, 2)
    taken = []
    for _ in range(3):
        start = time.process_time()
        result = camera_consistency(xy, seen, intrinsics, rotation, translation, size)
        taken.append(time.process_time() - start)
    if result.contradicts.nonzero().flatten().tolist() != ([1] if turned_degrees else []):
        raise RuntimeError('the look at the cameras finds others than the one that was turned')
    return min(taken)


def _process(*arguments: str) -> float:
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
