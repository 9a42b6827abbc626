"""Rules that every body model must keep, whatever file it came from."""

from collections import Counter

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.pickles import shown, shown_names
from smilfit.geometry.kinematic_chain import JOINT_SCALE_MODES
from smilfit.registry import did_you_mean

WEIGHT_SUM_TOLERANCE = 1e-4
AXES = ('+x', '-x', '+y', '-y', '+z', '-z')


def check_body_model(data: BodyModelData, where: str) -> BodyModelData:
    """Check shapes, ranges and names.

    Raises:
        ValueError: the first rule that is broken, with the place, the rule, the value and what to do.
    """
    _check_shapes(data, where)
    _check_tree(data, where)
    _check_matrices(data, where)
    _check_names(data, where)
    _check_pose_spaces(data, where)
    _check_indices(data, where)
    if data.joint_scale_mode not in JOINT_SCALE_MODES:
        _fail(
            where,
            f'joint_scale_mode must be one of {JOINT_SCALE_MODES}',
            data.joint_scale_mode,
            'Choose one.',
        )
    for name in ('up_axis', 'forward_axis'):
        if getattr(data, name) not in (None, *AXES):
            _fail(where, f'{name} must be one of {AXES}', getattr(data, name), 'Name a signed axis.')
    if data.joint_limits is not None and (data.joint_limits[..., 0] > data.joint_limits[..., 1]).any():
        joint = data.joint_names[int((data.joint_limits[..., 0] > data.joint_limits[..., 1]).any(1).argmax())]
        _fail(where, 'joint_limits must have least <= greatest', joint, 'Swap the two numbers.')
    return data


def _fail(where: str, rule: str, got: object, advice: str) -> None:
    raise ValueError(f'{where}: {rule}; got {got}. {advice}')


def _check_shapes(data: BodyModelData, where: str) -> None:
    for name in ('shapedirs', 'expressiondirs'):
        directions = getattr(data, name)
        if directions is not None and directions.ndim != 3:
            _fail(where, f'{name} must have 3 dimensions', directions.shape, 'Is it the file of one model?')
    n_vertices, n_joints, n_betas = data.n_vertices, data.n_joints, data.n_betas
    if not n_vertices or not n_joints:
        _fail(
            where,
            'a body must have vertices and joints',
            f'{n_vertices} and {n_joints}',
            'Is it a model file?',
        )
    shapes = {
        'v_template': (n_vertices, 3),
        'faces': (len(data.faces), 3),
        'parents': (n_joints,),
        'joints': (n_joints, 3),
        'shapedirs': (n_vertices, 3, n_betas),
        'shape_mean': (n_betas,),
        'shape_cov': (n_betas, n_betas),
        'expressiondirs': (n_vertices, 3, data.n_expression),
        'scaledirs': (n_betas, n_joints, 3),
        'transdirs': (n_betas, n_joints, 3),
        'posedirs': (9 * (n_joints - 1), 3 * n_vertices),
        'joint_limits': (n_joints, 3, 2),
        'pose_prior_mean': (3 * (n_joints - 1),),
        'pose_prior_precision': (3 * (n_joints - 1), 3 * (n_joints - 1)),
    }
    for name, shape in shapes.items():
        value = getattr(data, name)
        if value is None:
            continue
        if value.shape != shape:
            _fail(where, f'{name} must have shape {shape}', value.shape, 'Is it the file of one model?')
        if not np.isfinite(value).all():
            _fail(
                where,
                f'{name} must be finite',
                f'{int((~np.isfinite(value)).sum())} NaN or inf',
                'Mend the file.',
            )


def _check_indices(data: BodyModelData, where: str) -> None:
    last = data.n_vertices - 1
    for name, rule, indices in (
        ('faces', 'index vertices', data.faces),
        ('symmetry_plane_vertices', 'be', data.symmetry_plane_vertices),
    ):
        if indices is not None and indices.size and (indices.min() < 0 or indices.max() > last):
            span = f'{indices.min()} to {indices.max()}'
            _fail(where, f'{name} must {rule} 0 to {last}', span, 'Were vertices deleted?')


def _check_tree(data: BodyModelData, where: str) -> None:
    parents = data.parents
    if parents[0] >= 0 or (parents[1:] < 0).any() or (parents >= np.arange(data.n_joints)).any():
        _fail(
            where,
            'parents must name one root, first, and an earlier joint for every other',
            shown(parents.tolist()),
            'Sort the joints from the root outwards.',
        )


