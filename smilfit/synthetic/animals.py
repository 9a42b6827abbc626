"""Procedural rigged animals: closed meshes with weights, a shape space, limits and keypoints, all known exactly."""

from collections.abc import Callable

import numpy as np

from smilfit.body_models import BodyModelData, SparseMatrix, check_body_model
from smilfit.synthetic import insect_plan as insect
from smilfit.synthetic import quadruped_plan as quadruped
from smilfit.synthetic.assembly import AnimalPlan, RawMesh, assemble
from smilfit.synthetic.rigging import keep_largest, smooth_over_surface, split_quads

# One standard deviation of every proportion, as a share of its mean.
PROPORTION_SD = 0.08
WEIGHT_SMOOTHING_ROUNDS = 2
LICENCE = 'CC0-1.0'


def make_insect(name: str = 'insect', length: float = 1.0) -> BodyModelData:
    """Make a rigged ant-like insect.

    Betas (standard deviations of 8 %): girth, leg length, head size, abdomen size, antenna length.

    Args:
        name: of the model.
        length: mandibles to abdomen's tip, model unit.
    """
    proportions = ('girth', 'leg_length', 'head_size', 'abdomen_size', 'antenna_length')
    legs = {f'legs_{s}': [f'{part}_{s}{i}' for i in (1, 2, 3) for part in _LEG_PARTS] for s in 'LR'}
    groups = {
        'torso': ['thorax'],
        'head': ['head'],
        'abdomen': ['abdomen_1', 'abdomen_2', 'abdomen_3'],
        'antennae': ['scape_L', 'flagellum_L', 'scape_R', 'flagellum_R'],
        'legs': legs['legs_L'] + legs['legs_R'],
    } | legs
    keypoints = {
        'mandibles': 'front',
        'neck': '@head',
        'thorax_centre': '@thorax',
        'petiole': '@abdomen_1',
        'abdomen_tip': 'back',
    }
    for side in 'LR':
        keypoints[f'antenna_tip_{side}'] = f'antenna_{side} tip'
        keypoints[f'antenna_elbow_{side}'] = f'@flagellum_{side}'
        for i in (1, 2, 3):
            keypoints[f'leg_{side}{i}_knee'] = f'@tibia_{side}{i}'
            keypoints[f'leg_{side}{i}_tip'] = f'leg_{side}{i} tip'
    return _finish(
        name,
        insect.insect_plan,
        proportions,
        insect.JOINT_LIMITS_DEG,
        groups,
        keypoints,
        length,
        mass='thorax',
    )


def make_quadruped(name: str = 'quadruped', length: float = 1.0) -> BodyModelData:
    """Make a rigged mouse-like quadruped.

    Betas (standard deviations of 8 %): body length, girth, leg length, head size, tail length, ear size.

    Args:
        name: of the model.
        length: nose to tail's base, model unit.
    """
    proportions = ('body_length', 'girth', 'leg_length', 'head_size', 'tail_length', 'ear_size')
    fore = {s: [f'{part}_{s}' for part in ('shoulder', 'elbow', 'wrist')] for s in 'LR'}
    hind = {s: [f'{part}_{s}' for part in ('hip', 'knee', 'ankle')] for s in 'LR'}
    groups = {
        'torso': ['pelvis', 'spine_1', 'spine_2'],
        'spine': ['spine_1', 'spine_2'],
        'head': ['neck', 'head', 'ear_L', 'ear_R'],
        'tail': ['tail_1', 'tail_2', 'tail_3', 'tail_4'],
        'legs': fore['L'] + fore['R'] + hind['L'] + hind['R'],
    }
    keypoints = {
        'nose': 'front',
        'back_of_head': '@head',
        'neck_base': '@neck',
        'mid_back': '@spine_1',
        'tail_base': '@tail_1',
        'tail_mid': '@tail_3',
        'tail_tip': 'back',
    }
    for side in 'LR':
        keypoints[f'ear_tip_{side}'] = f'ear_tip_{side} tip'
        keypoints[f'fore_elbow_{side}'] = f'@elbow_{side}'
        keypoints[f'fore_paw_{side}'] = f'fore_paw_{side} tip'
        keypoints[f'hind_knee_{side}'] = f'@knee_{side}'
        keypoints[f'hind_ankle_{side}'] = f'@ankle_{side}'
        keypoints[f'hind_paw_{side}'] = f'hind_paw_{side} tip'
    return _finish(
        name,
        quadruped.quadruped_plan,
        proportions,
        quadruped.JOINT_LIMITS_DEG,
        groups,
        keypoints,
        length,
        mass='pelvis',
    )


_LEG_PARTS = ('coxa', 'femur', 'tibia', 'tarsus')


def _finish(
    name: str,
    plan: Callable[..., AnimalPlan],
    proportions: tuple[str, ...],
    limits_deg: dict[str, tuple],
    groups: dict[str, list[str]],
    keypoints: dict[str, str],
    length: float,
    mass: str,
) -> BodyModelData:
    """Turn a plan into a body model; shape directions are central differences of the proportions."""
    mean_plan = plan()
    mesh = assemble(mean_plan)
    raw = np.array(mesh.vertices)
    used, faces = _faces(mesh, raw)
    place = np.full(len(raw), -1)
    place[used] = np.arange(len(used))
    joint_names = tuple(joint for joint, _ in mean_plan.tree)
    index = {joint: j for j, joint in enumerate(joint_names)}

    vertices = length * raw[used]
    directions = [
        (_vertices(plan(**{p: 1 + PROPORTION_SD})) - _vertices(plan(**{p: 1 - PROPORTION_SD}))) / 2
        for p in proportions
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
        unit='body length' if length == 1.0 else None,
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
