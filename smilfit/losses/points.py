"""Squared distances of points: keypoints, limbs, surfaces and triangulations; robust on request."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.robust import Charbonnier, GemanMcClure, Robust
from smilfit.losses.base import BaseLoss, Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class KeypointMSELoss(BaseLoss):
    """Squared Euclidean distance between keypoints, 2D or 3D, bounded by Geman-McClure.

    Args:
        sigma: distance in the points' unit (px for 2D, the world's for 3D) beyond which a residual counts less
            and less; None never.
        reduction: `'mean'` divides by the sum of confidences.
        loss_weight: factor on the result.
    """

    def __init__(self, sigma: float | None = None, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if sigma is not None and sigma <= 0:
            raise ValueError(f'KeypointMSELoss: sigma must be positive or None; got {sigma}.')
        self.sigma = sigma
        self.robust: Robust | None = None if sigma is None else GemanMcClure(sigma)

    def residual(
        self,
        pred: Float[Tensor, 'B *k D'],
        target: Float[Tensor, 'B *k D'],
        pred_conf: Float[Tensor, '#B *#k'] | None = None,
        target_conf: Float[Tensor, 'B *k'] | None = None,
        keypoint_weight: Float[Tensor, ' K'] | None = None,
    ) -> Residuals:
        """Compare; a point whose confidences or weight are 0 takes no part, whatever its coordinates."""
        weight = torch.ones_like(pred[..., 0]).detach()
        for factor in (pred_conf, target_conf, keypoint_weight):
            weight = weight if factor is None else weight * factor
        eye = torch.eye(pred.shape[-1], dtype=pred.dtype, device=pred.device)
        return Residuals(pred - target, weight, self.robust, pointwise=True, slope=eye)


@LOSSES.register_module()
class KeypointL1Loss(KeypointMSELoss):
    """Distance between keypoints, not squared: a stray costs what it is off.

    Args:
        eps: distance in the points' unit below which the cost is quadratic.
        reduction: `'mean'` divides by the sum of confidences.
        loss_weight: factor on the result.
    """

    def __init__(self, eps: float = 0.1, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(None, reduction, loss_weight)
        self.robust = Charbonnier(eps)


@LOSSES.register_module()
class KeypointStepLoss(BaseLoss):
    """Distance of each keypoint from where it was a frame before, not squared.

    Args:
        eps: distance in the points' unit below which the cost is quadratic.
        reduction: `'mean'` divides by the sum of weights.
        loss_weight: factor on the result.
    """

    frame_order = 1

    def __init__(self, eps: float = 0.1, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.robust = Charbonnier(eps)

    def residual(self, pred: Float[Tensor, 'B *k D'], weight: Float[Tensor, 'B *k']) -> Residuals:
        """Return the points, whose differences over frames count with the weight of the frame they end in."""
        eye = torch.eye(pred.shape[-1], dtype=pred.dtype, device=pred.device)
        return Residuals(pred, weight, self.robust, order=1, pointwise=True, slope=eye)


@LOSSES.register_module()
class LimbLengthLoss(BaseLoss):
    """Squared difference of the lengths of rigid limbs.

    Which limbs are rigid follows from the kinematic tree; the handler hands them in.

    Args:
        convention: the keypoint set to compare in; None for the input's own.
        reduction: `'mean'` divides by the sum of the limbs' confidences.
        loss_weight: factor on the result.
        eps: keeps the gradient of a length finite at length 0, in the world's unit.
    """

    def __init__(
        self,
        convention: str | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        eps: float = 1e-4,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.convention = convention
        self.eps = eps

    def residual(
        self,
        pred: Float[Tensor, 'B K 3'],
        target: Float[Tensor, 'B K 3'],
        limbs: Int[Tensor, 'L 2'],
        pred_conf: Float[Tensor, 'B K'] | None = None,
        target_conf: Float[Tensor, 'B K'] | None = None,
    ) -> Residuals:
        """Compare the lengths of `limbs` (pairs of keypoint indices); a limb is as sure as its worse end."""
        weight = torch.ones_like(pred[:, limbs[:, 0], 0]).detach()
        for confidence in (pred_conf, target_conf):
            if confidence is not None:
                weight = weight * confidence[:, limbs].amin(-1)
        visible = (weight != 0).unsqueeze(-1).unsqueeze(-1)
        return Residuals(self._lengths(pred, limbs, visible) - self._lengths(target, limbs, visible), weight)

    def _lengths(self, points: Tensor, limbs: Tensor, visible: Tensor) -> Tensor:
        # What takes no part may be no number, and has no gradient.
        ends = torch.where(visible, points[:, limbs], 0.0)
        return ((ends[:, :, 0] - ends[:, :, 1]).square().sum(-1) + self.eps**2).sqrt()


@LOSSES.register_module()
class TriangulationConsistencyLoss(BaseLoss):
    """Squared distance of points that seen keypoints triangulate to from the body's own, which stay where they are.

    Teaches cameras: the gradient flows through the triangulation alone.

    Args:
        sigma: distance (world unit; in training the scene's unit) beyond which a residual counts less and less; None
            never. Cameras that are far off put points anywhere.
        reduction: `'mean'` divides by the number of points that count.
        loss_weight: factor on the result.
    """

    def __init__(self, sigma: float | None = None, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if sigma is not None and sigma <= 0:
            raise ValueError(f'TriangulationConsistencyLoss: sigma must be positive or None; got {sigma}.')
        self.sigma = sigma

    def residual(
        self,
        triangulated: Float[Tensor, 'B K 3'],
        target: Float[Tensor, 'B K 3'],
        known: Bool[Tensor, 'B K'],
        keypoint_weight: Float[Tensor, ' K'] | None = None,
    ) -> Residuals:
        """Compare the points that are known."""
        weight = known.to(triangulated.dtype)
        weight = weight if keypoint_weight is None else weight * keypoint_weight
        eye = torch.eye(3, dtype=triangulated.dtype, device=triangulated.device)
        robust = None if self.sigma is None else GemanMcClure(self.sigma)
        return Residuals(triangulated - target.detach(), weight, robust, pointwise=True, slope=eye)


@LOSSES.register_module()
class PointDistanceLoss(BaseLoss):
    """Squared distance of each point to its match, which a handler finds.

    A mean divides by the weight of all points, trimmed and far ones too: otherwise a body could lower
    its loss by moving away.

    Args:
        sigma: distance in the points' unit beyond which a point counts less and less (Geman-McClure); None never.
        trim: share of each frame's points, the farthest, that do not count.
        max_distance: farther points pay for this distance and have no gradient; None for no limit.
        reduction: `'mean'` divides by the sum of weights.
        loss_weight: factor on the result.
        frame_means: divide the weights of a frame's points by their sum: with reduction `'sum'` each frame counts
            alike, however many points it has and however many frames there are.
    """

    def __init__(
        self,
        sigma: float | None = None,
        trim: float = 0.0,
        max_distance: float | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        frame_means: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        for name, value in (('sigma', sigma), ('max_distance', max_distance)):
            if value is not None and value <= 0:
                raise ValueError(f'PointDistanceLoss: {name} must be positive or None; got {value}.')
        if not 0 <= trim < 1:
            raise ValueError(f'PointDistanceLoss: trim must be in [0, 1); got {trim}.')
        self.sigma = sigma
        self.trim = trim
        self.limit = max_distance
        self.frame_means = frame_means

    def residual(
        self, difference: Float[Tensor, 'B *n D'], weight: Float[Tensor, 'B *n'], slope: Tensor | None = None
    ) -> Residuals:
        """Score the differences of points and their matches.

        Args:
            difference: from the match.
            weight: 0 is no point.
            slope: of the difference by the points, where it is not their own.
        """
        if self.frame_means:
            weight = weight.expand(difference.shape[:-1])
            total = weight.sum(tuple(range(1, weight.ndim)), keepdim=True)
            weight = weight / total.clamp_min(torch.finfo(weight.dtype).tiny)
        kept = weight * self._kept(difference.square().sum(-1), weight)
        if slope is None:
            slope = torch.eye(difference.shape[-1], dtype=difference.dtype, device=difference.device)
        robust = GemanMcClure(self.sigma, self.limit)
        count = weight.expand(difference.shape[:-1]).sum(dtype=torch.float64)
        return Residuals(difference, kept, robust, float(count), pointwise=True, slope=slope)

    @torch.no_grad()
    def _kept(self, squared: Tensor, weight: Tensor) -> Tensor:
        """Mark the nearest `1 - trim` of each frame's points."""
        if self.trim == 0:
            return torch.ones_like(squared)
        present = weight.flatten(1) > 0
        sortable = squared.flatten(1).masked_fill(~present, torch.inf)
        rank = sortable.argsort(1).argsort(1)
        keep = ((1 - self.trim) * present.sum(1, keepdim=True)).ceil()
        return (rank < keep).to(squared).reshape(squared.shape)
