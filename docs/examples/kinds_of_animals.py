"""One model, several animals

The shipped quadruped's shape space has kinds, each a Gaussian over its coefficients. These are their means.
"""

import sys
from pathlib import Path

import torch
from PIL import Image

import smilfit as sf
from smilfit.drawing import free_views, grid_of_views

picture = Path(sys.argv[2])
body = sf.load_body_model('quadruped')
kinds = body.data.shape_mixture
tiles = []
for name, mean in zip(kinds.names, kinds.means):
    params = sf.BodyParams(
        global_orient=torch.zeros(1, 3),
        body_pose=torch.zeros(1, len(body.joint_names) - 1, 3),
        betas=torch.tensor(mean[None], dtype=torch.float32),
        transl=torch.zeros(1, 3),
        scale=torch.ones(1),
    )
    side = free_views(body, params, side_px=140, label=name)[:, :140]
    tiles.append(side)
Image.fromarray(grid_of_views(tiles, columns=len(tiles))).save(picture)
