"""A body model as a glTF skin, and back: what glTF has no place for stands in the file's extras.

Other programs see the skin, its skeleton and the shape directions as morph targets. The rest (regressor, covariance,
limits, symmetry, keypoints, unit, licence, ...) is the model's own document, without what the skin says already.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.files.smil_json import smil_document
from smilfit.body_models.files.smil_json_reader import body_of_document
from smilfit.files import BadFileError, check_budget, reading
from smilfit.io.meshes.gltf_animation import Motion, SkinnedMesh, world_matrix, write_gltf_animation
from smilfit.rigs.gltf.file import open_gltf
from smilfit.rigs.read_rig import Rig, read_rig
from smilfit.structures.body import MILLIMETRES

# Where the document stands in `asset.extras`, and its version.
EXTRAS = 'smilfit_body_model'
_MOST_DIRECTIONS = 1 << 12


def write_model_gltf(data: BodyModelData, path: str | Path) -> tuple[str, ...]:
    """Write a `.glb` of the model at rest; a node `world` makes it metres and y up where unit and axes are known.

    Returns:
        What the file does not hold, in words.

    Raises:
        ValueError: another ending, or a model that breaks a rule or has no faces.
    """
    path = Path(path)
    check_body_model(data, str(path))
    if not len(data.faces):
        raise ValueError(
            f'{path}: a skin of glTF must have faces; got a model without. Write another format.'
        )
    mesh = SkinnedMesh(
        vertices=data.v_template,
        faces=data.faces,
        joints=data.joints,
        parents=data.parents,
        names=data.joint_names,
        weights=data.weights.to_dense(),
        morphs=_morphs(data),
    )
    rest = np.zeros((1, data.n_joints, 4))
    rest[..., 0] = 1
    still = Motion(np.zeros(1), rest, np.zeros((1, 3)), np.ones(1))
    metres = MILLIMETRES[data.unit] / 1000 if data.unit in MILLIMETRES else None
    world = world_matrix(metres, data.up_axis)
    extras = {
        EXTRAS: _document(data),
        'world': None if world is None else world.tolist(),
        'unit': data.unit,
        'metres_per_unit': metres,
    }
    write_gltf_animation(path, mesh, still, extras, world=world)
    if data.posedirs is None:
        return ()
    return ('the pose directions: a skin of glTF has no shapes that depend on the pose',)


def _morphs(data: BodyModelData) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    for name, directions in (('beta', data.shapedirs), ('expression', data.expressiondirs)):
        if directions is not None:
            result |= {f'{name}_{i}': directions[..., i] for i in range(directions.shape[2])}
    return result


def _document(data: BodyModelData) -> dict[str, object]:
    """Return the model's document without vertices, faces, skin weights, and vertices of directions."""
    document = smil_document(replace(data, posedirs=None))
    for key in ('vertices', 'faces', 'skin_weights'):
        del document[key]
    for direction in (document['shape'] or {}).get('directions', ()):
        del direction['vertices']
    document.pop('expression', None)
    return document


def holds_body_model(path: str | Path) -> bool:
    """Check whether a glTF file is one that `write_model_gltf` wrote."""
    return EXTRAS in _extras(Path(path))


def read_model_gltf(path: str | Path) -> BodyModelData:
    """Read a body model from a `.glb` that `write_model_gltf` wrote; its numbers are single precision.

    Raises:
        BadFileError: no glTF, or one of another program.
        ValueError: a model that breaks a rule.
    """
    path = Path(path)
    extras = _extras(path)
    document = extras.get(EXTRAS)
    if not isinstance(document, dict):
        raise BadFileError(
            f'{path}: a glTF of another program must be imported first; got one without a body model of smilfit. '
            'smilfit model import RIG OUT.smil.json'
        )
    rig = read_rig(path)
    with reading(path, 'a body model in a glTF file'):
        back = np.linalg.inv(np.eye(4) if extras.get('world') is None else np.asarray(extras['world'], float))
        vertices = rig.vertices @ back[:3, :3].T + back[:3, 3]
        moved = {name: morph @ back[:3, :3].T for name, morph in rig.morphs.items()}
        return check_body_model(_body(path, document, rig, vertices, moved), str(path))


def _extras(path: Path) -> dict[str, object]:
    with reading(path, 'a glTF file'):
        asset = open_gltf(path).document.get('asset')
    extras = asset.get('extras') if isinstance(asset, dict) else None
    return extras if isinstance(extras, dict) else {}


def _body(
    path: Path, document: dict[str, object], rig: Rig, vertices: np.ndarray, moved: dict[str, np.ndarray]
) -> BodyModelData:
    """Put the document and what the skin says together again."""
    document = dict(document, vertices=vertices.tolist(), faces=rig.faces.tolist(), skin_weights={})
    shape = document.get('shape')
    listed = shape.get('directions') if isinstance(shape, dict) else None
    shapedirs = _directions(
        path, 'beta', moved, len(vertices), len(listed) if isinstance(listed, list) else 0
    )
    if isinstance(shape, dict) and isinstance(listed, list) and shapedirs is not None:
        directions = zip(listed, shapedirs.transpose(2, 0, 1))
        document['shape'] = dict(shape, directions=[dict(d, vertices=v.tolist()) for d, v in directions])
    data = body_of_document(document, JsonValues(path, 'Write the file anew by `smilfit model convert`.'))
    column = {name: j for j, name in enumerate(data.joint_names)}
    joint = np.array([column.get(name, -1) for name in rig.joint_names])[rig.weights.cols]
    kept = joint >= 0
    weights = SparseMatrix(
        rig.weights.rows[kept], joint[kept], rig.weights.values[kept], (len(vertices), data.n_joints)
    )
    expressions = _directions(path, 'expression', moved, len(vertices))
    return replace(data, weights=weights, shapedirs=shapedirs, expressiondirs=expressions)


def _directions(
    path: Path, kind: str, moved: dict[str, np.ndarray], n_vertices: int, least: int = 0
) -> np.ndarray | None:
    """Return the directions (V, 3, S), `least` or more; one that moves no vertex is no morph target of the file."""
    numbers = [int(n) for name in moved if (n := name.removeprefix(f'{kind}_')) != name and n.isdecimal()]
    count = max([least, *(number + 1 for number in numbers)])
    check_budget(path, f'the directions called {kind}', count, _MOST_DIRECTIONS, 'directions')
    still = np.zeros((n_vertices, 3))
    result = [moved.get(f'{kind}_{i}', still) for i in range(count)]
    return np.stack(result, -1) if result else None
