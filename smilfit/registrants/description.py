"""What a fit's result tells beside the parameters: its body, its cameras, and where the observed keypoints are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BaseInput
from smilfit.handlers.keypoint_input import KeypointInput
from smilfit.structures import Cameras, FitResult, FittedModel, Keypoints3d
from smilfit.structures.body import by_blocks
from smilfit.structures.cameras import LARGEST


def observed_names(inputs: Mapping[str, BaseInput]) -> tuple[str, ...]:
    """Name the keypoints that somebody observed, once each."""
    result = (i.keypoints.names for i in inputs.values() if isinstance(i, KeypointInput))
    return tuple(dict.fromkeys(name for names in result for name in names))


def described(result: FitResult, body: SMIL, cameras: Cameras | None, names: Sequence[str]) -> FitResult:
    """Add the body model's name, the cameras that saw, and the fitted keypoints.

    Where no keypoint was observed, these are the joints and the landmarks. Frames that were not fitted have keypoints
    of confidence 0.
    """
    names = tuple(names) or (*body.joint_names, *body.data.landmarks)
    fitted = result.fitted
    with torch.no_grad():
        params = result.params.to(body.v_template)
        xyz = by_blocks(params.batch_size, lambda rows: body(params[rows], names).select(names))
    valid = fitted.to(xyz.device)[:, None] & (xyz.abs() < LARGEST).all(-1)
    xyz = torch.where(valid.unsqueeze(-1), xyz, torch.zeros_like(xyz))
    unit = None if cameras is None else cameras.unit
    return replace(
        result,
        recorded_cameras=cameras,
        keypoints3d=Keypoints3d(xyz.detach(), valid.to(xyz.dtype), names, unit),
        model=FittedModel.of(body.data),
    )
