"""From a plan of proportions to a body model: mesh, weights, shape directions, limits, keypoints."""

from collections.abc import Callable, Mapping

import numpy as np

from smilfit.body_models import BodyModelData, SparseMatrix, check_body_model
from smilfit.synthetic.trunk_mesh import (
    AnimalPlan,
    RawMesh,
    assemble,
    keep_largest,
    smooth_over_surface,
    split_quads,
)

WEIGHT_SMOOTHING_ROUNDS = 2
# One standard deviation of every proportion, as a share of its mean.
PROPORTION_SD = 0.08
LICENCE = 'CC0-1.0'


def finish_animal(
    name: str,
    plan: Callable[..., AnimalPlan],
    proportions: Mapping[str, tuple[float, float]],
    limits_deg: dict[str, tuple],
    groups: dict[str, list[str]],
    keypoints: dict[str, str],
    length: float,
    mass: str,
    unit: str | None,
) -> BodyModelData:
    """Turn a plan into a body model; shape directions are central differences of the proportions.

    Args:
        plan: lays out the animal of given proportions.
        proportions: for each shape coefficient, the plan's argument: its value where the coefficient is 0, and what a
            coefficient of 1 adds.
        limits_deg: least and greatest degrees about x, y, z, by a joint's name or by what comes before its first
            underscore; of left limbs, from which those of the right ones follow.
        keypoints: where each is: `@joint`, or a landmark of the mesh.
        length: model units per unit of the plan.
        mass: the joint that becomes the origin.
    """
    mean = {p: value for p, (value, _) in proportions.items()}
    mean_plan = plan(**mean)
    mesh = assemble(mean_plan)
    raw = np.array(mesh.vertices)
    used, faces = _faces(mesh, raw)
    place = np.full(len(raw), -1)
    place[used] = np.arange(len(used))
    joint_names = tuple(joint for joint, _ in mean_plan.tree)
    index = {joint: j for j, joint in enumerate(joint_names)}

    vertices = length * raw[used]
    directions = [
        (_vertices(plan(**mean | {p: value + step})) - _vertices(plan(**mean | {p: value - step}))) / 2
        for p, (value, step) in proportions.items()
    ]
    shapedirs = length * np.stack(directions, -1)[used]
    regressor = _regressor(mesh, place, joint_names)
    joints = regressor @ vertices
    origin = joints[index[mass]].copy()
    data = BodyModelData(
        name=name,
        v_template=vertices - origin,
        faces=faces,
        joint_names=joint_names,
        parents=np.array([-1 if parent is None else index[parent] for _, parent in mean_plan.tree]),
        weights=SparseMatrix.from_dense(_weights(mesh, used, place, index)),
        joints=joints - origin,
        joint_regressor=regressor,
        shapedirs=shapedirs,
        shape_mean=np.zeros(len(proportions)),
        shape_cov=np.eye(len(proportions)),
        joint_limits=_limits(joint_names, limits_deg),
        joint_symmetry=tuple((n, _other_side(n)) for n in joint_names if _other_side(n) > n),
        symmetry_plane_vertices=np.flatnonzero(np.abs(vertices[:, 1]) < 1e-9 * length),
        joint_groups={group: tuple(members) for group, members in groups.items()},
        keypoint_sets={'sleap': _keypoints(mesh, place, keypoints)},
        unit=unit,
        up_axis='+z',
        forward_axis='+x',
        licence=LICENCE,
        version='1',
    )
    return check_body_model(data, name)


def _vertices(plan: AnimalPlan) -> np.ndarray:
    return np.array(assemble(plan).vertices)


def _faces(mesh: RawMesh, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the quads, drop vertices under the limbs' roots; give the kept vertices and the faces."""
    faces = np.concatenate((split_quads(np.array(mesh.quads), vertices), np.array(mesh.triangles)))
    used, flat = np.unique(faces, return_inverse=True)
    return used, flat.reshape(-1, 3)


def _weights(mesh: RawMesh, used: np.ndarray, place: np.ndarray, index: dict[str, int]) -> np.ndarray:
    dense = np.zeros((len(mesh.vertices), len(index)))
    for v, weights in enumerate(mesh.weights):
        for joint, weight in weights.items():
            dense[v, index[joint]] = weight
    # Along the sides of the quads, not their diagonals: those are no mirror images.
    quads, triangles = np.array(mesh.quads), np.array(mesh.triangles)
    loops = [polygon[:, [i, (i + 1) % n]] for polygon, n in ((quads, 4), (triangles, 3)) for i in range(n)]
    edges = place[np.concatenate(loops)]
    return keep_largest(smooth_over_surface(dense[used], edges, WEIGHT_SMOOTHING_ROUNDS))


def _regressor(mesh: RawMesh, place: np.ndarray, joint_names: tuple[str, ...]) -> SparseMatrix:
    dense = np.zeros((len(joint_names), place.max() + 1))
    for j, joint in enumerate(joint_names):
        for vertex, weight in mesh.regressor[joint].items():
            if place[vertex] < 0:
                raise ValueError(
                    f'animal: joint {joint!r} must not rest on a vertex under a limb; move the limb.'
                )
            dense[j, place[vertex]] = weight
    return SparseMatrix.from_dense(dense)


def _limits(joint_names: tuple[str, ...], limits_deg: dict[str, tuple]) -> np.ndarray:
    """Look limits up by the joint's name, else by what comes before its first underscore; mirror right ones."""
    rows = []
    for joint in joint_names:
        (x, y, z) = limits_deg.get(joint) or limits_deg[joint.split('_')[0]]
        if '_R' in joint:
            # Mirroring in y = 0 turns rotations about x and z around.
            x, z = (-x[1], -x[0]), (-z[1], -z[0])
        rows.append((x, y, z))
    return np.deg2rad(np.array(rows, dtype=np.float64))


def _other_side(name: str) -> str:
    return name.replace('_L', '_R') if '_L' in name else name


def _keypoints(mesh: RawMesh, place: np.ndarray, names: dict[str, str]) -> dict[str, str | dict[int, float]]:
    """Resolve keypoints: '@joint', or a landmark of the mesh."""
    result: dict[str, str | dict[int, float]] = {}
    for keypoint, source in names.items():
        if source.startswith('@'):
            result[keypoint] = source[1:]
        else:
            result[keypoint] = {int(place[v]): weight for v, weight in mesh.landmarks[source].items()}
    return result
