"""The real mouse session: three cameras that agree, one that no fit sees, 120 frames, smilfit's configs."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.fitting.setting import Setting, absent
from benchmarks.measuring import ROOT, Row, now, real_data
from smilfit.body_models import SMIL, load_body_model
from smilfit.evaluation.verdict.body_measures import bone_asymmetry, bone_ratios
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.io import SleapSession, triangulate_keypoints
from smilfit.registry import build_registrant, read_config
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d

CONFIGS = ('multiview_keypoints', 'multiview_keypoints_lm')
# Held out, since its calibration contradicts the other cameras'; the rig's boards give another.
EXCLUDED = ('side',)
# Half of the labels of `side` and of `back` are predictions that nobody touched, most of them of little confidence.
SURE = 0.5


def mouse(setting: Setting) -> list[Row]:
    """CPU seconds of solving, median reprojection error by camera, acceleration, and whether bones stayed bones.

    `side` is a camera that no fit sees; `_sure_px` are over labels of a confidence of 0.5 and more, in places that
    two cameras see as surely. Bones are against rest (`bone_ratios`), of both sides against each other.
    """
    folder = real_data()
    if folder is None:
        return [{'config': 'all', 'note': 'no real data; set SMILFIT_REAL_DATA'}]
    frames = slice(setting.size(None, 5))
    session, every = (open_session(folder / 'mouse_sessions', without) for without in (EXCLUDED, ()))
    seen = session.keypoints2d()[frames]
    side = one_camera(with_side_of_boards(every.keypoints2d()[frames]), 'side')
    points = triangulate_keypoints(seen)
    body = load_body_model(folder / 'models' / 'SMILy_Mouse_static_joints.pkl')
    body = body.with_landmarks(session.landmarks(body.data))
    surely = replace(seen, confidence=torch.where(seen.confidence < SURE, 0.0, seen.confidence))
    there = triangulate_keypoints(surely)
    rows = [
        {
            'config': 'points triangulated frame by frame',
            'motion': '',
            'seconds': None,
            **distances(seen, side, points.xyz, points.visible, there.visible),
            # Of the sure labels alone, the strongest that no body reaches.
            **{f'{n}_sure_px': v for n, v in sure_distances(seen, side, there.xyz, there.visible).items()},
            **acceleration(points),
            **dict.fromkeys(('bone_shortest', 'bone_longest', 'bone_asymmetry')),
            'engines': 'none',
            'note': 'no body, no bones',
        }
    ]
    for name in CONFIGS:
        path = ROOT / 'configs' / 'fit' / f'{name}.py'
        for motion in ('as configured', 'frames by themselves'):
            row: Row = {'config': name, 'motion': motion}
            if not path.is_file():
                rows.append(absent(row, tuple(rows[0])[2:-1]))
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
            figures = {
                **distances(seen, side, xyz, points.visible, there.visible),
                **acceleration(fitted),
                **bones(body, result.params),
            }
            engines = ', '.join(stage['engine'] for stage in result.history)
            rows.append({**row, 'seconds': seconds, **figures, 'engines': engines, 'note': ''})
    return rows


def read_session(folder: Path) -> Keypoints2d:
    """Read all labels of the good cameras."""
    return open_session(folder).keypoints2d()


def open_session(folder: Path, without: Sequence[str] = EXCLUDED) -> SleapSession:
    """Open the session with all labels of its other cameras."""
    return SleapSession(
        folder / 'minimal_session',
        joint_lookup=folder / 'joint_lookup.csv',
        exclude_cameras=without,
        unit='mm',
        confidence_threshold=0.0,
    )


def with_side_of_boards(seen: Keypoints2d) -> Keypoints2d:
    """Give camera `side` of the mouse session the calibration that the rig's board pictures call for.

    Its own contradicts the others' by 72 px. This one leaves 0.70 px on the boards.
    """
    rig = seen.rig.to(torch.float64)
    c = rig.names.index('side')
    K, R, t, dist = (x.clone() for x in (rig.K, rig.R, rig.t, rig.dist))
    K[c] = torch.tensor([[751.4, 0, 639.5], [0, 751.4, 511.5], [0, 0, 1]])
    R[c] = axis_angle_to_rotmat(torch.tensor([0.1016, 1.8262, 1.6532]).double())
    t[c] = torch.tensor([-174.8, -451.3, 260.4])
    dist[c] = torch.tensor([-0.278, 0, 0, 0, 0])
    cameras = Cameras(rig.names, K, R, t, rig.size, dist, rig.unit)
    return replace(seen, cameras=cameras)


def one_camera(seen: Keypoints2d, name: str) -> Keypoints2d:
    """Give what one camera sees."""
    c = [seen.rig.names.index(name)]
    return replace(seen, xy=seen.xy[:, c], confidence=seen.confidence[:, c], cameras=seen.rig.select((name,)))


def distances(seen: Keypoints2d, side: Keypoints2d, xyz: Tensor, there: Tensor, surely: Tensor) -> Row:
    """Give the median distances by camera, px: over all labels that were triangulated, and over sure ones."""
    sure = sure_distances(seen, side, xyz, surely)
    every = reprojection(seen, xyz, there) | reprojection(side, xyz, there)
    return {**{f'{n}_px': v for n, v in every.items()}, **{f'{n}_sure_px': v for n, v in sure.items()}}


def sure_distances(seen: Keypoints2d, side: Keypoints2d, xyz: Tensor, surely: Tensor) -> dict[str, float]:
    """Give the median distance by camera, px, over labels of a confidence of `SURE`, where `surely` says so."""
    found: dict[str, float] = {}
    for labels in (seen, side):
        sure = replace(labels, confidence=torch.where(labels.confidence < SURE, 0.0, labels.confidence))
        found |= reprojection(sure, xyz, surely)
    return found


def bones(body: SMIL, params: BodyParams) -> Row:
    """Give the extremes of bones against rest, and of both sides against each other."""
    ratios, sides = bone_ratios(body, params), bone_asymmetry(body, params)
    known = ratios[ratios.isfinite()]
    most = float(sides[sides.isfinite()].max())
    return {
        'bone_shortest': float(known.min()),
        'bone_longest': float(known.max()),
        'bone_asymmetry': most,
    }


def settled(path: Path, with_motion: bool, n_iter: int | None) -> dict[str, Any]:
    """Read a config; without motion, no term couples frames."""
    cfg = copy.deepcopy(read_config(path).to_dict())
    for stage in cfg['stages']:
        if not with_motion:
            stage.update({key: 0.0 for key in stage if key.startswith('smooth') and key.endswith('_weight')})
        if n_iter is not None:
            stage['n_iter'] = n_iter
    return cfg


def reprojection(seen: Keypoints2d, xyz: Tensor, there: Tensor) -> dict[str, float]:
    """Give the median distance by camera, px, over what was annotated and could be triangulated."""
    pixels, _, valid = seen.cameras.project(xyz.to(seen.cameras.K))
    distance = (pixels - seen.xy).norm(dim=-1)
    counted = seen.visible & valid & there.unsqueeze(1)
    return {name: float(distance[:, c][counted[:, c]].median()) for c, name in enumerate(seen.cameras.names)}


def acceleration(points: Keypoints3d) -> Row:
    """Give the root mean square second difference, mm a frame squared, where three frames have the point."""
    second = points.xyz.diff(n=2, dim=0).square().sum(-1)
    there = points.visible[2:] & points.visible[1:-1] & points.visible[:-2]
    return {'acceleration_mm': float(second[there].mean().sqrt())}
