"""Nodes of a glTF file: their tree and places, and what animations do to them and to morph targets at any time."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from smilfit.files import charge, check_budget, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES
from smilfit.rigs.clip_poses import check_length
from smilfit.rigs.gltf.file import AccessorReader, Entry, GltfFile
from smilfit.rigs.read_rig import matrices_from_trs
from smilfit.rigs.trees import outwards

_WIDTHS = {'translation': 'VEC3', 'rotation': 'VEC4', 'scale': 'VEC3', 'weights': 'SCALAR'}
STEP, LINEAR, CUBIC = 'STEP', 'LINEAR', 'CUBICSPLINE'
_REST = {'translation': (0.0, 0.0, 0.0), 'rotation': (0.0, 0.0, 0.0, 1.0), 'scale': (1.0, 1.0, 1.0)}


@dataclass(frozen=True)
class Track:
    """One value of one node over time: keys (K,), values (K, n); a cubic spline has (K, 3, n) with its tangents."""

    node: int
    path: str
    times_s: np.ndarray
    values: np.ndarray
    interpolation: str

    def at(self, times_s: Float[np.ndarray, ' T']) -> Float[np.ndarray, 'T n']:
        """Return the value at times; before the first key and after the last it stays.

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
        """Return all key times of what moves some nodes, or changes morph targets of some."""
        every = [t.times_s for t in self.tracks if t.node in (meshes if t.path == 'weights' else nodes)]
        return np.unique(np.concatenate(every)) if every else np.zeros(0)

    def at(self, times_s: Float[np.ndarray, ' T'], nodes: set[int]) -> dict[int, dict[str, np.ndarray]]:
        """Return values over time by node and path."""
        result: dict[int, dict[str, np.ndarray]] = {}
        for track in self.tracks:
            if track.node in nodes:
                result.setdefault(track.node, {})[track.path] = track.at(times_s)
        return result


def read_animations(
    file: GltfFile, reader: AccessorReader, morphs: dict[int, int], notes: list[str]
) -> list[Animation]:
    """Read the animations.

    Args:
        morphs: how many morph targets nodes have that show a mesh with some.
    """
    result = []
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
            result.append(Animation(name, tuple(tracks)))
        else:
            notes.append(f'the clip {name} moves no node: left out.')
    return result


def _track(
    file: GltfFile,
    reader: AccessorReader,
    channel: Entry,
    samplers: list[Entry],
    morphs: dict[int, int],
    where: str,
) -> Track | None:
    target, number = channel.get('target'), channel.get('sampler')
    path = target.get('path') if isinstance(target, dict) else None
    if not isinstance(target, dict) or 'node' not in target or path not in tuple(_WIDTHS):
        return None
    if type(number) is not int or not 0 <= number < len(samplers):
        raise file.fail(f'{where} must name one of {len(samplers)} samplers', number)
    node, sampler = file.index('nodes', target['node'], where), samplers[number]
    if path == 'weights' and not morphs.get(node):
        return None
    how = sampler.get('interpolation', LINEAR)
    if how not in (STEP, LINEAR, CUBIC):
        raise file.fail(f'interpolation of {where} must be {STEP}, {LINEAR} or {CUBIC}', how)
    times = reader.floats(sampler.get('input'), 'SCALAR', f'input of {where}')[:, 0]
    values = reader.floats(sampler.get('output'), _WIDTHS[path], f'output of {where}')
    if not len(times) or (np.diff(times) < 0).any():
        raise file.fail(f'input of {where} must be times that increase', f'{len(times)} times')
    per_key = (morphs[node] if path == 'weights' else 1) * (3 if how == CUBIC else 1)
    if len(values) != len(times) * per_key:
        rule = f'output of {where} must have {per_key} rows for each of {len(times)} keys'
        raise file.fail(rule, len(values))
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
    rotated = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / safe
    return np.where(near, (1 - share) * a + share * b, rotated)


