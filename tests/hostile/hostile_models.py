"""Hostile body model files, JSON and npz: a small valid one with one thing broken in each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.hostile_archives import CUTS, JOINTS, N_VERTICES, npz_bytes, npz_changes, small_arrays

DEEP = 100_000
Document = dict[str, Any]


def hostile_models(folder: Path) -> dict[str, Path]:
    """Write them all, and `whole.smil.json` and `whole.npz`, which are none.

    What begins with `flip` may be read as the whole one is.

    Returns:
        Name of the case -> file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = {}
    (folder / 'whole.smil.json').write_text(json.dumps(small_document()))
    for name, change in json_changes().items():
        result[name] = folder / f'{name}.smil.json'
        document = small_document()
        change(document)
        result[name].write_text(json.dumps(document))
    for name, data in json_texts().items():
        result[name] = folder / f'{name}.smil.json'
        result[name].write_bytes(data)
    np.savez(folder / 'whole.npz', **small_arrays())
    for name, arrays in npz_changes().items():
        result[name] = folder / f'{name}.npz'
        np.savez(result[name], **{k: v for k, v in (small_arrays() | arrays).items() if v is not None})
    for name, data in npz_bytes((folder / 'whole.npz').read_bytes()).items():
        result[name] = folder / f'{name}.npz'
        result[name].write_bytes(data)
    return result


def small_document() -> Document:
    """Make a body of three joints and six vertices, as JSON."""
    rng = np.random.default_rng(0)
    points = lambda n: rng.normal(size=(n, 3)).round(3).tolist()  # noqa: E731
    pairs = [{'vertices': [2 * j, 2 * j + 1], 'weights': [1.0, 1.0]} for j in range(3)]
    return {
        'format': 'smil',
        'format_version': 1,
        'name': 'small',
        'unit': 'mm',
        'up_axis': '+z',
        'joints': [
            {'name': n, 'parent': p, 'position': x, 'limits_rad': [[-1, 1]] * 3}
            for n, p, x in zip(JOINTS, (None, 'root', 'neck'), points(3))
        ],
        'joint_groups': {'spine': ['root', 'neck']},
        'symmetry': {'joint_pairs': [['neck', 'head']], 'plane_vertices': [0, 1]},
        'keypoint_sets': {'clicks': {'nose': {'vertices': [1, 2], 'weights': [0.5, 0.5]}, 'hip': 'root'}},
        'shape': {
            'mean': [0.0, 0.0],
            'covariance': [[1.0, 0.1], [0.1, 1.0]],
            'directions': [
                {'vertices': points(N_VERTICES), 'joint_scales': {'neck': [1, 1, 1]}, 'joint_offsets': {}}
                for _ in range(2)
            ],
        },
        'pose_prior': {'mean': [0.0] * 6, 'precision': np.eye(6).tolist()},
        'pose_spaces': {'bend': {'joints': ['neck'], 'mean': [0, 0, 0], 'components': [[1, 0, 0]]}},
        'vertices': points(N_VERTICES),
        'faces': [[0, 1, 2], [3, 4, 5]],
        'skin_weights': dict(zip(JOINTS, pairs)),
        'joint_regressor': {n: {'vertices': [0], 'weights': [1.0]} for n in JOINTS},
    }


