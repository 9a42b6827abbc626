"""Rules that every body model must keep, whatever file it came from."""

from collections import Counter

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.files import shorten
from smilfit.geometry.posing import JOINT_SCALE_MODES
from smilfit.options.fields import AXES
from smilfit.registry import did_you_mean

WEIGHT_SUM_TOLERANCE = 1e-4
# No length, coefficient or index of a model is larger, in any unit; covariances and precisions are squares of such.
LARGEST = 1e9
COVARIANCES = ('shape_cov', 'pose_prior_precision')
# Of the largest entry; files hold float32 and sums in other orders.
SYMMETRY_TOLERANCE = 1e-3
# Of axes that a person may have written down with few digits.
AXES_TOLERANCE = 1e-3
# Skinning weights are written out once: 1 GiB of float64.
MOST_WEIGHTS = 1 << 27


def check_body_model(data: BodyModelData, where: str) -> BodyModelData:
    """Check shapes, ranges and names.

    Raises:
        ValueError: the first rule that is broken, with the place, the rule, the value and what to do.
    """
    n_vertices, n_joints, n_betas = data.n_vertices, data.n_joints, data.n_betas
    if not n_vertices or not n_joints:
        _fail(
            where,
            'a body must have vertices and joints',
            f'{n_vertices} and {n_joints}',
            'Is it a model file?',
        )
    if n_vertices * n_joints > MOST_WEIGHTS:
        got = f'{n_vertices} vertices and {n_joints} joints'
        _fail(where, f'vertices times joints must be at most {MOST_WEIGHTS}', got, 'Is it a model file?')
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
        'joint_axes': (n_joints, 3, 3),
        'pose_prior_mean': (3 * (n_joints - 1),),
        'pose_prior_precision': (3 * (n_joints - 1), 3 * (n_joints - 1)),
    }
    for name, shape in shapes.items():
        value = getattr(data, name)
        if value is None:
            continue
        if value.shape != shape:
            _fail(where, f'{name} must have shape {shape}', value.shape, 'Is it the file of one model?')
        _check_numbers(value, name, where)
    for name in COVARIANCES:
        _check_symmetric(getattr(data, name), name, where)
    if data.shape_mixture is not None and data.shape_mixture.n_betas != n_betas:
        _fail(
            where,
            f'shape_mixture must be over {n_betas} coefficients',
            data.shape_mixture.n_betas,
            'Cut it with the shape space.',
        )
    _check_tree(data, where)
    _check_matrices(data, where)
    _check_names(data, where)
    _check_pose_spaces(data, where)
    _check_indices(data.faces, 'faces', n_vertices, where)
    if data.symmetry_plane_vertices is not None:
        _check_indices(data.symmetry_plane_vertices, 'symmetry_plane_vertices', n_vertices, where)
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
    if data.joint_limits_from and (data.joint_limits is None or len(data.joint_limits_from) != n_joints):
        got = f'{len(data.joint_limits_from)} for {n_joints} joints'
        _fail(where, 'joint_limits_from must say of each limit where it is from', got, 'Leave it empty.')
    _check_axes(data, where)
    return data


def _fail(where: str, rule: str, got: object, advice: str) -> None:
    raise ValueError(f'{where}: {shorten(rule, 400)}; got {shorten(str(got))}. {advice}')


def _check_numbers(value: np.ndarray, name: str, where: str) -> None:
    """Check that numbers are numbers, finite, and of a size that a model's can have."""
    if value.dtype.kind not in 'iuf':
        _fail(where, f'{name} must be numbers', value.dtype, 'Save it as numbers.')
    if not np.isfinite(value).all():
        _fail(
            where,
            f'{name} must be finite',
            f'{int((~np.isfinite(value)).sum())} NaN or inf',
            'Mend the file.',
        )
    most = LARGEST**2 if name in COVARIANCES else LARGEST
    largest = max(float(value.max()), -float(value.min())) if value.size else 0.0
    if largest > most:
        _fail(where, f'{name} must be at most {most:.0e}', f'{largest:.3g}', 'Mend the file.')


def _check_symmetric(value: np.ndarray | None, name: str, where: str) -> None:
    if value is not None and value.size:
        off = np.abs(value - value.T).max()
        if off > SYMMETRY_TOLERANCE * np.abs(value).max():
            _fail(where, f'{name} must be symmetric', f'a difference of {off:.3g}', 'Mend the file.')


def _check_indices(value: np.ndarray, name: str, n_vertices: int, where: str) -> None:
    if value.dtype.kind not in 'iu':
        _fail(where, f'{name} must be whole numbers', value.dtype, 'Save them as integers.')
    if value.size and (value.min() < 0 or value.max() >= n_vertices):
        span = f'{value.min()} to {value.max()}'
        _fail(where, f'{name} must index vertices 0 to {n_vertices - 1}', span, 'Were vertices deleted?')


