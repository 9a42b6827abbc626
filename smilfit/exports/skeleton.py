"""The skeleton of a fit as other programs have it: joints that hang on their parents by an offset and a rotation."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from smilfit.body_models import SMIL
from smilfit.geometry.kinematic_chain import chain_products
from smilfit.structures import BodyParams


@dataclass(frozen=True)
class PosedSkeleton:
    """Joints of T frames, world unit: rotations and offsets in the parent's frame, the root's in the world's.

    Whatever moved a joint (shape, sizes of parts, scales, offsets) is in its offset, so that rotations and offsets
    alone give the positions.
    """

    rotations: Float[np.ndarray, 'T J 3 3']
    offsets: Float[np.ndarray, 'T J 3']
    positions: Float[np.ndarray, 'T J 3']


def posed_skeleton(body: SMIL, params: BodyParams) -> PosedSkeleton:
    """Pose the skeleton of a body."""
    with torch.no_grad():
        positions = body(params, ('joints',)).joints.double()
    turns = params.rotations().double()
    parents = torch.as_tensor(np.asarray(body.data.parents)).clamp_min(0)
    above = chain_products(turns, body.tree.to('cpu', torch.float64)).index_select(1, parents)
    steps = positions - positions.index_select(1, parents)
    offsets = (above.mT @ steps.unsqueeze(-1)).squeeze(-1)
    offsets[:, 0] = positions[:, 0]
    return PosedSkeleton(turns.numpy(), offsets.numpy(), positions.numpy())
