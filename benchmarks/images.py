"""Fits to made pictures of one view, and of four."""

import numpy as np
import torch

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import Cameras, Keypoints2d
from smilfit.synthetic import draw_betas, random_motion

SIDE = 224

def photos(body, n, rng, focal=1.2 * SIDE, noise_px=1.0):
    """Poses of a walk seen from all sides, each filling about 70 % of its picture."""
    walk = random_motion(body, 12 * n, rng, 0.01)
    params = walk[::12]
    betas = torch.from_numpy(np.stack([draw_betas(body.data, rng, 1.5) for _ in range(n)]))
    az, el = rng.uniform(0, 2 * np.pi, n), np.deg2rad(rng.uniform(0, 50, n))
    turns = []
    for a, e in zip(az, el):
        forward = -np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        right = np.cross(forward, [0, 0, 1.0]); right /= np.linalg.norm(right)
        turns.append(np.stack((right, np.cross(forward, right), forward)))
    turn = torch.from_numpy(np.stack(turns))
    params = params.replace(betas=betas, transl=torch.zeros(n, 3).double(),
        global_orient=rotmat_to_axis_angle(turn @ axis_angle_to_rotmat(params.global_orient)))
    K = torch.tensor([[focal, 0, (SIDE - 1) / 2], [0, focal, (SIDE - 1) / 2], [0, 0, 1.0]]).double()
    cameras = Cameras(('picture',), K.expand(n, 1, 3, 3).clone(), torch.eye(3).double().expand(n, 1, 3, 3).clone(),
        torch.zeros(n, 1, 3).double(), torch.full((n, 1, 2), float(SIDE)).double())
    for _ in range(3):
        v = body(params, ('vertices',)).vertices
        low, high = v.amin(1), v.amax(1)
        if _ == 0:
            span = (high - low)[:, :2].amax(1)
            z = focal * span / (0.75 * SIDE)
            move = torch.cat((-(low + high)[:, :2] / 2, (z - (low + high)[:, 2] / 2)[:, None]), 1)
        else:
            px = cameras.project(v)[0][:, 0]
            lo, hi = px.amin(1), px.amax(1)
            share = (hi - lo).amax(1) / (0.75 * SIDE)
            depth = v[..., 2].mean(1)
            move = torch.cat((((SIDE - 1) / 2 - (lo + hi) / 2) * (depth / focal)[:, None], (depth * (share - 1))[:, None]), 1)
        params = params.replace(transl=params.transl + move)
    names = tuple(body.data.keypoint_sets['sleap'])
    xy = cameras.project(body(params, names).keypoints)[0]
    xy = xy + noise_px * torch.from_numpy(rng.standard_normal(xy.shape))
    keypoints = Keypoints2d(xy, torch.ones_like(xy[..., 0]), names, cameras)
    return params, cameras, keypoints, masks_of(body, params, cameras)

def flat(cameras):
    n = len(cameras.K)
    return Cameras(tuple(str(i) for i in range(n)), cameras.K[:, 0], cameras.R[:, 0], cameras.t[:, 0], cameras.size[:, 0])

def masks_of(body, params, cameras):
    v = body(params, ('vertices',)).vertices
    return (ZBufferRenderer()(v, body.faces, flat(cameras)).alpha > 0).unsqueeze(1)
