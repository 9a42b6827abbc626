"""What else heat maps said: the modes that a body may choose from, once it is about right."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.structures import Keypoints2d

# Of a heat map, below which what is left of it says nothing.
_LEAST_MASS = 1e-4


@dataclass(frozen=True)
class SeenModes:
    """Modes of the heat maps, px, and the share of its heat map that each has; 0 in views that are not there."""

    xy: Float[Tensor, 'B C K M 2']
    mass: Float[Tensor, 'B C K M']

    def __getitem__(self, rows: Int[Tensor, ' b'] | Bool[Tensor, ' B']) -> 'SeenModes':
        return SeenModes(self.xy[rows], self.mass[rows])

    def near(self, seen: Keypoints2d, px: Float[Tensor, 'B C K 2'], width_px: float) -> Keypoints2d:
        """Choose anew: of every map the mode that is likeliest, given where the keypoint should be.

        The prior is a Gaussian about `px`; places that were not seen stay unseen.

        Args:
            seen: what was chosen before.
            px: where a body has its keypoints.
            width_px: the Gaussian's standard deviation.
        """
        off = (self.xy - px.unsqueeze(3)).square().sum(-1) / (2 * width_px**2)
        best = ((self.mass + _LEAST_MASS).log() - off).argmax(-1, keepdim=True)
        xy = self.xy.gather(3, best.unsqueeze(-1).expand(-1, -1, -1, 1, 2)).squeeze(3)
        mass = self.mass.gather(3, best).squeeze(3)
        shown = seen.confidence > 0
        return replace(
            seen,
            xy=torch.where(shown.unsqueeze(-1), xy.to(seen.xy), seen.xy),
            confidence=torch.where(shown, mass.to(seen.confidence), seen.confidence),
        )
