"""A body model in numbers that a person wants: how large, how jointed, what it can do, whose it is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData
from smilfit.body_models.limit_origin import origins_in_words
from smilfit.body_models.part_sizes import default_part_sizes
from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.mesh_edges import Edges
from smilfit.rigs.checking.mesh_parts import connected_parts
from smilfit.rigs.checking.mirror import joint_pairs, mirror_axis
from smilfit.rigs.checking.shape_space import shape_sd
from smilfit.structures.units import MILLIMETRES

# Coefficients whose deviations are written out.
_SHOWN = 8


def describe_model(model: StoredModel, path: Path | None = None) -> list[tuple[str, str]]:
    """Give names and values of a page, in order.

    Args:
        model: as its file has it.
        path: its file.

    Raises:
        ValueError: a model that breaks a rule; `smilfit model check` says all that is wrong with it.
    """
    data = check_body_model(model.data, str(path or model.data.name))
    lines = [('model', data.name)]
    if path is not None:
        lines.append(('file', f'{path} ({path.stat().st_size / 1e6:.2f} MB)'))
    lines += [
        ('hash', data.content_hash()),
        ('licence', data.licence or 'not stated'),
        ('version', data.version or 'not stated'),
        ('mesh', _mesh(data)),
        ('size', _size(model)),
        ('axes', f'up {data.up_axis or "not stated"}, forward {data.forward_axis or "not stated"}'),
        ('joints', f'{data.n_joints}, {_rest(data)}; scales are {data.joint_scale_mode}'),
        ('weights', _weights(data)),
        ('limits', _limits(data)),
        ('symmetry', _symmetry(data)),
        ('shape', _shape(model)),
        ('pose shapes', 'none' if data.posedirs is None else f'{len(data.posedirs)} directions'),
        ('pose prior', 'stated' if data.pose_prior_precision is not None else 'none'),
    ]
    if data.n_expression:
        lines.append(('expression', f'{data.n_expression} coefficients'))
    lines += [(f'keypoints {name}', _keypoints(points)) for name, points in data.keypoint_sets.items()]
    if not data.keypoint_sets:
        lines.append(('keypoints', 'no sets; joints are keypoints by their names'))
    if data.landmarks:
        lines.append(('landmarks', ', '.join(data.landmarks)))
    parts = data.part_sizes or default_part_sizes(data)
    origin = 'stated' if data.part_sizes else 'by the tree'
    lines.append(('part sizes', f'{", ".join(parts) or "none"} ({origin})'))
    if data.joint_groups:
        lines.append(('groups', ', '.join(f'{n} ({len(g)})' for n, g in data.joint_groups.items())))
    return lines


def tree_lines(data: BodyModelData) -> Iterator[str]:
    """Draw the tree of joints, each with the length of its bone, its vertices, and its limits in degrees."""
    children: dict[int, list[int]] = {}
    for j, parent in enumerate(data.parents.tolist()):
        children.setdefault(parent, []).append(j)
    moved = np.bincount(data.weights.cols, data.weights.values > 0, data.n_joints).astype(int)

    def below(joint: int, depth: int) -> Iterator[str]:
        parent = int(data.parents[joint])
        text = f'{"  " * depth}{data.joint_names[joint]}'
        facts = [f'{moved[joint]} vertices']
        if parent >= 0:
            facts.insert(0, f'{np.linalg.norm(data.joints[joint] - data.joints[parent]):.4g} from its parent')
        if data.joint_limits is not None:
            degrees = np.degrees(data.joint_limits[joint])
            facts.append(
                ' '.join(f'{axis} {low:.0f}..{high:.0f}' for axis, (low, high) in zip('xyz', degrees))
            )
        yield f'{text}: {", ".join(facts)}'
        for child in children.get(joint, ()):
            yield from below(child, depth + 1)

    for root in children.get(-1, ()):
        yield from below(root, 0)


def _mesh(data: BodyModelData) -> str:
    if not len(data.faces):
        return f'{data.n_vertices} vertices, no faces'
    parts = len(np.unique(connected_parts(data.faces, data.n_vertices)[np.unique(data.faces)]))
    open_edges = int((Edges.of(data.faces).shared_by == 1).sum())
    return (
        f'{data.n_vertices} vertices, {len(data.faces)} faces, {parts} part{"" if parts == 1 else "s"}, '
        f'{open_edges or "no"} open edges'
    )


def _size(model: StoredModel) -> str:
    data = model.data
    sides = np.ptp(data.v_template, axis=0)
    unit = data.unit or 'units (none is stated)'
    text = ' x '.join(f'{side:.4g}' for side in sides) + f' {unit} along x, y, z'
    if data.unit in MILLIMETRES and data.unit != 'mm':
        text += f'; {model.size * MILLIMETRES[data.unit]:.4g} mm long'
    return text


def _rest(data: BodyModelData) -> str:
    if data.joint_regressor is None:
        return 'static: shape does not move them'
    entries = len(data.joint_regressor.values)
    return f'regressed from the skin ({entries / max(data.n_joints, 1):.0f} vertices each on average)'


def _weights(data: BodyModelData) -> str:
    count = np.bincount(data.weights.rows, data.weights.values != 0, data.n_vertices).astype(int)
    each = ', '.join(f'{int((count == n).sum())} vertices on {n}' for n in np.unique(count))
    return f'{each} joint{"s" if count.max(initial=0) > 1 else ""}'


def _limits(data: BodyModelData) -> str:
    if data.joint_limits is None:
        return 'none: fits take 90 degrees in limbs and 45 on the midline'
    low, high = data.joint_limits[..., 0], data.joint_limits[..., 1]
    span = np.degrees(high - low)
    locked = int((span < 1e-4).sum())
    free = span.size - locked
    own = '' if data.joint_axes is None else "; along the joints' own axes"
    origin = origins_in_words(data.joint_limits_from) or 'stated, not said where from'
    wide = f', {np.median(span[span >= 1e-4]):.0f} degrees wide (median)' if free else ''
    return f'of {data.n_joints} joints {origin}; {free} free axes{wide}, {locked} locked{own}'


def _symmetry(data: BodyModelData) -> str:
    pairs = joint_pairs(data)
    axis = mirror_axis(data, pairs)
    origin = 'stated' if data.joint_symmetry else 'by their names, not stated'
    mirror = 'no axis mirrors them' if axis is None else f'mirrored along {"xyz"[axis]}'
    return f'{len(pairs)} pairs of joints ({origin}), {mirror}' if pairs else 'none'


def _shape(model: StoredModel) -> str:
    data = model.data
    if data.shapedirs is None:
        return 'none'
    sd = shape_sd(data)
    moved = sd * np.linalg.norm(data.shapedirs, axis=1).max(0) / model.size
    text = ', '.join(f'{100 * share:.1f}' for share in moved[:_SHOWN]) + (' ...' if len(sd) > _SHOWN else '')
    given = 'covariance stated' if data.shape_cov is not None else 'no covariance: sd 1 taken'
    also = [
        w for w, x in (('joint scales', data.scaledirs), ('joint offsets', data.transdirs)) if x is not None
    ]
    if data.shape_mixture is not None:
        also.append(f'a mixture of {len(data.shape_mixture.names)} kinds')
    more = f'; also {", ".join(also)}' if also else ''
    return f'{data.n_betas} coefficients ({given}); one sd moves vertices by up to {text} % of its size{more}'


def _keypoints(points: dict[str, str | dict[int, float]]) -> str:
    on_joints = sum(isinstance(definition, str) for definition in points.values())
    return f'{len(points)}: {on_joints} joints, {len(points) - on_joints} on the skin: {", ".join(points)}'
