"""Scanned meshes from files of other programs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import BadFileError, check_budget, read_json, reading
from smilfit.registry import did_you_mean

SCAN_FORMATS = ('obj', 'ply', 'stl', 'off', 'glb')
LANDMARKS = '.landmarks.json'
# A scan of ten million vertices is about so large.
_MOST_BYTES = 1 << 31


def find_scans(paths: list[str | Path]) -> dict[str, Path]:
    """Find scans by name: files, and those of folders.

    Raises:
        FileNotFoundError: a path that is not there, or a folder without scans.
        ValueError: two of one name.
    """
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower().lstrip('.') in SCAN_FORMATS)
            if not files:
                raise FileNotFoundError(
                    f'{path}: must hold scans ({", ".join(SCAN_FORMATS)}); there are none. Name their folder.'
                )
        elif path.is_file():
            files = [path]
        else:
            raise FileNotFoundError(f'{path}: must be a scan, or a folder of scans; it is not there.')
        for file in files:
            if file.stem in found:
                raise ValueError(
                    f'{file}: scans must have names of their own; {found[file.stem]} has the same. Rename one.'
                )
            found[file.stem] = file
    return found


def read_mesh(path: str | Path) -> tuple[Float[np.ndarray, 'V 3'], Int[np.ndarray, 'F 3']]:
    """Read the triangles of a file; several objects are one, larger faces are cut into triangles.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another format, or no mesh.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip('.')
    if kind not in SCAN_FORMATS:
        raise BadFileError(
            f'{path}: a scan must be one of {", ".join(SCAN_FORMATS)}; got {path.suffix!r}. '
            f'{did_you_mean(kind, SCAN_FORMATS)}'
        )
    with reading(path, 'a scan'):
        check_budget(path, 'the file', path.stat().st_size, _MOST_BYTES)
        # Imported where it is used: it takes half a second.
        import trimesh

        loaded: Any = trimesh.load(
            path, file_type=kind, process=False, maintain_order=True, skip_materials=True
        )
        if isinstance(loaded, trimesh.Scene):
            parts = [g for g in loaded.dump() if isinstance(g, trimesh.Trimesh)]
            if not parts:
                raise ValueError('no triangles in it; a scan must be a surface')
            loaded = trimesh.util.concatenate(parts)
        vertices = np.asarray(loaded.vertices, np.float64)
        faces = np.asarray(getattr(loaded, 'faces', np.zeros((0, 3))), np.int64)
    return vertices, faces


def read_scan_landmarks(path: str | Path) -> dict[str, Float[np.ndarray, '3']]:
    """Read named points beside a scan, `<name>.landmarks.json`: `{"name": [x, y, z], ...}`; none without the file.

    Raises:
        BadFileError: another content.
    """
    path = Path(path)
    beside = path.with_name(path.stem + LANDMARKS)
    if not beside.is_file():
        return {}
    found = {}
    for name, value in read_json(beside, 'landmarks of a scan', dict).items():
        try:
            point = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            point = np.zeros(0)
        if point.shape != (3,) or not np.isfinite(point).all():
            shown = json.dumps(value)[:80]
            raise BadFileError(
                f'{beside}: a landmark must be three numbers; {name!r} is {shown}. Leave it out, or correct it.'
            )
        found[name] = point
    return found
