"""The numbers of a fitted body that need no images: bones, skin, shape, joints, and where it stands."""

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.verdict.bones import bone_asymmetry, bone_ratios, joint_moves
from smilfit.evaluation.verdict.evidence import names_seen
from smilfit.evaluation.verdict.intersections import new_crossings
from smilfit.evaluation.verdict.judge import Found
from smilfit.evaluation.verdict.mesh import inverted_share, posed, torn_share
from smilfit.evaluation.verdict.priors import (
    betas_sd,
    camera_distance,
    landmark_excess,
    landmark_offsets_sd,
    limits_share,
    part_sizes_sd,
    size_ratio,
)
from smilfit.evaluation.verdict.sides import side_pairs
from smilfit.structures import BodyParams, Keypoints2d
from smilfit.structures.frame_blocks import by_blocks

# Frames whose meshes are measured, and of these those whose triangles are searched for crossings.
N_MESHES, N_CROSSINGS = 24, 4


def body_values(body: SMIL, params: BodyParams, unit: str | None = None) -> dict[str, Found]:
    """Measure bodies that share shape and skeleton: the worst bone, joint and coefficient, and the skin.

    The skin is measured in a few frames, spread over all, of which the mean stands.

    Args:
        body: the body.
        params: of the fit.
        unit: of the world, to compare the size with the model's.
    """
    if not params.batch_size:
        return {}
    bones, joints = body.joint_names[1:], body.joint_names
    ratios = bone_ratios(body, params)
    found = {
        'bone_longest': _worst(ratios, bones, largest=True),
        'bone_shortest': _worst(ratios, bones, largest=False),
        'joint_moves': _worst(joint_moves(body, params), joints, largest=True),
    }
    size = size_ratio(body, params, unit)
    if size is not None:
        found['size'] = Found(size)
    asymmetry = bone_asymmetry(body, params)
    if asymmetry.shape[1]:
        pairs = [joints[a] for a, _ in side_pairs(body.data, joints) if a > 0]
        found['bone_asymmetry'] = _worst(asymmetry, pairs, largest=True)
    offsets = landmark_offsets_sd(body, params)
    if params.landmark_offsets is not None and offsets.shape[1]:
        found['landmark_offsets_sd'] = _worst(offsets, body.data.unknown_landmarks, largest=True)
        found['landmark_offsets'] = _worst(
            landmark_excess(body, params), body.data.unknown_landmarks, largest=True
        )
    sizes = part_sizes_sd(body, params)
    if sizes.shape[1]:
        found['part_sizes_sd'] = _worst(sizes, tuple(body.part_sizes), largest=True)
    if params.betas.shape[1]:
        names = [str(s) for s in range(params.betas.shape[1])]
        found['betas_sd'] = _worst(betas_sd(body, params), names, largest=True)
    if not len(body.faces):
        return found
    few = params[torch.linspace(0, params.batch_size - 1, min(N_MESHES, params.batch_size)).round().long()]
    vertices = posed(body, few)
    found['torn'] = Found(float(torn_share(body, few, vertices).mean()))
    found['inverted'] = Found(float(inverted_share(body, few, vertices).mean()))
    chosen = vertices[:: max(1, few.batch_size // N_CROSSINGS)].cpu().numpy()
    found['self_intersection'] = Found(_crossings(body, chosen))
    return found


def frame_meshes(body: SMIL, params: BodyParams) -> dict[str, np.ndarray]:
    """Measure the skin of every frame: torn and inverted shares; empty of a model without faces."""
    if not len(body.faces) or not params.batch_size:
        return {}
    parts = [params[rows] for rows in torch.arange(params.batch_size).split(N_MESHES)]
    found = {
        'torn': torch.cat([torn_share(body, p) for p in parts]),
        'inverted': torch.cat([inverted_share(body, p) for p in parts]),
    }
    return {name: value.cpu().double().numpy() for name, value in found.items()}


def body_frames(body: SMIL, params: BodyParams, seen: Keypoints2d) -> dict[str, np.ndarray]:
    """Measure every frame: joints beyond limits, distances to cameras, and how many keypoints were seen."""
    names = ('limits', 'camera_near', 'camera_far', 'behind_cameras', 'keypoints')

    def measured(rows: slice) -> Tensor:
        found = _body_frames(body, params[rows], seen[rows])
        return torch.stack([found[name].detach().cpu().double() for name in names], 1)

    return dict(zip(names, by_blocks(params.batch_size, measured).numpy().T, strict=True))


def _body_frames(body: SMIL, params: BodyParams, seen: Keypoints2d) -> dict[str, Tensor]:
    centres = seen.rig.centres().to(params.transl)
    distance = camera_distance(body, params, centres)
    with torch.no_grad():
        joints = body(params.to(body.v_template), ('joints',)).joints
    _, depth, _ = seen.rig.project(joints.cpu().to(seen.rig.K))
    looks = seen.visible.any(-1)
    behind = ((depth <= 0).all(-1) & looks).sum(1) / looks.sum(1).clamp_min(1)
    return {
        'limits': limits_share(body, params),
        'camera_near': distance.amin(1),
        'camera_far': distance.amax(1),
        'behind_cameras': behind,
        'keypoints': names_seen(seen),
    }


def _worst(values: Tensor, names: tuple[str, ...] | list[str], largest: bool) -> Found:
    """Give the mean over frames of the column where it is largest, or smallest, and its name; NaN does not count."""
    means = values.double().nanmean(0)
    known = means.isfinite()
    if not bool(known.any()):
        return Found(float('nan') if bool(means.isinf().any()) else 1.0)
    filled = torch.where(known, means, -torch.inf if largest else torch.inf)
    at = int(filled.argmax() if largest else filled.argmin())
    return Found(float(filled[at]), names[at])


def _crossings(body: SMIL, vertices: np.ndarray) -> float:
    return float(new_crossings(vertices, body.data.v_template, body.faces.cpu().numpy()).mean())
