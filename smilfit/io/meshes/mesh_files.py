"""Meshes as files that other programs open."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import write_bytes
from smilfit.options.fields import MESH_FORMATS
from smilfit.registry import did_you_mean


def write_mesh(
    path: str | Path,
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
) -> Path:
    """Write one mesh as OBJ, binary PLY or binary glTF, as the file's name ends; vertices keep order and number.

    Args:
        path: the file to be.
        vertices: in whatever unit the caller has; no format states one.
        faces: corners of the triangles.

    Raises:
        ValueError: another kind of file, or vertices that are no numbers.
    """
    path = Path(path)
    kind = path.suffix.lstrip('.').lower()
    if kind not in MESH_FORMATS:
        raise ValueError(
            f'{path}: a mesh file must be one of {MESH_FORMATS}; got {path.suffix!r}. '
            f'{did_you_mean(kind, MESH_FORMATS)}'
        )
    if not np.isfinite(vertices).all():
        raise ValueError(f'{path}: vertices must be finite; some are not. Was this frame fitted?')
    # Imported where it is used: it takes half a second.
    import trimesh

    # Unprocessed: merged or reordered vertices would no longer be the model's.
    mesh = trimesh.Trimesh(np.asarray(vertices, np.float64), np.asarray(faces, np.int64), process=False)
    extras: dict[str, dict[str, Any]] = {
        'obj': {'include_normals': False, 'digits': 8},
        'ply': {'vertex_normal': False},
        'glb': {},
    }
    data: Any = mesh.export(file_type=kind, **extras[kind])
    return write_bytes(path, data.encode() if isinstance(data, str) else data)