@dataclass(frozen=True)
class NodeTree:
    """N nodes: parents (-1 for roots), an order in which parents come first, and where each hangs on its parent.

    `trs` holds `translation` (N, 3), `rotation` (N, 4; x, y, z, w) and `scale` (N, 3); a node whose `matrix` (N, 4,
    4) is not NaN has that instead.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    order: tuple[int, ...]
    trs: dict[str, np.ndarray]
    matrix: np.ndarray
    shown: np.ndarray  # (N,) in the scene that the file shows

    def local(self, node: int, tracks: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """Return a node's transform in its parent, (..., 4, 4); `tracks` are its values over time."""
        if not tracks:
            return self._at_rest[node]
        values = {name: self.trs[name][node] for name in _REST} | tracks
        return matrices_from_trs(values['translation'], values['rotation'], values['scale'])

    @cached_property
    def _at_rest(self) -> np.ndarray:
        of_parts = matrices_from_trs(*(self.trs[name] for name in _REST))
        whole = np.isfinite(self.matrix).all((1, 2))
        return np.where(whole[:, None, None], self.matrix, of_parts)

    def ancestors(self, node: int) -> list[int]:
        """Name the nodes above one, the nearest first."""
        result = []
        while (node := int(self.parents[node])) >= 0:
            result.append(node)
        return result

    def with_ancestors(self, nodes: Iterable[int]) -> set[int]:
        """Return nodes and all above them, each looked at once."""
        result: set[int] = set()
        for start in nodes:
            node = int(start)
            while node >= 0 and node not in result:
                result.add(node)
                node = int(self.parents[node])
        return result

    def with_descendants(self, nodes: Collection[int]) -> set[int]:
        """Return nodes and all below them."""
        result = set(nodes)
        for node in self.order:
            if int(self.parents[node]) in result:
                result.add(node)
        return result

    def worlds(
        self, wanted: list[int], tracks: dict[int, dict[str, np.ndarray]] | None = None, n_times: int = 1
    ) -> np.ndarray:
        """Return world transforms (T, n, 4, 4) of some nodes, from values over time of any."""
        tracks = tracks or {}
        needed = self.with_ancestors(wanted)
        charge('places of nodes over time', n_bytes=128 * n_times * len(needed))
        result: dict[int, np.ndarray] = {}
        resting = self._at_rest
        for node in self.order:
            if node in needed:
                local = self.local(node, tracks[node]) if tracks.get(node) else resting[node]
                parent = int(self.parents[node])
                result[node] = local if parent < 0 else result[parent] @ local
        full = [np.broadcast_to(result[node], (n_times, 4, 4)) for node in wanted]
        return np.stack(full, 1) if full else np.zeros((n_times, 0, 4, 4))


def read_nodes(file: GltfFile) -> NodeTree:
    """Read the nodes.

    Raises:
        BadFileError: a node with two parents or below itself, or a transform that is none.
    """
    entries = file.entries('nodes')
    parents = np.full(len(entries), -1)
    for number, entry in enumerate(entries):
        for child in _indices(file, entry.get('children', []), f'children of nodes[{number}]'):
            if parents[child] >= 0:
                above = ' and '.join(_name(entries, n) for n in (int(parents[child]), number))
                got = f'{_name(entries, child)}, below {above}'
                raise file.fail('a node must have one parent', got)
            parents[child] = number
    order = _parents_first(file, entries, parents)
    trs = {
        name: np.array(
            [_numbers(file, entry, name, rest, number) for number, entry in enumerate(entries)]
        ).reshape(-1, len(rest))
        for name, rest in _REST.items()
    }
    nothing = (np.nan,) * 16
    matrix = np.array([_numbers(file, e, 'matrix', nothing, i) for i, e in enumerate(entries)])
    # Matrices lie column by column.
    matrix = matrix.reshape(-1, 4, 4).transpose(0, 2, 1)
    names = tuple(_name(entries, number) for number in range(len(entries)))
    return NodeTree(names, parents, order, trs, matrix, _shown(file, parents, order))


def _name(entries: list[Entry], number: int) -> str:
    name = entries[number].get('name')
    return shorten(name, 80) if isinstance(name, str) and name.strip() else f'node_{number}'


def _indices(file: GltfFile, stated: object, where: str) -> list[int]:
    if not isinstance(stated, list):
        raise file.fail(f'{where} must be a list of nodes', stated)
    return [file.index('nodes', index, where) for index in stated]


def _parents_first(file: GltfFile, entries: list[Entry], parents: np.ndarray) -> tuple[int, ...]:
    order = outwards(parents)
    if len(order) < len(entries):
        looped = sorted(set(range(len(entries))) - set(order))
        got = f'a loop through {", ".join(_name(entries, n) for n in looped[:4])}'
        raise file.fail('nodes must form trees', got, 'Mend the hierarchy and export anew.')
    return tuple(order)


def _numbers(
    file: GltfFile, entry: Entry, name: str, rest: tuple[float, ...], number: int
) -> tuple[float, ...]:
    result = entry.get(name)
    if result is None:
        return rest
    if (
        not isinstance(result, list)
        or len(result) != len(rest)
        or not all(type(x) in (int, float) and abs(x) < 1e12 for x in result)
    ):
        rule = f'{name} of nodes[{number}] must be {len(rest)} finite numbers'
        raise file.fail(rule, result)
    return tuple(float(x) for x in result)


def _shown(file: GltfFile, parents: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    scenes = file.entries('scenes')
    shown = np.zeros(len(parents), bool)
    if scenes:
        chosen = file.index('scenes', file.document.get('scene', 0), 'scene')
        shown[_indices(file, scenes[chosen].get('nodes', []), f'nodes of scenes[{chosen}]')] = True
    for node in order:
        shown[node] |= parents[node] >= 0 and shown[parents[node]]
    return shown if shown.any() else ~shown
