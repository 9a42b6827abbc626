"""From meshes to images: one renderer a file, behind one interface."""

from smilfit.renderers.base import Renderer, RenderOutput
from smilfit.renderers.mesh_painter import (
    MeshPainter,
    ZBufferRenderer,
    interpolate,
    overlay,
    paint_faces,
    shade,
    vertex_normals,
)
from smilfit.renderers.pytorch3d import PyTorch3DRenderer
from smilfit.renderers.silhouette import SilhouetteRenderer

__all__ = [
    'MeshPainter',
    'PyTorch3DRenderer',
    'RenderOutput',
    'Renderer',
    'SilhouetteRenderer',
    'ZBufferRenderer',
    'interpolate',
    'overlay',
    'paint_faces',
    'shade',
    'vertex_normals',
]