def _check_matrices(data: BodyModelData, where: str) -> None:
    for name, shape in (('weights', (data.n_vertices, data.n_joints)),) + (
        (('joint_regressor', (data.n_joints, data.n_vertices)),) if data.joint_regressor is not None else ()
    ):
        matrix = getattr(data, name)
        if tuple(matrix.shape) != shape:
            _fail(
                where, f'{name} must have shape {shape}', tuple(matrix.shape), 'Is it the file of one model?'
            )
        if not np.isfinite(matrix.values).all():
            _fail(where, f'{name} must be finite', 'NaN or inf', 'Mend the file.')
        if len(matrix.rows) and not (
            matrix.rows.min() >= 0 and matrix.rows.max() < shape[0]
            and matrix.cols.min() >= 0 and matrix.cols.max() < shape[1]
        ):  # fmt: skip
            _fail(where, f'{name} must index inside {shape}', 'an index outside', 'Mend the file.')
    sums = np.bincount(data.weights.rows, data.weights.values, data.n_vertices)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > WEIGHT_SUM_TOLERANCE:
        _fail(
            where,
            f'the skinning weights of a vertex must sum to 1 within {WEIGHT_SUM_TOLERANCE}',
            f'{sums[worst]:.6g} at vertex {worst}',
            'Normalise the weights in the authoring tool.',
        )


def _check_pose_spaces(data: BodyModelData, where: str) -> None:
    for space_name, space in data.pose_spaces.items():
        size = 3 * len(space.joints)
        for name, array, shape in (
            ('mean', space.mean, (size,)),
            ('components', space.components, (len(space.components), size)),
        ):
            place = f'pose_spaces.{space_name}.{name}'
            if array.shape != shape:
                _fail(where, f'{place} must have shape {shape}', array.shape, 'Are its joints all named?')
            if not np.isfinite(array).all():
                _fail(where, f'{place} must be finite', 'NaN or inf', 'Mend the file.')


def _check_names(data: BodyModelData, where: str) -> None:
    names = data.joint_names
    known = set(names)
    if len(known) != len(names):
        twice = shown_names(name for name, count in Counter(names).items() if count > 1)
        _fail(where, 'joint names must differ', twice, 'Rename one of them.')
    mentioned = [('joint_symmetry', n) for pair in data.joint_symmetry for n in pair]
    mentioned += [(f'joint_groups.{g}', n) for g, members in data.joint_groups.items() for n in members]
    mentioned += [
        (f'pose_spaces.{s}.joints', n) for s, space in data.pose_spaces.items() for n in space.joints
    ]
    keypoints = {keypoint for definitions in data.keypoint_sets.values() for keypoint in definitions}
    for group, members in data.keypoint_groups.items():
        for name in members:
            if name not in keypoints:
                raise ValueError(
                    f'{where}: keypoint_groups.{group} names a keypoint {name!r} that is in no keypoint set. '
                    f'{did_you_mean(name, keypoints)}'
                )
    for set_name, definitions in data.keypoint_sets.items():
        for keypoint, definition in definitions.items():
            place = f'keypoint_sets.{set_name}.{keypoint}'
            if isinstance(definition, str):
                mentioned.append((place, definition))
                if keypoint in names and definition != keypoint:
                    _fail(
                        where, f"{place} has a joint's name and must be that joint", definition, 'Rename it.'
                    )
            else:
                if keypoint in names:
                    _fail(
                        where, f"{place} has a joint's name and must be that joint", 'vertices', 'Rename it.'
                    )
                if not definition or not all(0 <= v < data.n_vertices for v in definition):
                    _fail(
                        where,
                        f'{place} must name vertices 0 to {data.n_vertices - 1}',
                        definition,
                        'Mend it.',
                    )
                if abs(sum(definition.values()) - 1) > WEIGHT_SUM_TOLERANCE:
                    total = sum(definition.values())
                    _fail(where, f'{place} must have weights that sum to 1', total, 'Normalise them.')
    for place, name in mentioned:
        if name not in known:
            raise ValueError(
                f'{where}: {place} names a joint {name!r} that is not there. {did_you_mean(name, names)}'
            )
