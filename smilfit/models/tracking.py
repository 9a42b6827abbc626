"""Animals over time: who is who in the next frame."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Tracks:
    """What a tracker knows after a frame: N animals that live.

    `position` and `velocity` (a frame) are in the detections' space: points of the world, or boxes (x, y, side) px of
    one view. `missed` counts the frames since each was last seen; `next_identity` is the next newcomer's.
    """

    position: Float[Tensor, 'N D']
    velocity: Float[Tensor, 'N D']
    identity: Int[Tensor, ' N']
    missed: Int[Tensor, ' N']
    next_identity: int = 0

    @classmethod
    def none(cls, n_dims: int) -> 'Tracks':
        """Begin without animals."""
        whole = torch.zeros(0, dtype=torch.long)
        return cls(torch.zeros(0, n_dims), torch.zeros(0, n_dims), whole, whole)


@dataclass(frozen=True)
class Tracker:
    """Follow animals by where they should be by now: constant velocity, the assignment that costs least, a gate.

    Args:
        gate: distance from where an animal is expected beyond which a detection is not it, in the detections' unit.
            Half of an animal's length is a good start.
        max_missed: frames after which an animal that nobody sees is given up.
        position_gain: share of the difference between detection and expectation that the position takes on.
        velocity_gain: the same for the velocity.
        margin: an identity is sure if exchanging it with another's costs at least this share of the gate.
    """

    gate: float
    max_missed: int = 10
    position_gain: float = 0.85
    velocity_gain: float = 0.4
    margin: float = 0.25

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.gate > 0 or self.max_missed < 0:
            raise ValueError(
                f'Tracker: the gate must be positive and max_missed at least 0; got {self.gate} and '
                f'{self.max_missed}.'
            )

    def follow(
        self, tracks: Tracks, detections: Float[Tensor, 'A D']
    ) -> tuple[Tracks, Int[Tensor, ' A'], Bool[Tensor, ' A']]:
        """Take in a frame's detections.

        Args:
            tracks: after the frame before.
            detections: of this frame; there may be none.

        Returns:
            The tracks after this frame, each detection's identity, and whether it is sure: False in a frame in which
            two animals are so near to each other that they may have changed places.
        """
        expected = tracks.position + tracks.velocity
        distance = torch.cdist(expected, detections.to(expected))
        pairs = self._assign(distance)
        track, detection = pairs.unbind(-1)
        position, velocity = expected.clone(), tracks.velocity.clone()
        surprise = detections[detection].to(expected) - expected[track]
        position[track] += self.position_gain * surprise
        # What was not seen for a while moved by the surprise over all these frames.
        since = (tracks.missed[track] + 1).unsqueeze(-1)
        velocity[track] += self.velocity_gain * surprise / since
        missed = tracks.missed + 1
        missed[track] = 0
        identity = torch.full((len(detections),), -1, dtype=torch.long)
        identity[detection] = tracks.identity[track]
        sure = torch.ones(len(detections), dtype=torch.bool)
        sure[detection] = self._sure(distance, track, detection)
        born = (identity < 0).nonzero().flatten()
        identity[born] = tracks.next_identity + torch.arange(len(born))
        lives = missed <= self.max_missed
        new = detections[born].to(expected)
        return (
            replace(
                tracks,
                position=torch.cat((position[lives], new)),
                velocity=torch.cat((velocity[lives], torch.zeros_like(new))),
                identity=torch.cat((tracks.identity[lives], identity[born])),
                missed=torch.cat((missed[lives], torch.zeros_like(born))),
                next_identity=tracks.next_identity + len(born),
            ),
            identity,
            sure,
        )

    def _assign(self, distance: Float[Tensor, 'N A']) -> Int[Tensor, 'n 2']:
        """Pair tracks and detections within the gate: as many as can be, then the nearest."""
        # Beyond the gate a pair costs more than any number of pairs within it.
        beyond = (min(distance.shape) + 1) * self.gate
        cost = torch.where(distance <= self.gate, distance, torch.full_like(distance, beyond))
        # Imported late: it takes a third of a second.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(cost.double().numpy())
        pairs = torch.stack((torch.as_tensor(rows), torch.as_tensor(columns)), -1).long()
        return pairs[distance[pairs[:, 0], pairs[:, 1]] <= self.gate]

    def _sure(
        self, distance: Tensor, track: Int[Tensor, ' n'], detection: Int[Tensor, ' n']
    ) -> Bool[Tensor, ' n']:
        """Say which pairs would cost more by `margin` gates in any exchange of two."""
        own = distance[track, detection]
        across = distance[track][:, detection]
        rise = across + across.T - own - own.unsqueeze(-1)
        rise = rise.fill_diagonal_(torch.inf)
        return (rise >= self.margin * self.gate).all(-1)
