"""Real pictures with 3D truth, one view of each: replicAnt's ants by true cameras, and the three views of a mouse."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import ROOT, Row, real_data
from benchmarks.one_view.scores import compare, doubted_of, share
from smilfit.body_models import SMIL, load_body_model
from smilfit.geometry.procrustes import procrustes
from smilfit.handlers import ImageFrameInput
from smilfit.io import SleapSession, triangulate_keypoints
from smilfit.io.annotations.replicant import ReplicantReader
from smilfit.registry import build_registrant, read_config
from smilfit.structures import AnnotatedImage, BodyParams, Cameras, FitResult, Keypoints2d

SIDE, FILLED = 224.0, 0.75
# The mouse: its frames, and the keypoints from tail to neck.
EVERY, TAIL, NECK = 4, 'Tail_00', 'cervical-vertebrae'


def ants() -> list[Row]:
    """Fit ants by their keypoints alone: each by itself, and as pictures of one animal; empty without the data.

    The model is a stick insect's: its trunk and legs have other lengths than an ant's, up to tenfold.
    """
    folder = real_data()
    if folder is None:
        return []
    read = ReplicantReader(masks=False).read(folder / 'replicant' / 'SMIL')
    body = load_body_model(folder / 'models' / 'SMILy_STICK.pkl')
    names = tuple(n for n in read.keypoint_names if n in body.keypoint_names)
    index = [read.keypoint_names.index(n) for n in names]
    xy, cameras, truth = zip(*(_cropped(image, index) for image in read.images))
    cameras = Cameras(
        ('picture',), *(torch.stack([getattr(c, n) for c in cameras]) for n in ('K', 'R', 't', 'size'))
    )
    xy, truth = torch.stack(xy).unsqueeze(1), torch.stack(truth)
    seen = Keypoints2d(xy, torch.ones_like(xy[..., 0]), names, cameras)
    config = read_config(ROOT / 'configs' / 'fit' / 'smalify_keypoints.py').to_dict()
    inputs = [seen, ImageFrameInput(cameras, len(xy))]
    rows = [{'what': 'the mean pose'} | _turned(body, body.zero_params(len(xy)), names, truth, None)]
    for what, chosen in (('each by itself', config), ('ten pictures of one', one_animal(config))):
        result: FitResult = build_registrant({**chosen, 'body_model': body})(inputs)
        for stage, params in (('start', result.start), ('fit', result.params)):
            doubted = doubted_of(result) if stage == 'fit' else None
            rows.append({'what': f'{what}, {stage}'} | _turned(body, params, names, truth, doubted))
    return rows


def one_animal(config: dict[str, Any]) -> dict[str, Any]:
    """Change a config to pictures of one animal that the model is not like: bones and landmarks give way, once.

    Limbs' lengths are free and tied left to right, joints move: the skin is another animal's, not believable.
    """
    terms = {'keypoints2d_mse_weight': 1 / 16, 'shape_prior_weight': 1.0, 'joint_limit_weight': 30.0}
    sizes = {'fit_log_joint_scales': True, 'joint_scale_prior_weight': 1.0}
    places = {**sizes, 'fit_joint_offsets': True, 'joint_offset_prior_weight': 1e4}
    later = [
        dict(name=name, n_iter=40, ftol=1e-4, pose_prior_weight=pose, **terms, **free)
        for name, pose, free in (('sizes', 16.0, sizes), ('places', 8.0, places), ('pose', 4.0, places))
    ]
    tied = dict(type='TiedJointScalePriorLoss', reduction='sum')
    handlers = [
        dict(type='JointOffsetPriorHandler', handler_key='joint_offset_prior'),
        dict(type='JointScalePriorHandler', handler_key='joint_scale_prior', prior_loss=tied),
    ]
    return {
        **config,
        'use_one_betas_per_video': True,
        # They are no video.
        'path_weight': 0.0,
        'hypothesis_stages': 2,
        'handlers': [*config['handlers'], *handlers],
        'stages': [*config['stages'][:2], *later],
    }


def mouse() -> list[Row]:
    """Fit each of three cameras' views of a mouse alone, image by image and as a video; truth by all three."""
    folder = real_data()
    if folder is None:
        return []
    body = load_body_model(folder / 'models' / 'SMILy_Mouse_static_joints.pkl')
    sessions = folder / 'mouse_sessions'
    session = SleapSession(
        sessions / 'minimal_session',
        joint_lookup=sessions / 'joint_lookup.csv',
        exclude_cameras=['side'],
    )
    seen = session.keypoints2d()
    points, ends = triangulate_keypoints(seen), [seen.names.index(name) for name in (TAIL, NECK)]
    rows = []
    for config, chosen in (
        ('smalify_keypoints', torch.arange(0, len(seen.xy), EVERY)),
        ('smalify_video', torch.arange(len(seen.xy))),
    ):
        for c, name in enumerate(seen.rig.names):
            one = _one_camera(seen, c)[chosen]
            fit = read_config(ROOT / 'configs' / 'fit' / f'{config}.py').to_dict()
            result = build_registrant({**fit, 'body_model': body})(
                [one, ImageFrameInput(one.rig, len(chosen))], frames=chosen
            )
            with torch.no_grad():
                found = body(result.params, seen.names).select(seen.names).double()
            R = one.rig.R[0].double()
            true, fitted = (_along(p[:, ends], R) for p in (points.xyz[chosen].double(), found))
            flat = _along(one.xy[:, 0, ends].double(), torch.eye(2).double())
            flat = torch.cat((flat, torch.zeros_like(flat[:, :1])), 1)
            known = points.visible[chosen][:, ends].all(1) & result.fitted
            turned, doubted = compare(fitted, true), doubted_of(result)
            labelled = known & one.visible[:, 0, ends].all(1)
            rows.append(
                {
                    'camera': name,
                    'config': config,
                    'frames': int(known.sum()),
                    'true depth, median deg': float(torch.rad2deg(true[known, 2].asin()).median()),
                    'PA error %': _aligned_error(found, points.xyz[chosen].double(), known),
                    'PA error of the mean pose %': _aligned_error(
                        _mean_pose(body, seen.names, len(chosen)), points.xyz[chosen].double(), known
                    ),
                    'zero depth, median deg': float(compare(flat, true).trunk_deg[labelled].median()),
                    'trunk median deg': float(turned.trunk_deg[known].median()),
                    'sign right %': share(~turned.depth_wrong, known),
                    'doubted %': share(doubted, known),
                    'wrong and not doubted': int((turned.depth_wrong & known & ~doubted).sum()),
                }
            )
    return rows


