"""Meshes and keypoints of a fit's frames, computed when they are asked for."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from smilfit.body_models import SMIL
from smilfit.structures import BodyParams

# Frames that are computed together, and how many such blocks stay in memory.
BLOCK, KEPT_BLOCKS = 8, 4


class PosedBodies:
    """The body of every frame, a few frames in memory at a time: a recording's meshes would fill it.

    Args:
        body: the body model.
        params: a fit's, one row a frame; a frame that is not finite has no body.
        names: keypoints to compute.
    """

    def __init__(self, body: SMIL, params: BodyParams, names: Sequence[str]) -> None:
        self.body, self.params, self.names = body, params, tuple(names)
        self.faces = body.faces.cpu().numpy()
        self.fitted = params.transl.isfinite().all(1).cpu().numpy()
        self._blocks: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return self.params.batch_size

    def at(self, row: int) -> tuple[Float[np.ndarray, 'V 3'], Float[np.ndarray, 'K 3']] | None:
        """Return vertices and keypoints of a frame, world unit; None of one that was not fitted."""
        if not self.fitted[row]:
            return None
        block = row // BLOCK
        if block not in self._blocks:
            self._blocks[block] = self._computed(block)
        self._blocks.move_to_end(block)
        while len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        vertices, points = self._blocks[block]
        return vertices[row - block * BLOCK], points[row - block * BLOCK]

    def _computed(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        rows = torch.arange(block * BLOCK, min((block + 1) * BLOCK, len(self)))
        with torch.no_grad():
            output = self.body(self.params[rows].to(self.body.v_template), ('vertices', *self.names))
        points = output.select(self.names) if self.names else output.vertices[:, :0]
        return output.vertices.float().cpu().numpy(), points.float().cpu().numpy()
