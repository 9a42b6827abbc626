"""The same formula by PyTorch3D, where it is installed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from smilfit.renderers import PyTorch3DRenderer, SilhouetteRenderer, ZBufferRenderer
from tests.renderers.render_scenes import LENS, camera, sphere

ROOT = Path(__file__).resolve().parents[2]
installed = pytest.mark.skipif(find_spec('pytorch3d') is None, reason='PyTorch3D is not installed')
# What PyTorch3D does to warn under new versions of torch is none of ours.
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::FutureWarning')


def ball():
    vertices, faces = sphere(12, 16)
    return vertices + 1e-3 * torch.randn_like(vertices), faces


@installed
@pytest.mark.parametrize('dist', [None, LENS])
@pytest.mark.parametrize(('width', 'height'), [(48, 36), (30, 50)])
def test_alpha_and_gradients_are_those_of_our_kernels(dist, width, height):
    vertices, faces = ball()
    cameras = camera(width, height, 40.0, centre=(21.3, 19.2), dist=dist)
    look = torch.rand(height, width, dtype=torch.float64)
    pair = []
    for renderer in (PyTorch3DRenderer(1e-3, faces_per_pixel=400), SilhouetteRenderer('soft', 1e-3)):
        leaf = vertices.clone().requires_grad_()
        alpha = renderer(leaf[None], faces, cameras).alpha[0]
        (alpha * look).sum().backward()
        pair.append((alpha.detach(), leaf.grad))
    (alpha, slope), (other_alpha, other_slope) = pair
    torch.testing.assert_close(alpha, other_alpha, atol=1e-4, rtol=0)
    assert torch.cosine_similarity(slope.flatten(), other_slope.flatten(), 0) > 0.9999
    torch.testing.assert_close(slope.norm(), other_slope.norm(), rtol=1e-3, atol=0)


@installed
def test_batches_surfaces_and_what_cannot_be_seen():
    vertices, faces = ball()
    renderer = PyTorch3DRenderer(1e-4, surface=ZBufferRenderer())
    both = renderer(torch.stack((vertices, vertices + 50)), faces, camera())
    assert both.alpha[0].max() > 0.9
    assert both.alpha[1].sum() == 0
    assert torch.equal(both.depth[0], ZBufferRenderer()(vertices[None], faces, camera()).depth[0])
    assert renderer(vertices[None], faces, camera(depth=-4.0)).alpha.sum() == 0
    assert len(renderer(vertices[None][:0], faces, camera())) == 0
    with pytest.raises(ValueError, match='must be positive'):
        PyTorch3DRenderer(faces_per_pixel=0)


def test_where_it_is_missing_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr('smilfit.renderers.pytorch3d.find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r"use SilhouetteRenderer\(mode='soft'\)"):
        PyTorch3DRenderer()


def test_neither_it_nor_warp_is_imported_unasked():
    lines = (
        'import sys, smilfit.renderers as r',
        "r.SilhouetteRenderer(backend='torch'), r.ZBufferRenderer(backend='torch')",
        "print(sorted({'warp', 'pytorch3d', 'smilfit.renderers'} & set(sys.modules)))",
    )
    done = subprocess.run(
        [sys.executable, '-c', '; '.join(lines)], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['smilfit.renderers']"