def _mean_pose(body: SMIL, names: tuple[str, ...], count: int) -> Tensor:
    with torch.no_grad():
        return body(body.zero_params(count), names).select(names).double()


def _aligned_error(found: Tensor, true: Tensor, known: Tensor) -> float:
    """Give the median of what is left after alignment, in percent of the mean distance from the middle."""
    found, true = found[known], true[known]
    size = (true - true.mean(1, keepdim=True)).norm(dim=-1).mean(1)
    error = (procrustes(found, true).apply(found) - true).norm(dim=-1).mean(1) / size
    return float(100 * error.median())


def _one_camera(seen: Keypoints2d, c: int) -> Keypoints2d:
    rig = seen.rig
    fields = {n: getattr(rig, n)[c : c + 1] for n in ('K', 'R', 't', 'size')}
    dist = None if rig.dist is None else rig.dist[c : c + 1]
    cameras = Cameras((rig.names[c],), dist=dist, **fields)
    return Keypoints2d(seen.xy[:, c : c + 1], seen.confidence[:, c : c + 1], seen.names, cameras)


def _along(ends: Tensor, R: Tensor) -> Tensor:
    """Give the direction from the first of two points to the second, as a camera sees it."""
    along = (ends[:, 1] - ends[:, 0]) @ R.T
    return along / along.norm(dim=1, keepdim=True)


def _turned(
    body: SMIL, params: BodyParams, names: tuple[str, ...], truth: Tensor, doubted: Tensor | None
) -> Row:
    """Say by how much bodies must be turned to lie on the truth: all keypoints, and those of the trunk alone."""
    with torch.no_grad():
        found = body(params, names).select(names).double()
    trunk = [k for k, name in enumerate(names) if name.startswith('b_') or '_co_' in name]
    row: Row = {'pictures': len(truth)}
    for what, points in (('all', list(range(len(names)))), ('trunk', trunk)):
        true = truth[:, points]
        aligned = procrustes(found[:, points], true)
        angle = _angle_deg(aligned.rotation)
        row[f'{what}: median deg'], row[f'{what}: worst deg'] = float(angle.median()), float(angle.max())
        every = torch.ones(len(true), dtype=torch.bool)
        row[f'{what}: PA error %'] = _aligned_error(found[:, points], true, every)
        row[f'{what}: > 60 deg, not doubted'] = (
            None if doubted is None else int(((angle > 60) & ~doubted).sum())
        )
    return row | {'doubted': None if doubted is None else int(doubted.sum())}


def _cropped(image: AnnotatedImage, index: list[int]) -> tuple[Tensor, Cameras, Tensor]:
    """Cut a picture out around its keypoints: pixels, its camera, and the points in the world."""
    xy = torch.as_tensor(image.keypoints)[index].double()
    low, high = xy.amin(0), xy.amax(0)
    grow = FILLED * SIDE / float((high - low).max())
    corner = (low + high) / 2 - SIDE / 2 / grow
    camera = image.camera.to(torch.float64)
    K = camera.K.clone()
    K[..., :2, 2] -= corner
    K[..., :2, :] *= grow
    size = torch.full_like(camera.size, SIDE)
    return (
        (xy - corner) * grow,
        replace(camera, K=K, size=size),
        torch.as_tensor(image.keypoints3d)[index].double(),
    )


def _angle_deg(rotation: Tensor) -> Tensor:
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return ((trace - 1) / 2).clamp(-1, 1).acos() * 180 / math.pi
