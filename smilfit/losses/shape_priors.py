"""How unusual a shape is: its coefficients, and the sizes, offsets and scales of parts."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.part_sizes import default_part_sizes
from smilfit.body_models.shape_mixture import ShapeMixture
from smilfit.losses.base import BaseLoss, Residuals
from smilfit.registry import LOSSES, UnknownNameError, did_you_mean


@LOSSES.register_module()
class ShapePriorLoss(BaseLoss):
    """Squared shape coefficients, or their Mahalanobis distance where the model knows its shapes.

    With a model that carries a mean and covariance, coefficients are measured in standard deviations: the terms
    are the whitened coefficients squared. Without, they are the coefficients squared.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('mean', None, persistent=False)
        self.register_buffer('whitening', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the shape statistics of a model."""
        self.mean = self.whitening = None
        if data.shape_mean is not None:
            self.mean = torch.as_tensor(data.shape_mean, dtype=torch.float32)
        if data.shape_cov is not None:
            self.whitening = whitening_of(torch.as_tensor(data.shape_cov)).float()

    def residual(self, betas: Float[Tensor, 'B S']) -> Residuals:
        """Return the whitened coefficients."""
        centred = betas if self.mean is None else betas - self.mean.to(betas)
        if self.whitening is None:
            slope = torch.eye(betas.shape[1], dtype=betas.dtype, device=betas.device)
        else:
            slope = self.whitening.to(betas).t()
        return Residuals(centred @ slope.t(), slope=slope.unsqueeze(0))


def whitening_of(cov: Float[Tensor, 'S S'], most: float | None = None) -> Float[Tensor, 'S S']:
    """Return the float64 matrix W of a covariance for which `(x - mean) @ W` has the covariance 1.

    Args:
        cov: the covariance.
        most: the largest variance around, the covariance's own if None. A ten-thousandth of it is added to every
            one: directions without variance in the model's own specimens must not be infinitely unlikely.
    """
    cov = cov.double()
    floor = 1e-4 * max(float(cov.diagonal().max()) if most is None else most, 1e-12)
    factor = torch.linalg.cholesky(cov + floor * torch.eye(len(cov), dtype=cov.dtype))
    return torch.linalg.inv(factor).t().contiguous()


@LOSSES.register_module()
class ShapeMixturePriorLoss(ShapePriorLoss):
    """The nearest kind's Gaussian: `min_m d' P_m d + log det C_m - 2 log w_m`, less the least such constant.

    Twice a negative log-likelihood (max-mixture, Olson and Agarwal 2013): with reduction `'sum'` and the weight 1 it
    is as strong as the model file's mixture says beside residuals in units of their noise. A model without a mixture
    has one kind: `ShapePriorLoss`.
    """

    means: Tensor | None
    factors: Tensor | None
    offsets: Tensor | None

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        for name in ('means', 'factors', 'offsets'):
            self.register_buffer(name, None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the mixture of a model."""
        super().bind_body(data)
        self.means = self.factors = self.offsets = None
        if data.shape_mixture is not None:
            self.use_mixture(data.shape_mixture)

    def use_mixture(self, mixture: ShapeMixture) -> None:
        """Take another mixture over the same shape space, such as one that a training learns."""
        old = self.mean if self.means is None else self.means
        device = torch.device('cpu') if old is None else old.device
        # One floor for all kinds: what none varies in must not be infinitely unlikely.
        most = max(float(cov.diagonal().max()) for cov in mixture.covs)
        factors = torch.stack([whitening_of(torch.as_tensor(cov), most) for cov in mixture.covs])
        log_det = -2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
        offsets = log_det - 2 * torch.as_tensor(mixture.weights).log()
        self.means = torch.as_tensor(mixture.means, dtype=torch.float32, device=device)
        self.factors = factors.float().to(device)
        self.offsets = (offsets - offsets.min()).float().to(device)

    def kind_of(self, betas: Float[Tensor, 'B S']) -> Int[Tensor, ' B']:
        """Return which kind is the nearest; 0 where the model has one."""
        kinds = self._kinds(betas.detach())
        if kinds is None:
            return torch.zeros(len(betas), dtype=torch.long, device=betas.device)
        return _nearest(*kinds[:2])

    def residual(self, betas: Float[Tensor, 'B S']) -> Residuals:
        """Return the coefficients as the nearest kind whitens them, and the root of its constant.

        The slope is one matrix where all bodies are of one kind.
        """
        kinds = self._kinds(betas)
        if kinds is None:
            return super().residual(betas)
        white, offsets, factors = kinds
        kind = _nearest(white.detach(), offsets)
        rows = torch.arange(len(kind), device=kind.device)
        value = torch.cat((white[rows, kind], offsets[kind].sqrt().unsqueeze(1)), 1)
        slope = factors[kind[:1] if bool((kind == kind[:1]).all()) else kind].transpose(1, 2)
        slope = torch.cat((slope, torch.zeros_like(slope[:, :1])), 1)
        return Residuals(value, count=float(betas.numel()), slope=slope)

    def _kinds(self, betas: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return coefficients as each of M kinds whitens them (B, M, S), the kinds' constants (M,) and matrices."""
        if self.means is None or self.offsets is None or self.factors is None:
            return None
        factors = self.factors.to(betas)
        white = torch.einsum('bms,mst->bmt', betas.unsqueeze(1) - self.means.to(betas), factors)
        return white, self.offsets.to(betas), factors


def _nearest(white: Tensor, offsets: Tensor) -> Tensor:
    return (white.square().sum(-1) + offsets).argmin(1)


@LOSSES.register_module()
class PartSizePriorLoss(BaseLoss):
    """Squared sizes of parts in standard deviations of the model file, and a steep wall beyond their limits.

    A mean is over frames, of their sums: for sizes that a clip shares, the weight 1 is the statistical one where
    keypoints' squared residuals, too, are in standard deviations and summed (`reduction='sum'`).

    Args:
        wall: by how much beyond a limit a size costs as much as one standard deviation, a share.
        reduction: of the terms.
        loss_weight: factor on the result.
    """

    def __init__(self, wall: float = 0.01, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if not wall > 0:
            raise ValueError(f'PartSizePriorLoss: wall must be positive; got {wall}.')
        self.wall = wall
        self.register_buffer('precision_root', None, persistent=False)
        self.register_buffer('limits', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the standard deviations and limits of a model's parts."""
        parts = (data.part_sizes or default_part_sizes(data)).values()
        self.precision_root = torch.tensor([p.sd for p in parts], dtype=torch.float64).reciprocal()
        self.limits = torch.tensor([p.limit for p in parts], dtype=torch.float64)

    def residual(self, part_sizes: Float[Tensor, 'B G']) -> tuple[Residuals, ...]:
        """Return sizes in standard deviations, and how far they are beyond their limits.

        Raises:
            ValueError: the model is not known yet.
        """
        if self.precision_root is None:
            raise ValueError('PartSizePriorLoss: call bind_body(data) with the model first.')
        root, limit, count = self.precision_root.to(part_sizes), self.limits.to(part_sizes), len(part_sizes)
        beyond = (part_sizes.abs() - limit).relu()
        side = part_sizes.sign() * (beyond > 0)
        wall = Residuals(
            beyond,
            factor=self.wall**-2,
            pointwise=True,
            slope=torch.diag_embed(side.detach()),
            interval=torch.stack((-limit, limit), -1),
            count=float(count),
        )
        spread = Residuals(
            part_sizes * root, pointwise=True, slope=torch.diag_embed(root), count=float(count)
        )
        return spread, wall


@LOSSES.register_module()
class TiedJointScalePriorLoss(BaseLoss):
    """Squared logarithms of joint scales, and of what tied joints differ from their mean: legs are longer as legs.

    The sides of the model's `joint_symmetry` are tied, and the joints of each named group. Where a group and a
    side overlap, all of them are one.

    Args:
        groups: joint groups of the model file.
        tie: how many times more a difference within a tie costs than a scale.
        reduction: of the mean over joints and axes.
        loss_weight: factor on the result.
    """

    def __init__(
        self,
        groups: Sequence[str] = (),
        tie: float = 100.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if tie < 0:
            raise ValueError(f'TiedJointScalePriorLoss: tie must not be negative; got {tie}.')
        self.groups, self.tie = tuple(groups), tie
        self.register_buffer('deviation', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the sides and groups of a model.

        Raises:
            KeyError: a group that the model does not have.
        """
        for group in self.groups:
            if group not in data.joint_groups:
                raise UnknownNameError(
                    f'TiedJointScalePriorLoss: {data.name} has no joint group {group!r}. '
                    f'{did_you_mean(group, data.joint_groups)}'
                )
        index = {name: j for j, name in enumerate(data.joint_names)}
        label = list(range(data.n_joints))
        for members in (*data.joint_symmetry, *(data.joint_groups[g] for g in self.groups)):
            joined = {label[index[m]] for m in members}
            label = [min(joined) if value in joined else value for value in label]
        same = torch.tensor([[float(a == b) for b in label] for a in label], dtype=torch.float64)
        self.deviation = (torch.eye(len(label)) - same / same.sum(1, keepdim=True)).float()

    def residual(self, log_joint_scales: Float[Tensor, 'B J 3']) -> Residuals:
        """Return scales, and what each differs from the mean of those it is tied to."""
        deviation = self._deviation(log_joint_scales)
        rows = torch.cat((torch.eye(len(deviation)).to(deviation), self.tie**0.5 * deviation))
        value = torch.einsum('ij,bjc->bic', rows, log_joint_scales)
        axes = torch.eye(3, dtype=deviation.dtype, device=deviation.device)
        # The mean is over joints and axes, not over the differences too.
        count = float(log_joint_scales.numel())
        return Residuals(value, count=count, slope=torch.kron(rows, axes).unsqueeze(0))

    def _deviation(self, like: Tensor) -> Tensor:
        if self.deviation is None:
            raise ValueError('TiedJointScalePriorLoss: call bind_body(data) with the model first.')
        return self.deviation.to(like)


class _JointSquaresLoss(BaseLoss):
    """Squared numbers of every joint."""

    def residual(self, extras: Float[Tensor, 'B J 3']) -> Residuals:
        """Return the numbers."""
        eye = torch.eye(3, dtype=extras.dtype, device=extras.device)
        return Residuals(extras, pointwise=True, slope=eye)


@LOSSES.register_module()
class JointScalePriorLoss(_JointSquaresLoss):
    """Squared logarithms of the joints' scales: bones half or twice as long cost the same."""


@LOSSES.register_module()
class JointOffsetPriorLoss(_JointSquaresLoss):
    """Squared joint offsets as shares of the body's length, so that the model's unit does not matter."""


@LOSSES.register_module()
class LandmarkOffsetPriorLoss(BaseLoss):
    """Squared offsets of landmarks in standard deviations of the model file.

    A mean is over frames, of their sums: for offsets that a clip shares, the weight 1 is the statistical one where
    keypoints' squared residuals, too, are in standard deviations and summed (`reduction='sum'`).
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('precision_root', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the standard deviations of a model's landmarks."""
        sd = [data.landmarks[name].sd for name in data.unknown_landmarks]
        self.precision_root = torch.tensor(sd, dtype=torch.float64).reciprocal()

    def residual(self, landmark_offsets: Float[Tensor, 'B K 3']) -> Residuals:
        """Return offsets in standard deviations.

        Raises:
            ValueError: the model is not known yet.
        """
        if self.precision_root is None:
            raise ValueError('LandmarkOffsetPriorLoss: call bind_body(data) with the model first.')
        root = self.precision_root.to(landmark_offsets)
        slope = root[:, None, None] * torch.eye(3, dtype=root.dtype, device=root.device)
        return Residuals(
            landmark_offsets * root[:, None],
            pointwise=True,
            slope=slope,
            count=float(len(landmark_offsets)),
        )


@LOSSES.register_module()
class FocalPriorLoss(BaseLoss):
    """Squared logarithm of the factor on focal lengths, in standard deviations.

    Args:
        sd: of the logarithm; 0.3 thinks two thirds of all focal lengths to be within a third of the guess.
        reduction: over frames.
        loss_weight: factor on the result.
    """

    def __init__(self, sd: float = 0.3, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if sd <= 0:
            raise ValueError(f'FocalPriorLoss: sd must be positive; got {sd}.')
        self.sd = sd

    def residual(self, log_focal: Float[Tensor, 'B 1']) -> Float[Tensor, 'B 1']:
        """Return logarithms of factors on focal lengths, in standard deviations."""
        return log_focal / self.sd
