"""Scanned meshes from files of other programs, each read in a process that the system bounds."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import (
    BadFileError,
    accounted,
    charge,
    check_budget,
    inside,
    read_in_child,
    read_json,
    reading,
    shorten,
)
from smilfit.registry import did_you_mean

SCAN_FORMATS = ('obj', 'ply', 'stl', 'off', 'glb')
LANDMARKS = '.landmarks.json'
_LANDMARKS_OF = 'landmarks of a scan'
WHAT = 'a scan'
# A scan of ten million vertices is about so large; a hundred thousand landmarks are less.
_MOST_BYTES, _MOST_LANDMARK_BYTES = 1 << 31, 1 << 24
_BLOCK = 1 << 20


def find_scans(paths: list[str | Path]) -> dict[str, Path]:
    """Find scans by name: files, and those of folders.

    Raises:
        FileNotFoundError: a path that is not there, or a folder without scans.
        ValueError: two of one name.
    """
    result: dict[str, Path] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if _format(p) in SCAN_FORMATS and p.is_file())
            if not files:
                raise FileNotFoundError(
                    f'{path}: must hold scans ({", ".join(SCAN_FORMATS)}); there are none. Name their folder.'
                )
        elif path.is_file():
            files = [path]
        else:
            raise FileNotFoundError(f'{path}: must be a scan, or a folder of scans; it is not there.')
        for file in files:
            if file.stem in result:
                raise ValueError(
                    f'{file}: scans must have names of their own; {result[file.stem]} has the same. Rename one.'
                )
            result[file.stem] = file
    return result


def read_mesh(path: str | Path) -> tuple[Float[np.ndarray, 'V 3'], Int[np.ndarray, 'F 3']]:
    """Read the triangles of a file; several objects are one, larger faces are cut into triangles.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another format, or no mesh.
    """
    path = Path(path)
    kind = _format(path)
    if kind not in SCAN_FORMATS:
        raise BadFileError(
            f'{path}: a scan must be one of {", ".join(SCAN_FORMATS)}; got {path.suffix!r}. '
            f'{did_you_mean(kind, SCAN_FORMATS)}'
        )
    with reading(path, WHAT):
        check_budget(path, 'the file', path.stat().st_size, _MOST_BYTES)
        import_mesh_reader()
        return read_in_child(path, WHAT, _read_triangles, path, kind)


def import_mesh_reader() -> None:
    """Import what reads meshes, where a process is about to be forked for it: it takes half a second."""
    import trimesh

    _ = trimesh


def scan_digest(path: str | Path) -> str:
    """Return the SHA-256 of a scan's file or of what lies beside it, in hexadecimal.

    Raises:
        BadFileError: a file of holes, or one larger than any scan, which is not gone through.
    """
    with accounted(path, WHAT) as account, open(path, 'rb') as file:
        size = Path(path).stat().st_size
        check_budget(path, 'the file', size, _MOST_BYTES)
        account.charge('its length', n_bytes=size)
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _format(path: Path) -> str:
    return path.suffix.lower().lstrip('.')


def _read_triangles(path: Path, kind: str) -> tuple[Float[np.ndarray, 'V 3'], Int[np.ndarray, 'F 3']]:
    import trimesh

    loaded: Any = trimesh.load(
        path,
        file_type=kind,
        resolver=_Beside(path),  # type: ignore[arg-type]  # trimesh asks it for `get` alone.
        process=False,
        maintain_order=True,
        skip_materials=True,
    )
    if isinstance(loaded, trimesh.Scene):
        # What stands in a scene many times is made as often.
        for node in loaded.graph.nodes_geometry:
            shown = loaded.geometry[loaded.graph[node][1]]
            _charge_mesh(len(shown.vertices), len(getattr(shown, 'faces', ())))
        parts = [g for g in loaded.dump() if isinstance(g, trimesh.Trimesh)]
        if not parts:
            raise ValueError('no triangles in it; a scan must be a surface')
        loaded = trimesh.util.concatenate(parts)
    else:
        _charge_mesh(len(loaded.vertices), len(getattr(loaded, 'faces', ())))
    vertices = np.asarray(loaded.vertices, np.float64)
    faces = np.asarray(getattr(loaded, 'faces', np.zeros((0, 3))), np.int64)
    return vertices, faces


def _charge_mesh(n_vertices: int, n_faces: int) -> None:
    charge('its vertices and triangles', n_objects=n_vertices + n_faces)


class _Beside:
    """What a scan's file names, from its own folder alone, on its account."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> bytes:
        """Read a file beside the scan."""
        place = inside(self.path.parent, str(name).strip(), f'{self.path}: a file that it names')
        with accounted(place, WHAT):
            size = place.stat().st_size
            charge('the files that it names', n_bytes=check_budget(place, 'the file', size, _MOST_BYTES))
            return place.read_bytes()

    __getitem__ = get


def read_scan_landmarks(path: str | Path) -> dict[str, Float[np.ndarray, '3']]:
    """Read named points beside a scan, `<name>.landmarks.json`: `{"name": [x, y, z], ...}`; none without the file.

    Raises:
        BadFileError: another content.
    """
    path = Path(path)
    beside = path.with_name(path.stem + LANDMARKS)
    if not beside.is_file():
        return {}
    return read_in_child(beside, _LANDMARKS_OF, _read_landmarks, beside)


def _read_landmarks(beside: Path) -> dict[str, Float[np.ndarray, '3']]:
    result = {}
    for name, value in read_json(beside, _LANDMARKS_OF, dict, _MOST_LANDMARK_BYTES).items():
        try:
            point = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            point = np.zeros(0)
        if point.shape != (3,) or not np.isfinite(point).all():
            shown = shorten(json.dumps(value)[:80])
            raise BadFileError(
                f'{beside}: a landmark must be three numbers; {shorten(name)!r} is {shown}. Leave it out, '
                'or correct it.'
            )
        result[name] = point
    return result
