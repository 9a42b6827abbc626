"""Read a rig of any format, as the file's name ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smilfit.body_models.data import SparseMatrix
from smilfit.files import shorten
from smilfit.registry import did_you_mean

# Suffix -> module and function; imported when needed.
_READERS: dict[str, tuple[str, str]] = {
    '.glb': ('smilfit.rigs.gltf', 'read_gltf'),
    '.gltf': ('smilfit.rigs.gltf', 'read_gltf'),
    # Avatars: glTF under another name.
    '.vrm': ('smilfit.rigs.gltf', 'read_gltf'),
    '.xml': ('smilfit.rigs.mjcf', 'read_mjcf'),
    '.pkl': ('smilfit.rigs.array_rigs', 'read_arrays'),
    '.npz': ('smilfit.rigs.array_rigs', 'read_arrays'),
    '.fbx': ('smilfit.rigs.blender.blender_rig', 'read_with_blender'),
    '.blend': ('smilfit.rigs.blender.blender_rig', 'read_with_blender'),
    '.dae': ('smilfit.rigs.blender.blender_rig', 'read_with_blender'),
}
# What is given beside a rig -> the kind that it goes with, and its suffixes.
_BESIDE: dict[str, tuple[str, tuple[str, ...]]] = {
    'skin': ('a MuJoCo model', ('.xml',)),
    'keypoints': ('a MuJoCo model', ('.xml',)),
    'armature': ('what Blender reads', ('.fbx', '.blend', '.dae')),
}
_POLAR_STEPS = 7


@dataclass(frozen=True)
class Clip:
    """A motion that came with a rig, at its own key times.

    `joints` are the joints' transforms in the world of the rig (T, J, 4, 4); `morph_weights` are (T, M), of the rig's
    morph targets in their order.
    """

    name: str
    times_s: np.ndarray  # (T,)
    joints: np.ndarray  # (T, J, 4, 4)
    morph_weights: np.ndarray | None = None  # (T, M)


@dataclass(frozen=True)
class Site:
    """A named point that hangs on a joint: `offset` in the rig's world axes at rest, from the joint.

    `sd` is how far it may be from there, in any direction; 0 where it is known.
    """

    joint: str
    offset: np.ndarray  # (3,)
    sd: float = 0.0


@dataclass(frozen=True)
class Rig:
    """A skinned mesh and its skeleton at rest, in the file's own unit and axes; nothing is cleaned yet.

    Joints stand parents first; several may be roots (`parents` -1). `rest` are the joints' world transforms in the
    pose in which the skin was bound. `axes` are each joint's own axes as columns, in the rig's world at rest (what
    hinges turn about); `limits_rad` are the least and greatest axis-angle components in these axes. Where
    `joint_regressor` is given, shape moves joints as it says. `notes` say in words what the reader left out or did.
    """

    name: str
    vertices: np.ndarray  # (V, 3) at rest
    faces: np.ndarray  # (F, 3)
    joint_names: tuple[str, ...]
    parents: np.ndarray  # (J,)
    rest: np.ndarray  # (J, 4, 4)
    weights: SparseMatrix  # (V, J) as in the file: may not sum to one
    morphs: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (V, 3) displacement at weight 1
    axes: np.ndarray | None = None  # (J, 3, 3)
    limits_rad: np.ndarray | None = None  # (J, 3, 2)
    joint_regressor: SparseMatrix | None = None  # (J, V)
    sites: dict[str, Site] = field(default_factory=dict)
    clips: tuple[Clip, ...] = ()
    texture: bytes | None = None  # PNG or JPEG of the base colour
    uv: np.ndarray | None = None  # (V, 2), origin at the texture's upper left
    unit: str | None = None  # as the file or its format says
    up_axis: str | None = None
    forward_axis: str | None = None
    licence: str | None = None
    notes: tuple[str, ...] = ()


def is_rig(path: str | Path) -> bool:
    """Check whether there is a reader of rigs for files of such a name."""
    return Path(path).suffix.lower() in _READERS


def read_rig(
    path: str | Path,
    skin: str | Path | None = None,
    keypoints: str | Path | None = None,
    armature: str | None = None,
) -> Rig:
    """Read a rig.

    Args:
        path: the file.
        skin: of a MuJoCo model, where it names another or none.
        keypoints: of a MuJoCo model, a table of keypoints and the bodies they hang on.
        armature: of .fbx, .blend and .dae, the name of the one to take where several have meshes of their own.

    Raises:
        ValueError: another kind of file, or one that its reader refuses.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        known = tuple(_READERS)
        raise ValueError(
            f'{path}: a rig must be one of {", ".join(known)}; got {suffix or "no suffix"!r}. '
            f'{did_you_mean(suffix, known)} Other formats: export as glTF 2.0 (.glb).'
        )
    module, function = _READERS[suffix]
    reader: Callable[..., Rig] = getattr(import_module(module), function)
    given = (('skin', skin), ('keypoints', keypoints), ('armature', armature))
    beside = {name: value for name, value in given if value is not None}
    for name in beside:
        kind, suffixes = _BESIDE[name]
        if suffix not in suffixes:
            raise ValueError(
                f'{path}: {name} must go with {kind} ({", ".join(suffixes)}); got {suffix}. Leave it out.'
            )
    return reader(path, **beside)


