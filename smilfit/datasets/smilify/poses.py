"""Poses that a SMILify file states: taken where the body, so posed, has its stored 3D keypoints.

What the file's translations and scales mean depends on who wrote it, so place, heading and size come from the 3D
keypoints, in closed form; only the joints' rotations and the shape are the file's.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from smilfit.body_models import SMIL, BodyModelData
from smilfit.datasets.known_params import KnownParams
from smilfit.datasets.smilify.samples import SampleTables
from smilfit.datasets.store_layout import PARAM_NAMES
from smilfit.geometry.procrustes import procrustes
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.structures import PARAMETERS

# RMS distance from the 3D keypoints over their RMS distance from their middle, up to which a pose is believed; joints
# dealt out wrongly reach 0.3 and more.
MOST_MISS = 0.05
LEAST_POINTS = 4


def known_poses(tables: SampleTables, body: BodyModelData | None, length_factor: float) -> KnownParams | None:
    """Give the parameters of a session's samples; None where the file states none.

    Args:
        tables: the samples.
        body: the model that the file was made with; None where it is not the one of the dataset file to be, to which
            the poses do not belong.
        length_factor: from the file's lengths to the session's unit.
    """
    if tables.poses is None or not tables.posed.any():
        return None
    posed = np.flatnonzero(tables.posed)
    if body is None or tables.shapes.shape[1] != body.n_betas:
        return KnownParams({}, np.zeros(len(tables.rows), np.bool_), len(posed))
    sizes = {'J': body.n_joints, 'S': body.n_betas}
    values = {name: np.zeros((len(tables.rows), *PARAMETERS[name].row(sizes))) for name in PARAM_NAMES}
    found, miss = _placed(tables, tables.poses[posed], SMIL(body).double(), posed, length_factor)
    known, good = np.zeros(len(tables.rows), np.bool_), miss <= MOST_MISS
    known[posed] = good
    for name, value in found.items():
        values[name][posed[good]] = value[good]
    return KnownParams(values, known, int((~good).sum()))


@torch.no_grad()
def _placed(
    tables: SampleTables,
    poses: Float[np.ndarray, 'p J 3'],
    body: SMIL,
    rows: Int[np.ndarray, ' p'],
    length_factor: float,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Pose the body, lay it on the 3D keypoints, and say how far it misses them, in shares of their extent."""
    pose = torch.from_numpy(poses[:, 1:])
    shape = torch.from_numpy(tables.shapes[rows])
    params = body.zero_params(len(pose)).replace(body_pose=pose, betas=shape)
    joints = body(params, need=('joints',)).joints
    points = torch.from_numpy(tables.points[rows]) * length_factor
    weight = torch.from_numpy(tables.has_point[rows]).double()
    laid = procrustes(joints, points, weight)
    turned = torch.einsum('nij,nkj->nki', laid.rotation, joints)
    left = laid.scale[:, None, None] * turned + laid.translation[:, None] - points
    middle = (weight.unsqueeze(-1) * points).sum(1, keepdim=True) / weight.sum(1)[:, None, None].clamp_min(1)
    away, extent = ((weight * x.square().sum(-1)).sum(1) for x in (left, points - middle))
    miss = (away / extent.clamp_min(1e-300)).sqrt()
    usable = laid.determined & (weight.sum(1) >= LEAST_POINTS)
    # The root turns about its own joint.
    root = joints[:, 0]
    turn_about = root - torch.einsum('nij,nj->ni', laid.rotation, root)
    found = {
        'global_orient': rotmat_to_axis_angle(laid.rotation),
        'body_pose': pose,
        'betas': shape,
        'transl': laid.translation - laid.scale[:, None] * turn_about,
        'scale': laid.scale,
    }
    return {n: v.numpy() for n, v in found.items()}, torch.where(usable, miss, torch.inf).numpy()
