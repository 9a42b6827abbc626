"""Heat maps as a network would show them: blobs at keypoints' images, with errors of all kinds."""

import numpy as np
import torch
from torch import Tensor

from smilfit.geometry.heatmaps import gaussian_targets
from smilfit.structures import Cameras
from smilfit.synthetic.camera_rigs import make_rig

STRIDE, CELLS = 2.0, 64
PIXELS = int(STRIDE * CELLS)


def make_cameras(n_views: int, batch: int = 1, seed: int = 0, lens: bool = True) -> Cameras:
    """Stand cameras on a dome around an animal of 60 mm, about 420 mm away, images of 128 px."""
    rig = make_rig(n_views, 45.0, np.random.default_rng(seed), size=(PIXELS, PIXELS), lens=lens).to(
        torch.float32
    )
    return rig.map(lambda x: x.expand(batch, *x.shape).contiguous())


def blobs(px: Tensor, mass: float | Tensor = 1.0, width_cells: float | Tensor = 1.25) -> Tensor:
    """Draw logits (..., h, w) of blobs at px; what mass is left lies everywhere."""
    mass = torch.as_tensor(mass)[..., None, None]
    shown = gaussian_targets(px, (CELLS, CELLS), STRIDE, width_cells)
    return (mass * shown + (1 - mass) / CELLS**2 + 1e-9).log()