def matrices_from_trs(
    translation: Float[np.ndarray, '... 3'],
    quaternion_xyzw: Float[np.ndarray, '... 4'],
    scale: Float[np.ndarray, '... 3'],
) -> Float[np.ndarray, '... 4 4']:
    """Return `translation * rotation * scale`; quaternions are normalised, one of no length turns nothing."""
    rotation = rotations_from_quaternions(quaternion_xyzw)
    lead = np.broadcast_shapes(translation.shape[:-1], rotation.shape[:-2], scale.shape[:-1])
    result = np.zeros((*lead, 4, 4))
    result[..., :3, :3] = rotation * scale[..., None, :]
    result[..., :3, 3] = translation
    result[..., 3, 3] = 1
    return result


def rotations_from_quaternions(quaternion_xyzw: Float[np.ndarray, '... 4']) -> Float[np.ndarray, '... 3 3']:
    """Return rotation matrices of quaternions (x, y, z, w) of any length but 0."""
    length = np.linalg.norm(quaternion_xyzw, axis=-1, keepdims=True)
    unit = np.where(length > 0, quaternion_xyzw / np.where(length > 0, length, 1), [0.0, 0.0, 0.0, 1.0])
    x, y, z, w = np.moveaxis(unit, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def apply(
    matrices: Float[np.ndarray, '... 4 4'], points: Float[np.ndarray, '... 3']
) -> Float[np.ndarray, '... 3']:
    """Map points."""
    return np.einsum('...ab,...b->...a', matrices[..., :3, :3], points) + matrices[..., :3, 3]


def inverse_or(
    matrices: Float[np.ndarray, 'n 4 4'], otherwise: Float[np.ndarray, 'n 4 4']
) -> Float[np.ndarray, 'n 4 4']:
    """Return inverses of affine maps; of one that flattens space, what stands in its place."""
    result = otherwise.copy()
    values = np.linalg.svd(matrices[:, :3, :3], compute_uv=False)
    good = values[:, -1] > 1e-9 * np.maximum(values[:, 0], 1e-30)
    result[good] = np.linalg.inv(matrices[good])
    return result


def nearest_rotations(linear: Float[np.ndarray, '... 3 3']) -> Float[np.ndarray, '... 3 3']:
    """Return the rotations nearest to linear maps (orthogonal Procrustes, no mirrors).

    Newton's iteration for the polar factor (Higham 1986), which takes a tenth of the time of decompositions; these do
    what is far from a rotation, or mirrored.
    """
    flat = linear.reshape(-1, 3, 3)
    result, hard = flat.copy(), np.ones(len(flat), bool)
    size = np.linalg.norm(flat, axis=(1, 2)) / 3**0.5
    near = np.linalg.det(flat) > 0.1 * size**3
    near &= size > 1e-12
    rotation = flat[near] / size[near, None, None]
    for _ in range(_POLAR_STEPS):
        rotation = (rotation + np.linalg.inv(rotation).transpose(0, 2, 1)) / 2
    good = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max((1, 2), initial=0) < 1e-14
    result[np.flatnonzero(near)[good]] = rotation[good]
    hard[np.flatnonzero(near)[good]] = False
    u, _, vt = np.linalg.svd(flat[hard])
    u[..., -1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))[..., None]
    result[hard] = u @ vt
    return result.reshape(linear.shape)


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with a number where another has it already."""
    taken = set(names)
    result: dict[str, None] = {}
    for name in names:
        new, k = name, 1
        while new in result or (new != name and new in taken):
            k += 1
            new = f'{name}.{k}'
        result[new] = None
    return tuple(result)


def unique_joint_names(names: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """Return joints' names with a number where another has it already, and note which these are."""
    result = unique_names(names)
    renamed = [new for new, name in zip(result, names) if new != name]
    if renamed:
        notes.append(f'{len(renamed)} joints had names of others and were renamed: {", ".join(renamed[:5])}')
    return result


def listed(names: Sequence[object], most: int = 5) -> str:
    """Name the first few of several places, and how many more there are."""
    texts = [shorten(str(name), 60) for name in names[:most]]
    more = len(names) - len(texts)
    return ', '.join(texts) + (f' and {more} more' if more > 0 else '')
