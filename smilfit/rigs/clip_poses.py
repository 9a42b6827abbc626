"""Clips of a rig as parameters of the body model made of it.

A clip says where joints are: maps from the rest pose to the world, M_j = [L_j | .]. The model's joint has the map
`L_j = L_parent N_j`, and is at `L_parent (rest_j - rest_parent + offset_j)` from its parent. So N_j and the offsets
give any clip exactly; where N_j is a rotation, as in nearly all, these are a pose. What scaled bones, or the last
digits of float32 in a file, make of N_j besides is kept beside the pose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from smilfit.body_models.smil import SMIL
from smilfit.files import BadFileError, read_npz, replacing
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.rigs.defaults import mean_betas
from smilfit.rigs.read_rig import nearest_rotations
from smilfit.structures import BodyParams

# Uniform scales of joints that differ from one by less are noise of the file.
_SCALED = 1e-3
# A joint that a clip scales to nothing would have no inverse.
_LEAST_SCALE = 1e-8
# Clips are steps and habits, sampled at every frame: none of them is a day of recording.
MOST_SECONDS = 7200.0
_ARRAYS = ('times_s', 'global_orient', 'body_pose', 'transl', 'scale', 'joint_offsets')
_OPTIONAL = ('log_joint_scales', 'betas')
_EXACT = ('exact_global_orient', 'exact_body_pose', 'exact_joint_offsets')


@dataclass(frozen=True)
class ClipPoses:
    """A clip as parameters of a body model, by the names of `BodyParams`; T frames at `times_s`.

    `arrays` hold `global_orient` (T, 3), `body_pose` (T, J-1, 3), `transl` (T, 3), `scale` (T,), `joint_offsets`
    (T, J, 3), where the clip scales joints `log_joint_scales` (T, J, 3), and where it moves morph targets `betas`
    (T, S). `exact` hold `global_orient` (T, 3, 3), `body_pose` (T, J-1, 3, 3) and `joint_offsets`, in which the
    matrices also stretch as the file does.
    """

    name: str
    times_s: np.ndarray
    arrays: Mapping[str, np.ndarray]
    exact: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.times_s)

    def params(self, body: SMIL, exact: bool = True) -> BodyParams:
        """Return the parameters, float64.

        Args:
            body: the model that the clip belongs to.
            exact: as the file moves its skin, scaled bones included, rotations as matrices; otherwise as poses, with
                axis-angle rotations.
        """
        values = {'betas': np.tile(mean_betas(body.data), (len(self), 1))} | dict(self.arrays)
        if exact:
            values = {k: v for k, v in values.items() if k != 'log_joint_scales'} | dict(self.exact)
        return BodyParams.of({name: torch.as_tensor(np.asarray(v, np.float64)) for name, v in values.items()})


def check_length(path: str | Path, name: str, times_s: Float[np.ndarray, ' T']) -> None:
    """Check that a clip's times are finite, increase, and span no more than `MOST_SECONDS`.

    Raises:
        BadFileError: otherwise.
    """
    if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
        raise BadFileError(
            f'{path}: times of the clip {name} must be seconds that increase; they are not. Export it anew.'
        )
    length = float(times_s[-1] - times_s[0]) if len(times_s) else 0.0
    if length > MOST_SECONDS:
        raise BadFileError(
            f'{path}: the clip {name} must last at most {MOST_SECONDS:.0f} s; got {length:.6g}. Are its times in '
            'milliseconds, or is one key wrong? Export it anew, or in pieces.'
        )


def clip_poses(
    name: str,
    times_s: Float[np.ndarray, ' T'],
    maps: Float[np.ndarray, 'T J 4 4'],
    rest: Float[np.ndarray, 'J 3'],
    parents: tuple[int, ...],
    betas: Float[np.ndarray, 'T S'] | None,
) -> ClipPoses:
    """Turn the joints' maps from the rest pose to the world into parameters.

    Args:
        maps: affine, in the model's order of joints.
        parents: parents first, one root.
    """
    linear = maps[..., :3, :3]
    places = np.einsum('tjab,jb->tja', linear, rest) + maps[..., :3, 3]
    scale = np.maximum(np.abs(np.linalg.det(linear[:, 0])) ** (1 / 3), _LEAST_SCALE)
    transl = places[:, 0] - scale[:, None] * rest[0]
    linear = linear / scale[:, None, None, None]
    places = (places - transl[:, None]) / scale[:, None, None]
    sizes = np.maximum(np.abs(np.linalg.det(linear)) ** (1 / 3), _LEAST_SCALE)
    scaled = bool((np.abs(sizes - 1) > _SCALED).any())
    rotations = nearest_rotations(linear)
    held = rotations * sizes[..., None, None] if scaled else rotations
    local = _in_parents(rotations, parents)
    exact = _in_parents(linear, parents)
    pose = rotmat_to_axis_angle(torch.from_numpy(local)).numpy()
    arrays = {
        'global_orient': pose[:, 0],
        'body_pose': pose[:, 1:],
        'transl': transl,
        'scale': scale,
        'joint_offsets': _offsets(held, places, rest, parents),
    }
    if scaled:
        arrays['log_joint_scales'] = np.repeat(np.log(sizes)[..., None], 3, -1)
    if betas is not None and betas.shape[1]:
        arrays['betas'] = betas
    beside = {
        'global_orient': exact[:, 0],
        'body_pose': exact[:, 1:],
        'joint_offsets': _offsets(linear, places, rest, parents),
    }
    return ClipPoses(name, np.asarray(times_s, float), arrays, beside)


def _in_parents(linear: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    above = np.array(parents)
    result = linear.copy()
    result[:, 1:] = np.linalg.inv(_invertible(linear))[:, above[1:]] @ linear[:, 1:]
    return result


def _offsets(
    linear: np.ndarray, places: np.ndarray, rest: np.ndarray, parents: tuple[int, ...]
) -> np.ndarray:
    above = np.array(parents)[1:]
    result = np.zeros_like(places)
    steps = places[:, 1:] - places[:, above]
    back = np.linalg.inv(_invertible(linear))[:, above]
    result[:, 1:] = (back @ steps[..., None])[..., 0] - (rest[1:] - rest[above])
    return result


def _invertible(linear: np.ndarray) -> np.ndarray:
    """Return what a clip flattens a little thickness."""
    # The least singular value is at least the volume over the square of the largest.
    flat = np.abs(np.linalg.det(linear)) <= _LEAST_SCALE * np.square(linear).sum((-2, -1))
    if not flat.any():
        return linear
    u, s, vt = np.linalg.svd(linear[flat])
    result = linear.copy()
    result[flat] = (u * np.maximum(s, _LEAST_SCALE)[..., None, :]) @ vt
    return result


def write_clips(path: str | Path, clips: tuple[ClipPoses, ...], model_hash: str) -> Path:
    """Write clips as one npz without pickles; see `read_clips` for its keys."""
    path = Path(path)
    arrays: dict[str, np.ndarray] = {
        'names': np.array([clip.name for clip in clips], dtype=np.str_),
        'model_hash': np.array(model_hash),
        # All poses in a row, as whatever takes poses of fits reads them.
        'body_pose': np.concatenate([clip.arrays['body_pose'] for clip in clips]),
    }
    for k, clip in enumerate(clips):
        arrays[f'{k}.times_s'] = clip.times_s
        arrays |= {f'{k}.{name}': value for name, value in clip.arrays.items()}
        arrays |= {f'{k}.exact_{name}': value for name, value in clip.exact.items()}
    with replacing(path) as temporary, temporary.open('wb') as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path


def read_clips(path: str | Path) -> dict[str, ClipPoses]:
    """Read clips by name.

    The file holds `names` (n,), `model_hash`, `body_pose` (all poses in a row), and for clip k of the names
    `k.times_s`, `k.global_orient`, `k.body_pose`, `k.transl`, `k.scale`, `k.joint_offsets`, where there are some
    `k.log_joint_scales` and `k.betas`, and `k.exact_global_orient`, `k.exact_body_pose`, `k.exact_joint_offsets`.

    Raises:
        BadFileError: no such arrays, or arrays of different lengths.
    """
    path = Path(path)
    result = read_npz(path, None, 'clips')
    if 'names' not in result or result['names'].ndim != 1:
        raise BadFileError(f'{path}: clips must have names; got none. Import the rig again.')
    clips = {}
    for k, name in enumerate(result['names'].tolist()):
        own = {n: result[f'{k}.{n}'] for n in (*_ARRAYS, *_OPTIONAL, *_EXACT) if f'{k}.{n}' in result}
        missing = [n for n in (*_ARRAYS, *_EXACT) if n not in own]
        if missing or len({len(value) for value in own.values()}) != 1:
            got = f'no {missing[0]}' if missing else 'different lengths'
            raise BadFileError(f'{path}: the clip {name} must have a row of everything a frame; got {got}.')
        if own['times_s'].ndim != 1:
            raise BadFileError(
                f'{path}: the clip {name} must have times (T,); got {own["times_s"].shape}. Import again.'
            )
        check_length(path, str(name), own['times_s'])
        exact = {n.removeprefix('exact_'): own.pop(n) for n in _EXACT}
        clips[str(name)] = ClipPoses(str(name), own.pop('times_s'), own, exact)
    return clips
