"""Scans: points on the body's surface that nobody named."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.handlers.inputs import BaseInput
from smilfit.handlers.keypoint_input import without_gaps
from smilfit.registry import INPUTS


@INPUTS.register_module()
class PointCloudInput(BaseInput):
    """Points of the body's surface, in the world's unit; as many a frame as there are.

    Args:
        points: (B, N, 3), or one (N, 3) a frame.
        mask: where there is a point, for padded points; None for all.
        normals: outward unit normals, in the form of the points.
        confidence: weights, in the form of the points; points that are no numbers take none and are counted.
        handler_key: the handler's.
    """

    rows = ('points', 'confidence', 'normals')

    def __init__(
        self,
        points: Float[Tensor, 'B N 3'] | Sequence[Float[Tensor, '_ 3']],
        mask: Bool[Tensor, 'B N'] | None = None,
        normals: Float[Tensor, 'B N 3'] | Sequence[Float[Tensor, '_ 3']] | None = None,
        confidence: Float[Tensor, 'B N'] | Sequence[Float[Tensor, ' _']] | None = None,
        handler_key: str = 'point_cloud',
    ) -> None:
        self.handler_key = handler_key
        counts = [len(p) for p in points]
        xyz = _padded(points)
        there = (
            torch.arange(xyz.shape[1], device=xyz.device) < torch.tensor(counts, device=xyz.device)[:, None]
        )
        weight = there.to(xyz)
        for name, value in (('normals', normals), ('confidence', confidence)):
            if value is not None and [len(v) for v in value] != counts:
                raise ValueError(
                    f'PointCloudInput: {name} must be as many as the points; got {[len(v) for v in value]} for '
                    f'{counts}.'
                )
        if mask is not None:
            weight = weight * mask
        if confidence is not None:
            weight = weight * _padded(confidence)
        weight, self._n_masked = without_gaps(xyz, weight)
        if bool((weight < 0).any()):
            raise ValueError('PointCloudInput: confidences must not be negative. Mask bad points.')
        self.confidence = weight
        self.points = torch.where((weight > 0).unsqueeze(-1), xyz, torch.zeros_like(xyz))
        self.normals = None if normals is None else torch.nn.functional.normalize(_padded(normals), dim=-1)
        self._trees: list[tuple[Any, np.ndarray] | None] | None = None

    @property
    def n_masked(self) -> int:
        """How many points had coordinates that are no numbers."""
        return self._n_masked

    @property
    def present(self) -> Bool[Tensor, 'B N']:
        """Where there is a point."""
        return self.confidence > 0

    def observed(self) -> Bool[Tensor, ' B']:
        """Say which frames have a point."""
        return self.present.any(1)

    def to(self, *args: Any, **kwargs: Any) -> 'PointCloudInput':
        """Move or cast."""
        moved = super().to(*args, **kwargs)
        moved._trees = None
        return moved

    def __getitem__(self, index: Any) -> 'PointCloudInput':
        """Select frames."""
        chosen = super().__getitem__(index)
        if self._trees is not None:
            chosen._trees = [self._trees[i] for i in rows_of(index, len(self._trees))]
        return chosen

    @torch.no_grad()
    def nearest(self, vertices: Float[Tensor, 'B V 3']) -> Int[Tensor, 'B V']:
        """Find the nearest observed point of its frame to every vertex; 0 in a frame without points.

        The scan does not move, so its trees are built once.
        """
        if self._trees is None:
            self._trees = [_tree(p, o) for p, o in zip(self.points.cpu(), self.present.cpu())]
        found = np.zeros(vertices.shape[:2], dtype=np.int64)
        for row, rows, tree in zip(found, vertices.detach().cpu().numpy(), self._trees):
            if tree is not None:
                row[:] = tree[1][tree[0].query(rows)[1]]
        return torch.from_numpy(found).to(vertices.device)


def rows_of(index: Any, count: int) -> list[int]:
    """List the frames that an index picks."""
    index = slice(index, index + 1 or None) if isinstance(index, int) else index
    return torch.arange(count)[index.cpu() if isinstance(index, Tensor) else index].tolist()


def _tree(points: Tensor, observed: Tensor) -> tuple[Any, np.ndarray] | None:
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.spatial import cKDTree

    index = observed.nonzero().squeeze(1).numpy()
    return (cKDTree(points.numpy()[index]), index) if len(index) else None


def _padded(values: Tensor | Sequence[Tensor]) -> Tensor:
    return values if isinstance(values, Tensor) else torch.nn.utils.rnn.pad_sequence(list(values), True)