def json_changes() -> dict[str, Callable[[Document], None]]:
    """Values of another kind, size or meaning."""
    values: dict[str, tuple[str, Any]] = {
        'face_huge': ('faces/0/0', 1e30), 'face_huge_integer': ('faces/0/0', 10**30), 'face_half': ('faces/0/0', 0.5),
        'face_negative': ('faces/0/0', -1), 'face_far': ('faces/0/0', N_VERTICES), 'face_true': ('faces/0/0', True),
        'face_text': ('faces/0/0', '1'), 'face_null': ('faces/0/0', None), 'face_of_two': ('faces/0', [0, 1]),
        'faces_number': ('faces', 3), 'faces_object': ('faces', {'0': 1}), 'faces_deep': ('faces', [[[[0, 1, 2]]]]),
        'vertex_text': ('vertices/0/0', '1.5'), 'vertex_true': ('vertices/0/0', True),
        'vertex_huge': ('vertices/0/0', 1e30),
        'vertex_of_two': ('vertices/0', [1, 2]), 'vertices_object': ('vertices', {}),
        'vertices_none': ('vertices', []),
        'vertex_list': ('vertices/0/0', [1]), 'integer_of_400_digits': ('vertices/0/0', 10**400),
        'format_list': ('format', ['smil']), 'format_missing': ('format', None),
        'version_text': ('format_version', '1'),
        'version_99': ('format_version', 99), 'version_true': ('format_version', True), 'name_list': ('name', ['x']),
        'unit_number': ('unit', 5), 'axis_text': ('up_axis', 'z'), 'scale_mode': ('joint_scale_mode', 'other'),
        'joints_object': ('joints', {'root': 1}), 'joints_none': ('joints', []), 'joint_list': ('joints/0', ['root']),
        'joint_name_number': ('joints/0/name', 5), 'joint_name_twice': ('joints/1/name', 'root'),
        'joint_name_long': ('joints/0/name', 'x' * 10**6), 'joint_name_missing': ('joints/0', {'parent': None}),
        'parent_unknown': ('joints/1/parent', 'tail'), 'parent_later': ('joints/1/parent', 'head'),
        'parent_itself': ('joints/1/parent', 'neck'), 'parent_two_roots': ('joints/1/parent', None),
        'parent_cycle': ('joints/0/parent', 'head'), 'parent_number': ('joints/1/parent', 0),
        'position_of_two': ('joints/0/position', [1, 2]), 'position_text': ('joints/0/position', 'abc'),
        'limits_swapped': ('joints/0/limits_rad', [[1, -1]] * 3),
        'limits_shape': ('joints/0/limits_rad', [[1, 2, 3]]),
        'limits_null': ('joints/0/limits_rad', None), 'groups_list': ('joint_groups', ['root']),
        'group_text': ('joint_groups/spine', 'root'), 'group_unknown': ('joint_groups/spine', ['tail']),
        'group_number': ('joint_groups/spine', [1]), 'pairs_of_three': ('symmetry/joint_pairs', [['a', 'b', 'c']]),
        'plane_half': ('symmetry/plane_vertices', [0.5]), 'plane_far': ('symmetry/plane_vertices', [99]),
        'plane_negative': ('symmetry/plane_vertices', [-1]), 'symmetry_list': ('symmetry', []),
        'sets_list': ('keypoint_sets', []), 'set_list': ('keypoint_sets/clicks', ['nose']),
        'keypoint_number': ('keypoint_sets/clicks/nose', 3),
        'keypoint_far': ('keypoint_sets/clicks/nose/vertices', [1, 99]),
        'keypoint_half': ('keypoint_sets/clicks/nose/vertices', [1, 1.5]),
        'keypoint_twice': ('keypoint_sets/clicks/nose/vertices', [1, 1]),
        'keypoint_sum': ('keypoint_sets/clicks/nose/weights', [1, 1]),
        'keypoint_more': ('keypoint_sets/clicks/nose/weights', [1.0]), 'shape_list': ('shape', []),
        'covariance_skew': ('shape/covariance', [[1, 5], [0, 1]]), 'covariance_shape': ('shape/covariance', [[1.0]]),
        'direction_short': ('shape/directions/0/vertices', [[0, 0, 0]]),
        'directions_object': ('shape/directions', {}),
        'direction_joint': ('shape/directions/0/joint_scales', {'tail': [1, 1, 1]}),
        'prior_shape': ('pose_prior/mean', [0.0]), 'prior_skew': ('pose_prior/precision/0/1', 3.0),
        'space_joint': ('pose_spaces/bend/joints', ['tail']), 'space_shape': ('pose_spaces/bend/mean', [0]),
        'weights_list': ('skin_weights', []),
        'weights_joint': ('skin_weights', {'tail': {'vertices': [], 'weights': []}}),
        'weights_far': ('skin_weights/root/vertices', [0, 10**9]),
        'weights_negative': ('skin_weights/root/vertices', [0, -1]),
        'weights_half': ('skin_weights/root/vertices', [0, 0.5]),
        'weights_sum': ('skin_weights/root/weights', [1, 2]),
        'weights_text': ('skin_weights/root/weights', ['1', '1']), 'weights_more': ('skin_weights/root/weights', [1]),
        'regressor_far': ('joint_regressor/root/vertices', [10**12]),
        'regressor_huge': ('joint_regressor/root/weights', [1e30]),
        'pose_directions': ('pose_directions', [[1.0]]),
    }  # fmt: skip
    changes = {f'json_{name}': _set(*pair) for name, pair in values.items()}
    for key in ('joints', 'vertices', 'faces', 'skin_weights'):
        changes[f'json_{key}_missing'] = _taken(key)
    return changes | {'json_unknown_key': _set('vertexes', []), 'json_unknown_long': _set('x' * 10**5, 1)}


def json_texts() -> dict[str, bytes]:
    """Bytes that are no JSON, or JSON that readers disagree about."""
    text = json.dumps(small_document())
    texts = {
        'text_empty': b'', 'text_latin': text.replace('small', 'kleinö').encode('latin-1'),
        'text_utf16': text.encode('utf-16'), 'text_null': b'null', 'text_list': b'[]', 'text_zeros': b'\0' * 1000,
        'text_deep': b'[' * DEEP + b']' * DEEP, 'text_deep_object': b'{"a":' * DEEP + b'1' + b'}' * DEEP,
        'text_twice': text.replace('"unit": "mm"', '"unit": "mm", "unit": "m"').encode(),
        'text_twice_inside': text.replace('"spine":', '"spine": ["head"], "spine":').encode(),
        'text_nan': text.replace('[0.0, 0.0]', '[NaN, 0.0]').encode(),
        'text_infinity': text.replace('[0.0, 0.0]', '[0.0, -Infinity]').encode(),
        'text_exponent': text.replace('[0.0, 0.0]', '[1e999, 0.0]').encode(),
        'text_digits': text.replace('[0.0, 0.0]', f'[{"9" * 10_000}, 0.0]').encode(),
        'text_deep_inside': text.replace('[0.0, 0.0]', '[' * 5000 + '1' + ']' * 5000).encode(),
        'text_pickle': b'\x80\x04cos\nsystem\n(S"true"\ntR.',
    }  # fmt: skip
    return texts | {f'text_cut_{i}': text.encode()[: len(text) * i // CUTS] for i in range(1, CUTS)}


def _set(place: str, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        *path, last = place.split('/')
        inner: Any = document
        for key in path:
            inner = inner[int(key) if isinstance(inner, list) else key]
        inner[int(last) if isinstance(inner, list) else last] = value

    return change


def _taken(key: str) -> Callable[[Document], None]:
    return lambda document: document.__delitem__(key)
