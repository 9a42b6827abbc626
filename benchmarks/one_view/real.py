"""replicAnt's pictures of ants with their true cameras: how far fits to one view are turned from the truth."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.measuring import ROOT, Row, real_data
from benchmarks.one_view.scores import doubted_of
from smilfit.body_models import load_body_model
from smilfit.geometry.procrustes import procrustes
from smilfit.handlers import ImageFrameInput
from smilfit.io.annotations.replicant import ReplicantReader
from smilfit.registry import build_registrant, read_config
from smilfit.structures import AnnotatedImage, Cameras, Keypoints2d

SIDE, FILLED = 224.0, 0.75


def ants() -> list[Row]:
    """Fit each ant by its keypoints alone; empty where the real data are not there."""
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
    result = build_registrant({**config, 'body_model': body})([seen, ImageFrameInput(cameras, len(xy))])
    doubted = doubted_of(body, result, seen)
    rows = []
    for what, params in (('start, the mean pose', result.start), ('fit', result.params)):
        with torch.no_grad():
            found = body(params, names).select(names).double()
        aligned = procrustes(found, truth)
        size = (truth - truth.mean(1, keepdim=True)).norm(dim=-1).mean(1)
        error = (aligned.apply(found) - truth).norm(dim=-1).mean(1) / size
        turned = _angle_deg(aligned.rotation)
        for i, image in enumerate(read.images):
            rows.append(
                {
                    'picture': image.where,
                    'what': what,
                    'rotation error deg': float(turned[i]),
                    'PA error % of mean distance from the middle': float(100 * error[i]),
                    'doubted': bool(doubted[i]) if what == 'fit' else None,
                }
            )
    return rows


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
