"""Where joints lie: inside the mesh, and where the regressor says."""

import numpy as np
import torch

from smilfit.body_models.smal_file import STALE_JOINT_SHARE
from smilfit.body_models.stored_model import StoredModel
from smilfit.geometry.closest_point import closest_on_triangles
from smilfit.rigs.checking.finding import NOTE, WARNING, Finding, counted, listed, share

# Turns of the surface around a point: one inside a closed mesh, none outside; open meshes lie between.
_INSIDE_TURNS = 0.35
# Of the model's size; ends of chains may lie a little off the skin.
_OUTSIDE = 0.03
_SUM_TOLERANCE = 1e-3


def joints_outside(model: StoredModel) -> list[Finding]:
    """Find joints that carry skin outside of the mesh, away from its surface."""
    data = model.data
    if not len(data.faces):
        return []
    corners = data.v_template[data.faces]
    # A joint without skin, such as one on the ground between the feet, may be anywhere.
    carrying = np.unique(data.weights.cols[data.weights.values > 0])
    turns = np.abs([winding(joint, corners) for joint in data.joints[carrying]])
    outside = carrying[turns < _INSIDE_TURNS]
    away = np.array([distance(data.joints[j], corners) for j in outside])
    far = away > _OUTSIDE * model.size
    if not far.any():
        return []
    outside, away = outside[far], away[far]
    order = np.argsort(-away)
    names = listed([data.joint_names[j] for j in outside[order]])
    worst = share(float(away.max()), model.size)
    what = f'{counted(len(outside), "joint")} outside of the mesh, up to {worst} off the surface'
    advice = 'Move them into the body, or compute them from the skin.'
    figures = {'farthest': float(away.max())}
    return [Finding('joints outside', WARNING, names, what, advice, len(outside), figures)]


def stored_joints(model: StoredModel) -> list[Finding]:
    """Find stored rest joints that the regressor contradicts; it decides in pickles, they do in `.smil.json`."""
    data = model.data
    if model.joints is None or data.joint_regressor is None:
        return []
    off = np.linalg.norm(model.joints - data.joint_regressor @ data.v_template, axis=1)
    worst = float(off.max())
    if worst <= STALE_JOINT_SHARE * model.size:
        return []
    order = np.argsort(-off)
    names = listed([f'{data.joint_names[j]} {off[j]:.3g}' for j in order[: int((off > 0.5 * worst).sum())]])
    what = (
        f'the stored joints contradict the regressor: mean {off.mean():.3f}, max {share(worst, model.size)}'
        ' from joint_regressor @ v_template'
    )
    advice = '`smilfit model clean --joints regressor` takes the regressed ones.'
    figures = {'mean': float(off.mean()), 'max': worst}
    return [Finding('stored joints', WARNING, names, what, advice, int((off > 0).sum()), figures)]


def regressor_rows(model: StoredModel) -> list[Finding]:
    """Find rows of the joint regressor that do not sum to one: such a joint does not move with the body."""
    data = model.data
    if data.joint_regressor is None:
        return []
    sums = np.bincount(data.joint_regressor.rows, data.joint_regressor.values, data.n_joints)
    wrong = np.flatnonzero(np.abs(sums - 1) > _SUM_TOLERANCE)
    found = []
    if len(wrong):
        names = listed([f'{data.joint_names[j]} {sums[j]:.4g}' for j in wrong])
        what = f'rows of the joint regressor sum to {sums[wrong].min():.4g} to {sums[wrong].max():.4g}, not 1'
        advice = 'Such joints do not follow a moved mesh: compute the regressor anew.'
        found.append(Finding('joint regressor', WARNING, names, what, advice, len(wrong)))
    negative = np.unique(data.joint_regressor.rows[data.joint_regressor.values < 0])
    if len(negative):
        names = listed([data.joint_names[j] for j in negative])
        what = 'the joint regressor has weights below zero'
        found.append(Finding('joint regressor', NOTE, names, what, '', len(negative)))
    return found


def winding(point: np.ndarray, corners: np.ndarray) -> float:
    """Count how often a surface (F, 3, 3) goes round a point: solid angles of triangles (van Oosterom, Strackee)."""
    a, b, c = (corners[:, k] - point for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    above = np.einsum('fi,fi->f', a, np.cross(b, c))
    below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2(above, below).sum() / (2 * np.pi))


def distance(point: np.ndarray, corners: np.ndarray) -> float:
    """Measure how far a point lies from the nearest of some triangles (F, 3, 3)."""
    triangles = torch.from_numpy(np.ascontiguousarray(corners, np.float64))
    shares = closest_on_triangles(torch.from_numpy(np.tile(point, (len(corners), 1))), triangles)
    nearest = (shares.unsqueeze(-1) * triangles).sum(1).numpy()
    return float(np.linalg.norm(nearest - point, axis=1).min())
