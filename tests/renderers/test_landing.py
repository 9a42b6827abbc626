"""In every renderer a point lands where the camera projects it, whatever the lens, the crop and its shape."""

from importlib.util import find_spec

import pytest
import torch

from smilfit.registry import build_renderer
from tests.renderers.render_scenes import LENS, camera, without_warp

SHARP = 1e-6
RENDERERS = [
    dict(type='ZBufferRenderer', backend='torch'),
    pytest.param(dict(type='ZBufferRenderer', backend='warp'), marks=without_warp),
    dict(type='SilhouetteRenderer', mode='soft', sigma=SHARP, backend='torch'),
    pytest.param(
        dict(type='SilhouetteRenderer', mode='soft', sigma=SHARP, backend='warp'), marks=without_warp
    ),
    dict(type='SilhouetteRenderer', mode='visible', backend='torch'),
    pytest.param(dict(type='SilhouetteRenderer', mode='visible', backend='warp'), marks=without_warp),
    pytest.param(
        dict(type='PyTorch3DRenderer', sigma=SHARP),
        marks=pytest.mark.skipif(find_spec('pytorch3d') is None, reason='PyTorch3D is not installed'),
    ),
]


def centre_of(alpha):
    """The alpha's centre of mass, px."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=alpha.dtype) for n in alpha.shape), indexing='ij')
    return torch.stack(((alpha * x).sum(), (alpha * y).sum())) / alpha.sum()


@pytest.mark.parametrize('config', RENDERERS)
@pytest.mark.parametrize('dist', [None, LENS])
def test_a_point_lands_where_it_is_projected(config, dist):
    """A tiny square, magnified by a crop whose pixels are 1/40 of the image's, shows its centre to 1/20 px."""
    renderer = build_renderer(config)
    cameras = camera(200, 160, 260.0, centre=(91.7, 83.1), dist=dist)
    corner = torch.tensor([[0.31, -0.22, 0.4]], dtype=torch.float64)
    where = cameras.project(corner)[0][0, 0]
    offsets = torch.tensor([(-1, -1), (1, -1), (1, 1), (-1, 1)]).double()
    square = corner + 0.012 * torch.nn.functional.pad(offsets, (0, 1))
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    for width, height in ((141, 121), (101, 151)):
        zoom, centre = 40.0, torch.tensor([70.0, 60.0]).double()
        shift = (centre - zoom * where).unsqueeze(1)
        affine = torch.cat((zoom * torch.eye(2).double(), shift), 1)[None]
        crop = cameras.transformed(affine, torch.tensor([[width, height]]).double())
        alpha = renderer(square[None], faces, crop).alpha[0]
        assert ((centre_of(alpha) - centre) / zoom).abs().max() < 0.05
