"""A body model from one file format to another, with word of what is lost, and the file read back and compared."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files import load_body_model_data, save_body_model
from smilfit.body_models.files.smal_file import write_smal_file
from smilfit.body_models.files.smal_parts import with_smal_parts
from smilfit.body_models.files.stored_model import StoredModel, read_stored_model
from smilfit.body_models.joint_limits import origins_in_words
from smilfit.body_models.part_sizes import default_part_sizes
from smilfit.body_models.shipped_models import find_body_model
from smilfit.body_models.smil import SMIL
from smilfit.rigs.building import build_model, naming_file
from smilfit.rigs.defaults import mean_betas, shape_sd
from smilfit.rigs.gltf.model import holds_body_model, read_model_gltf, write_model_gltf
from smilfit.rigs.read_rig import Rig, is_rig, read_rig
from smilfit.rigs.symmetry import joint_pairs, mirror_axis
from smilfit.rigs.trees import children_of
from smilfit.rigs.triangles import Edges, connected_parts
from smilfit.structures import BodyParams
from smilfit.structures.body import MILLIMETRES

# Standard deviations of the random bodies: rad, and logarithms of joint scales.
_TURN_RAD, _LOG_SCALE = 0.5, 0.1
GLTF = ('.glb', '.gltf')
_MODELS = ('.json', '.pkl', '.npz')
# Coefficients whose deviations are written out.
_SHOWN = 8


def body_difference(first: BodyModelData, second: BodyModelData, count: int = 4, seed: int = 0) -> float:
    """Measure how far vertices and joints of two models lie apart at most, a share of the first one's size.

    Bodies are posed at random, shaped at random within the first one's covariance, and have random joint scales and
    the scales and offsets that shapes drive. Infinite for models of other counts.

    Args:
        second: another, with its vertices and joints in the same order.
    """
    if _counts(first) != _counts(second):
        return float('inf')
    params = _random_params(first, count, np.random.default_rng(seed))
    result = []
    for data in (first, second):
        body = SMIL(data, scale_directions=0.05, offset_directions=0.05).double()
        with torch.no_grad():
            output = body(params, ('vertices', 'joints'))
        result.append(torch.cat((output.vertices, output.joints), 1).numpy())
    size = float(np.ptp(first.v_template, axis=0).max())
    return float(np.linalg.norm(result[0] - result[1], axis=-1).max()) / size


def _counts(data: BodyModelData) -> tuple[object, ...]:
    return data.n_vertices, data.joint_names, tuple(data.parents.tolist()), data.n_betas


def _random_params(data: BodyModelData, count: int, rng: np.random.Generator) -> BodyParams:
    drawn = {
        'global_orient': _TURN_RAD * rng.normal(size=(count, 3)),
        'body_pose': _TURN_RAD * rng.normal(size=(count, data.n_joints - 1, 3)),
        'betas': mean_betas(data) + shape_sd(data) * rng.normal(size=(count, data.n_betas)),
        'transl': rng.normal(size=(count, 3)),
        'scale': np.ones(count),
        'log_joint_scales': _LOG_SCALE * rng.normal(size=(count, data.n_joints, 3)),
    }
    return BodyParams.of({name: torch.from_numpy(value) for name, value in drawn.items()})


class Conversion(NamedTuple):
    """What became of a model.

    `lost` says in words what the new file does not hold; `difference` is how far the bodies of both files lie apart
    at most, a share of the body's size.
    """

    data: BodyModelData
    lost: tuple[str, ...]
    difference: float


def _write_smil_json(data: BodyModelData, path: Path) -> tuple[str, ...]:
    save_body_model(data, path)
    return ()


WRITERS: dict[str, Callable[[BodyModelData, Path], tuple[str, ...]]] = {
    '.smil.json': _write_smil_json,
    '.pkl': write_smal_file,
    '.npz': write_smal_file,
    '.glb': write_model_gltf,
}


def convert_model(
    source: str | Path, target: str | Path, parts: Mapping[str, Any] | None = None
) -> Conversion:
    """Read a body model and write it in the format of the new name's ending.

    Args:
        source: a body model's file, or the name of a shipped model.
        target: a file that is not there yet: `.smil.json`, `.pkl`, `.npz` or `.glb`.
        parts: of a model of SMAL, what its other files say: arguments of `with_smal_parts` by name.

    Raises:
        FileExistsError: the new file is there.
        ValueError: a file that breaks a rule, or an ending that has no writer.
    """
    target = Path(target)
    writer = next((WRITERS[ending] for ending in WRITERS if target.name.endswith(ending)), None)
    if writer is None:
        raise ValueError(
            f'{target}: a body model is written as {", ".join(WRITERS)}; got {target.suffix!r}. Choose one of them.'
        )
    if target.exists():
        raise FileExistsError(f'{target}: the new file must not be there yet; it is. Give another name.')
    data = read_model(source)
    if parts:
        data = with_smal_parts(data, **parts)
    lost = writer(data, target)
    return Conversion(data, lost, body_difference(data, read_model(target)))


def read_model(path: str | Path) -> BodyModelData:
    """Read a body model in any of the formats that this module writes, or a shipped model by name.

    Raises:
        ValueError: a file that breaks a rule, or a glTF of another program.
    """
    if Path(path).suffix.lower() in GLTF:
        return read_model_gltf(path)
    return load_body_model_data(path)


def open_model(name_or_path: str | Path) -> tuple[StoredModel, Path]:
    """Open a model as its file has it, and say which file that is; of a rig, the model that importing makes of it.

    Raises:
        FileNotFoundError: no such file or shipped model.
        ValueError: a file that is no body model.
    """
    path = find_body_model(name_or_path)
    if path.suffix.lower() in GLTF and holds_body_model(path):
        return StoredModel(read_model_gltf(path)), path
    if path.name.endswith(_MODELS):
        return _stored(path), path
    return _built(path, read_rig(path)) if is_rig(path) else read_stored_model(path), path


def _stored(path: Path) -> StoredModel:
    """Read a model, or a rig of another layout; of what is neither, the reader of models says what is wrong."""
    try:
        return read_stored_model(path)
    except ValueError as error:
        if not is_rig(path):
            raise
        try:
            rig = read_rig(path)
        except ValueError:
            raise error from None
    return _built(path, rig)


def _built(path: Path, rig: Rig) -> StoredModel:
    with naming_file(path, rig):
        return StoredModel(build_model(rig)[0])


def describe_model(model: StoredModel, path: Path | None = None) -> list[tuple[str, str]]:
    """Return names and values of a page, in order.

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
    children = children_of(data.parents)
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
