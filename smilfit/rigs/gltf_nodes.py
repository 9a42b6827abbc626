"""The tree of a glTF file's nodes, and where they stand in the world."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from smilfit.files import charge, shorten
from smilfit.rigs.gltf_file import GltfFile
from smilfit.rigs.transforms import matrices_from_trs

_REST = {'translation': (0.0, 0.0, 0.0), 'rotation': (0.0, 0.0, 0.0, 1.0), 'scale': (1.0, 1.0, 1.0)}


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
        """Give a node's transform in its parent, (..., 4, 4); `tracks` are its values over time."""
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
        found = []
        while (node := int(self.parents[node])) >= 0:
            found.append(node)
        return found

    def with_ancestors(self, nodes: Iterable[int]) -> set[int]:
        """Give nodes and all above them, each looked at once."""
        found: set[int] = set()
        for start in nodes:
            node = int(start)
            while node >= 0 and node not in found:
                found.add(node)
                node = int(self.parents[node])
        return found

    def with_descendants(self, nodes: Collection[int]) -> set[int]:
        """Give nodes and all below them."""
        found = set(nodes)
        for node in self.order:
            if int(self.parents[node]) in found:
                found.add(node)
        return found

    def worlds(
        self, wanted: list[int], tracks: dict[int, dict[str, np.ndarray]] | None = None, n_times: int = 1
    ) -> np.ndarray:
        """Give world transforms (T, n, 4, 4) of some nodes, from values over time of any."""
        tracks = tracks or {}
        needed = self.with_ancestors(wanted)
        charge('places of nodes over time', n_bytes=128 * n_times * len(needed))
        found: dict[int, np.ndarray] = {}
        resting = self._at_rest
        for node in self.order:
            if node in needed:
                local = self.local(node, tracks[node]) if tracks.get(node) else resting[node]
                parent = int(self.parents[node])
                found[node] = local if parent < 0 else found[parent] @ local
        full = [np.broadcast_to(found[node], (n_times, 4, 4)) for node in wanted]
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
                raise file.fail('a node must have one parent', got, 'Export the file anew.')
            parents[child] = number
    order = _outwards(file, entries, parents)
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


def _name(entries: list[dict[str, Any]], number: int) -> str:
    name = entries[number].get('name')
    return shorten(name, 80) if isinstance(name, str) and name.strip() else f'node_{number}'


def _indices(file: GltfFile, found: object, where: str) -> list[int]:
    if not isinstance(found, list):
        raise file.fail(f'{where} must be a list of nodes', found, 'Export the file anew.')
    return [file.index('nodes', index, where) for index in found]


def _outwards(file: GltfFile, entries: list[dict[str, Any]], parents: np.ndarray) -> tuple[int, ...]:
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(parents.tolist()):
        children.setdefault(parent, []).append(node)
    order, waiting = [], children.get(-1, [])[::-1]
    while waiting:
        order.append(waiting.pop())
        waiting += children.get(order[-1], [])[::-1]
    if len(order) < len(entries):
        looped = sorted(set(range(len(entries))) - set(order))
        got = f'a loop through {", ".join(_name(entries, n) for n in looped[:4])}'
        raise file.fail('nodes must form trees', got, 'Mend the hierarchy and export anew.')
    return tuple(order)


def _numbers(
    file: GltfFile, entry: dict[str, Any], name: str, rest: tuple[float, ...], number: int
) -> tuple[float, ...]:
    found = entry.get(name)
    if found is None:
        return rest
    good = isinstance(found, list) and len(found) == len(rest)
    if not good or not all(type(x) in (int, float) and abs(x) < 1e12 for x in found):
        rule = f'{name} of nodes[{number}] must be {len(rest)} finite numbers'
        raise file.fail(rule, found, 'Export the file anew.')
    return tuple(float(x) for x in found)


def _shown(file: GltfFile, parents: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    scenes = file.entries('scenes')
    shown = np.zeros(len(parents), bool)
    if scenes:
        chosen = file.index('scenes', file.document.get('scene', 0), 'scene')
        shown[_indices(file, scenes[chosen].get('nodes', []), f'nodes of scenes[{chosen}]')] = True
    for node in order:
        shown[node] |= parents[node] >= 0 and shown[parents[node]]
    return shown if shown.any() else ~shown
