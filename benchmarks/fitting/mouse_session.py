"""The real mouse session: three cameras that agree, 120 frames, smilfit's shipped configs."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.fitting.setting import Setting, absent
from benchmarks.measuring import ROOT, Row, now, real_data
from smilfit.body_models import load_body_model
from smilfit.io import SleapSession, triangulate_keypoints
from smilfit.registry import build_registrant, read_config
from smilfit.structures import Keypoints2d, Keypoints3d

CONFIGS = ('multiview_keypoints', 'multiview_keypoints_lm')
# Its calibration contradicts the other cameras'.
EXCLUDED = ('side',)


def mouse(setting: Setting) -> list[Row]:
    """CPU seconds of solving, median reprojection error by camera, and acceleration against frames by themselves."""
    folder = real_data()
    if folder is None:
        return [{'config': 'all', 'note': 'no real data; set SMILFIT_REAL_DATA'}]
    seen = read_session(folder / 'mouse_sessions')
    seen = seen[slice(setting.size(None, 5))]
    points = triangulate_keypoints(seen)
    body = load_body_model(folder / 'models' / 'SMILy_Mouse_static_joints.pkl')
    given: Row = {'config': 'points triangulated frame by frame', 'motion': '', 'seconds': None}
    given |= {**reprojection(seen, points.xyz, points.visible), **acceleration(points)}
    given |= {'engines': 'none', 'note': ''}
    rows = [given]
    for name in CONFIGS:
        path = ROOT / 'configs' / 'fit' / f'{name}.py'
        for motion in ('as configured', 'frames by themselves'):
            row: Row = {'config': name, 'motion': motion}
            if not path.is_file():
                rows.append(absent(row, tuple(given)[2:-1]))
                continue
            cfg = settled(path, motion == 'as configured', setting.size(None, 1))
            fitter = build_registrant({**cfg, 'body_model': body, 'verbose': False})
            fitter([seen[:3]])  # Kernels are compiled once.
            start = now()
            result = fitter([seen])
            seconds = now() - start
            with torch.no_grad():
                xyz = body(result.params, seen.names).select(seen.names).to(seen.xy.dtype)
            fitted = Keypoints3d(xyz, torch.ones_like(xyz[..., 0]), seen.names)
            figures = {**reprojection(seen, xyz, points.visible), **acceleration(fitted)}
            engines = ', '.join(stage['engine'] for stage in result.history)
            rows.append({**row, 'seconds': seconds, **figures, 'engines': engines, 'note': ''})
    return rows


def read_session(folder: Path) -> Keypoints2d:
    """Read all labels of the good cameras."""
    session = SleapSession(
        folder / 'minimal_session',
        joint_lookup=folder / 'joint_lookup.csv',
        exclude_cameras=EXCLUDED,
        unit='mm',
        confidence_threshold=0.0,
    )
    return session.keypoints2d()


def settled(path: Path, with_motion: bool, n_iter: int | None) -> dict[str, Any]:
    """Read a config; without motion, no term couples frames."""
    cfg = copy.deepcopy(read_config(path).to_dict())
    for stage in cfg['stages']:
        if not with_motion:
            stage.update({key: 0.0 for key in stage if key.startswith('smooth') and key.endswith('_weight')})
        if n_iter is not None:
            stage['n_iter'] = n_iter
    return cfg


def reprojection(seen: Keypoints2d, xyz: Tensor, there: Tensor) -> Row:
    """Give the median distance by camera, px, over what was annotated and could be triangulated."""
    pixels, _, valid = seen.cameras.project(xyz)
    distance = (pixels - seen.xy).norm(dim=-1)
    counted = seen.visible & valid & there.unsqueeze(1)
    return {
        f'{name}_px': float(distance[:, c][counted[:, c]].median())
        for c, name in enumerate(seen.cameras.names)
    }


def acceleration(points: Keypoints3d) -> Row:
    """Give the root mean square second difference, mm a frame squared, where three frames have the point."""
    second = points.xyz.diff(n=2, dim=0).square().sum(-1)
    there = points.visible[2:] & points.visible[1:-1] & points.visible[:-2]
    return {'acceleration_mm': float(second[there].mean().sqrt())}