def _check_tree(data: BodyModelData, where: str) -> None:
    parents = data.parents
    if parents[0] >= 0 or (parents[1:] < 0).any() or (parents >= np.arange(data.n_joints)).any():
        _fail(
            where,
            'parents must name one root, first, and an earlier joint for every other',
            shorten(str(parents[:20].tolist())),
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
        _check_numbers(matrix.values, name, where)
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


def _check_axes(data: BodyModelData, where: str) -> None:
    if data.joint_axes is None:
        return
    off = np.abs(data.joint_axes.transpose(0, 2, 1) @ data.joint_axes - np.eye(3)).max((1, 2))
    wrong = (off > AXES_TOLERANCE) | (np.linalg.det(data.joint_axes) < 0)
    if wrong.any():
        j = int(wrong.argmax())
        _fail(
            where,
            'joint_axes must be at right angles, right-handed and of length 1',
            f'{off[j]:.3g} off at {shorten(data.joint_names[j])}',
            'Turn one axis round, or leave them out.',
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
            _check_numbers(array, place, where)


def _check_names(data: BodyModelData, where: str) -> None:
    names, known = data.joint_names, set(data.joint_names)
    if len(known) != len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        _fail(where, 'joint names must differ', twice[:3], 'Rename one of them.')
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
                    f'{where}: keypoint_groups.{group} names a keypoint {shorten(name)!r} that is in no keypoint '
                    f'set. {did_you_mean(name, keypoints)}'
                )
    for set_name, definitions in data.keypoint_sets.items():
        for keypoint, definition in definitions.items():
            place = f'keypoint_sets.{set_name}.{keypoint}'
            if isinstance(definition, str):
                mentioned.append((place, definition))
                if keypoint in known and definition != keypoint:
                    _fail(
                        where, f"{place} has a joint's name and must be that joint", definition, 'Rename it.'
                    )
            else:
                if keypoint in known:
                    _fail(
                        where, f"{place} has a joint's name and must be that joint", 'vertices', 'Rename it.'
                    )
                _check_mix(definition, place, data.n_vertices, where)
    mentioned += _check_landmarks(data, where) + _check_part_sizes(data, where)
    for place, name in mentioned:
        if name not in known:
            raise ValueError(
                f'{where}: {place} names a joint {shorten(name)!r} that is not there. {did_you_mean(name, names)}'
            )


def _check_mix(definition: dict[int, float], place: str, n_vertices: int, where: str) -> None:
    """Check a weighted few vertices."""
    if not definition or not all(0 <= v < n_vertices for v in definition):
        _fail(
            where,
            f'{place} must name vertices 0 to {n_vertices - 1}',
            f'{len(definition)} vertices',
            'Mend it.',
        )
    total = sum(definition.values())
    # NaN fails every comparison.
    if not abs(total - 1) <= WEIGHT_SUM_TOLERANCE:
        _fail(where, f'{place} must have weights that sum to 1', total, 'Normalise them.')


def _check_landmarks(data: BodyModelData, where: str) -> list[tuple[str, str]]:
    """Check numbers and names of landmarks; give the joints that they name, and where."""
    mentioned = []
    for name, mark in data.landmarks.items():
        place = f'landmarks.{name}'
        if name in data.joint_names and (mark.anchor, mark.bone) != (name, name):
            rule = f'{place} must have a name that no other joint has'
            _fail(where, rule, f'anchor {mark.anchor}, bone {mark.bone}', 'Rename it.')
        _check_numbers(np.asarray(mark.offset), f'{place}.offset', where)
        if len(mark.offset) != 3:
            _fail(where, f'{place}.offset must be 3 numbers', mark.offset, 'Give x, y and z, model unit.')
        if not 0 <= mark.sd <= LARGEST:
            _fail(
                where,
                f'{place}.sd must be a length, 0 or more',
                mark.sd,
                'Give 0 where the offset is known.',
            )
        mentioned.append((f'{place}.bone', mark.bone))
        if isinstance(mark.anchor, str):
            mentioned.append((f'{place}.anchor', mark.anchor))
        else:
            _check_mix(mark.anchor, f'{place}.anchor', data.n_vertices, where)
    return mentioned


def _check_part_sizes(data: BodyModelData, where: str) -> list[tuple[str, str]]:
    """Check that parts share no joint; give the joints that they name, and where."""
    owner: dict[str, str] = {}
    mentioned = []
    for name, part in data.part_sizes.items():
        place = f'part_sizes.{name}'
        if not (0 < part.sd <= LARGEST and 0 < part.limit < 1):
            _fail(
                where,
                f'{place} must have a positive sd and a limit between 0 and 1',
                f'{part.sd} and {part.limit}',
                'Both are shares of the size.',
            )
        if not part.joints:
            _fail(where, f'{place} must name a joint', 'none', 'Name some, or leave the part out.')
        for joint in part.joints:
            if owner.setdefault(joint, name) != name:
                _fail(
                    where,
                    f'{place} must not name a joint of another part',
                    f'{joint}, of {owner[joint]}',
                    'Leave it out of one of them.',
                )
            mentioned.append((f'{place}.joints', joint))
    return mentioned
