"""Animations of a glTF file: what they say of nodes and morph targets at any time, and over all key times."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from smilfit.files import check_budget, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES
from smilfit.rigs.clip_poses import check_length
from smilfit.rigs.gltf_accessors import AccessorReader
from smilfit.rigs.gltf_file import GltfFile

_WIDTHS = {'translation': 'VEC3', 'rotation': 'VEC4', 'scale': 'VEC3', 'weights': 'SCALAR'}
STEP, LINEAR, CUBIC = 'STEP', 'LINEAR', 'CUBICSPLINE'


@dataclass(frozen=True)
class Track:
    """One value of one node over time: keys (K,), values (K, n); a cubic spline has (K, 3, n) with its tangents."""

    node: int
    path: str
    times_s: np.ndarray
    values: np.ndarray
    interpolation: str

    def at(self, times_s: Float[np.ndarray, ' T']) -> Float[np.ndarray, 'T n']:
        """Give the value at times; before the first key and after the last it stays.

        As the glTF 2.0 specification, appendix C, has it: rotations turn on the shorter arc.
        """
        keys, last = self.times_s, len(self.times_s) - 1
        before = np.clip(np.searchsorted(keys, times_s, 'right') - 1, 0, last)
        after = np.minimum(before + 1, last)
        span = keys[after] - keys[before]
        share = np.where(span > 0, (times_s - keys[before]) / np.where(span > 0, span, 1), 0.0)
        share = np.clip(share, 0, 1)[:, None]
        if self.interpolation == CUBIC:
            return self._spline(before, after, span[:, None], share)
        a, b = self.values[before], self.values[after]
        if self.interpolation == STEP:
            return a
        if self.path == 'rotation':
            return _slerp(a, b, share)
        return (1 - share) * a + share * b

    def _spline(self, before: np.ndarray, after: np.ndarray, span: np.ndarray, t: np.ndarray) -> np.ndarray:
        a, leaving = self.values[before, 1], span * self.values[before, 2]
        b, coming = self.values[after, 1], span * self.values[after, 0]
        t2, t3 = t**2, t**3
        return (
            (2 * t3 - 3 * t2 + 1) * a
            + (t3 - 2 * t2 + t) * leaving
            + (3 * t2 - 2 * t3) * b
            + (t3 - t2) * coming
        )


@dataclass(frozen=True)
class Animation:
    """A named motion as tracks."""

    name: str
    tracks: tuple[Track, ...]

    def key_times(self, nodes: set[int], meshes: set[int]) -> Float[np.ndarray, ' T']:
        """Give all key times of what moves some nodes, or changes morph targets of some."""
        every = [t.times_s for t in self.tracks if t.node in (meshes if t.path == 'weights' else nodes)]
        return np.unique(np.concatenate(every)) if every else np.zeros(0)

    def at(self, times_s: Float[np.ndarray, ' T'], nodes: set[int]) -> dict[int, dict[str, np.ndarray]]:
        """Give values over time by node and path."""
        found: dict[int, dict[str, np.ndarray]] = {}
        for track in self.tracks:
            if track.node in nodes:
                found.setdefault(track.node, {})[track.path] = track.at(times_s)
        return found


def read_animations(
    file: GltfFile, reader: AccessorReader, morphs: dict[int, int], notes: list[str]
) -> list[Animation]:
    """Read the animations.

    Args:
        file: the file.
        reader: of its accessors.
        morphs: how many morph targets nodes have that show a mesh with some.
        notes: told what is left out.
    """
    found = []
    for number, entry in enumerate(file.entries('animations')):
        where = f'animations[{number}]'
        name = entry.get('name')
        name = shorten(name, 80) if isinstance(name, str) and name.strip() else f'clip_{number}'
        tracks = []
        samplers = file.objects(entry, 'samplers', where)
        for i, channel in enumerate(file.objects(entry, 'channels', where)):
            track = _track(file, reader, channel, samplers, morphs, f'{where}.channels[{i}]')
            if track is not None:
                tracks.append(track)
        if tracks:
            found.append(Animation(name, tuple(tracks)))
        else:
            notes.append(f'the clip {name} moves no node: left out.')
    return found


def _track(
    file: GltfFile,
    reader: AccessorReader,
    channel: dict[str, Any],
    samplers: list[dict[str, Any]],
    morphs: dict[int, int],
    where: str,
) -> Track | None:
    target, number = channel.get('target'), channel.get('sampler')
    path = target.get('path') if isinstance(target, dict) else None
    if not isinstance(target, dict) or 'node' not in target or path not in tuple(_WIDTHS):
        return None
    if type(number) is not int or not 0 <= number < len(samplers):
        raise file.fail(f'{where} must name one of {len(samplers)} samplers', number, 'Export the file anew.')
    node, sampler = file.index('nodes', target['node'], where), samplers[number]
    if path == 'weights' and not morphs.get(node):
        return None
    how = sampler.get('interpolation', LINEAR)
    if how not in (STEP, LINEAR, CUBIC):
        raise file.fail(
            f'interpolation of {where} must be {STEP}, {LINEAR} or {CUBIC}', how, 'Export the file anew.'
        )
    times = reader.floats(sampler.get('input'), 'SCALAR', f'input of {where}')[:, 0]
    values = reader.floats(sampler.get('output'), _WIDTHS[path], f'output of {where}')
    if not len(times) or (np.diff(times) < 0).any():
        raise file.fail(
            f'input of {where} must be times that increase', f'{len(times)} times', 'Export the file anew.'
        )
    per_key = (morphs[node] if path == 'weights' else 1) * (3 if how == CUBIC else 1)
    if len(values) != len(times) * per_key:
        rule = f'output of {where} must have {per_key} rows for each of {len(times)} keys'
        raise file.fail(rule, len(values), 'Export the file anew.')
    shape = (len(times), 3, -1) if how == CUBIC else (len(times), -1)
    return Track(node, path, times, values.reshape(shape), how)


def check_size(file: GltfFile, name: str, times_s: Float[np.ndarray, ' T'], n_joints: int) -> None:
    """Check that a clip is no longer than clips are, and that its transforms fit into memory.

    Raises:
        BadFileError: it lasts longer than `MOST_SECONDS`, or is too large.
    """
    check_length(file.path, name, times_s)
    check_budget(file.path, f'the clip {name}', len(times_s) * n_joints * 128, MOST_ARRAY_BYTES)


def _slerp(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Turn from one quaternion to another at even speed, on the shorter arc."""
    a, b = (q / np.maximum(np.linalg.norm(q, axis=-1, keepdims=True), 1e-30) for q in (a, b))
    cosine = (a * b).sum(-1, keepdims=True)
    b, cosine = np.where(cosine < 0, -b, b), np.abs(cosine).clip(max=1)
    angle = np.arccos(cosine)
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1, sine)
    turned = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / safe
    return np.where(near, (1 - share) * a + share * b, turned)
