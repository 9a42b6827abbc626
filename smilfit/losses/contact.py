"""The body against the ground it stands on, and against itself."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.bone_capsules import BoneCapsules
from smilfit.body_models.data import BodyModelData
from smilfit.geometry.surface_search import closest_of_segments
from smilfit.losses.base import BaseLoss, Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class GroundContactLoss(BaseLoss):
    """Squared depth below the ground; where contact is known, squared height above it too, and squared sliding.

    Args:
        contact_weight: factor on the height of points that stand.
        slip_weight: factor on the squared way that a point goes along with contact before and after.
        reduction: `'mean'` over frames and points.
        loss_weight: factor on the whole.
    """

    def __init__(
        self,
        contact_weight: float = 1.0,
        slip_weight: float = 0.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if contact_weight < 0 or slip_weight < 0:
            raise ValueError(
                f'GroundContactLoss: weights must not be negative; got {contact_weight} and {slip_weight}.'
            )
        self.contact_weight = contact_weight
        self.slip_weight = slip_weight
        # Where sliding counts, a frame's terms depend on the one before.
        self.frame_order = int(slip_weight > 0)

    def residual(
        self,
        height: Float[Tensor, 'B K'],
        points: Float[Tensor, 'B K 3'] | None = None,
        contact: Float[Tensor, 'B K'] | None = None,
    ) -> tuple[Residuals, ...]:
        """Return heights, and with contacts the points, whose way from frame to frame counts.

        Args:
            height: above the ground, world unit; negative below.
            points: world points, for sliding.
            contact: how sure it is that a point stands, 0 to 1; None where nothing is known.
        """
        below, count = (height < 0).to(height), float(height.numel())
        weight = below if contact is None else torch.maximum(below, self.contact_weight * contact)
        heights = Residuals(height, weight, count=count)
        if contact is None or points is None or not self.slip_weight:
            return (heights,)
        both = torch.cat((torch.zeros_like(contact[:1]), contact[1:] * contact[:-1]))
        return heights, Residuals(points, self.slip_weight * both, count=count, order=1)


# Distance, as a share of the body's length, by which bones that cross are moved to one side: where they meet
# there is no way out to be seen.
CROSSING = 1e-4
# Residuals are given in multiples of so many rows, so that their number seldom hangs on which frames are together.
ROWS = 8


@LOSSES.register_module()
class SelfPenetrationLoss(BaseLoss):
    """Squared depth to which capsules along the bones overlap, in body lengths; 0 without overlap.

    Approximations: every bone is as thick as the mean shape's rest mesh (times the body's scale), a part at the
    end of a limb is a ball about its joint, and bones that share a joint or overlap at rest are never compared.

    Args:
        radius_factor: on the capsules' radii, to let soft parts touch.
        reduction: `'mean'` over frames and pairs of bones.
        loss_weight: factor on the result.
    """

    def __init__(self, radius_factor: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if radius_factor <= 0:
            raise ValueError(f'SelfPenetrationLoss: radius_factor must be positive; got {radius_factor}.')
        self.radius_factor = radius_factor
        self.register_buffer('bones', None, persistent=False)
        self.register_buffer('reach', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Fit capsules to the model.

        Raises:
            ValueError: no two bones that can meet.
        """
        capsules = BoneCapsules.of(data)
        if not len(capsules.pairs):
            raise ValueError(
                f'SelfPenetrationLoss: {data.name} has no two bones that can meet: all share a joint or overlap at '
                'rest. Leave this term out.'
            )
        self.bones = torch.as_tensor(capsules.ends[capsules.pairs])
        reach = self.radius_factor * capsules.radius[capsules.pairs].sum(1)
        self.reach = torch.as_tensor(reach, dtype=torch.float32)

    def overlap(
        self, joints: Float[Tensor, 'B J 3'], scale: Float[Tensor, ' B'], body_size: Float[Tensor, ' B']
    ) -> Float[Tensor, 'B P']:
        """Measure by how much each pair of bones overlaps, in body lengths.

        Raises:
            ValueError: not bound to a model.
        """
        if self.bones is None:
            raise ValueError('SelfPenetrationLoss: call bind_body(data) with the model first.')
        bones, reach = self.bones.to(joints.device), self.reach.to(joints)
        return capsule_overlap(joints[:, bones], scale.unsqueeze(1) * reach, body_size)

    def residual(
        self,
        joints: Float[Tensor, 'B J 3'],
        scale: Float[Tensor, ' B'],
        body_size: Float[Tensor, ' B'],
    ) -> Residuals:
        """Return the overlaps of the pairs that overlap, of posed joints (world unit) of bodies of known size.

        All others are zero, and so are their slopes: what is differentiated row by row need not hold them. There are
        as many rows as the frame with most overlaps has, in steps of `ROWS`; a mean still counts every pair.
        """
        scale = scale.detach()
        deep = self.overlap(joints.detach(), scale, body_size)
        count = min(-(-max(1, int((deep > 0).sum(1).max())) // ROWS) * ROWS, deep.shape[1])
        pairs = deep.topk(count, dim=1).indices.sort(1).values
        bones, reach = self.bones.to(joints.device)[pairs], self.reach.to(joints)[pairs]
        frames = torch.arange(len(joints), device=joints.device)[:, None, None, None]
        overlap = capsule_overlap(joints[frames, bones], scale.unsqueeze(1) * reach, body_size)
        return Residuals(overlap, count=float(deep.numel()))


def capsule_overlap(
    segments: Float[Tensor, 'B P 2 2 3'], reach: Float[Tensor, 'B P'], body_size: Float[Tensor, ' B']
) -> Float[Tensor, 'B P']:
    """Measure by how much pairs of capsules overlap, in body lengths; 0 where they do not.

    Args:
        segments: the two bones of each pair, each by its two ends.
        reach: sum of the pair's radii.
        body_size: length of each body.
    """
    first, second = segments[:, :, 0], segments[:, :, 1]
    with torch.no_grad():
        s, t = (x.unsqueeze(-1) for x in closest_of_segments(first, second))
    between = torch.lerp(first[..., 0, :], first[..., 1, :], s) - torch.lerp(
        second[..., 0, :], second[..., 1, :], t
    )
    size = body_size.unsqueeze(1)
    between = between + (CROSSING * size).unsqueeze(-1) * _side(first, second, between)
    distance = (between.square().sum(-1) + (CROSSING * size).square()).sqrt()
    return (reach - distance).relu() / size


@torch.no_grad()
def _side(first: Tensor, second: Tensor, between: Tensor) -> Tensor:
    """Return the direction that leads two bones apart: across both of them, on the side where they are."""
    across = torch.linalg.cross(first[..., 1, :] - first[..., 0, :], second[..., 1, :] - second[..., 0, :])
    across = torch.nn.functional.normalize(across, dim=-1)
    return torch.where((across * between).sum(-1, keepdim=True) < 0, -across, across)
