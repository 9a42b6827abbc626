"""How sure a fit is of its parameters and keypoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures.cameras import Cameras


@dataclass(frozen=True)
class SharedUncertainty:
    """How well what all frames share is known, by the frames that it was found from.

    Args:
        names: the parameters, each with how many numbers; `log_scale` is the logarithm of the scale.
        covariance: of all their numbers.
        inverse: of their hessian, the frames' own unknowns eliminated.
        added: the part of `covariance` that comes from what was added to the hessian to keep it invertible.
        unknown: the numbers of which nothing tells.
    """

    names: tuple[tuple[str, int], ...]
    covariance: Float[Tensor, 'q q']
    inverse: Float[Tensor, 'q q']
    added: Float[Tensor, 'q q']
    unknown: Bool[Tensor, ' q']

    def to(self, like: Tensor) -> 'SharedUncertainty':
        """Return it on another tensor's device."""
        return replace(self, **{name: getattr(self, name).to(like.device) for name in SHARED_ARRAYS})


# Its tensors, by name.
SHARED_ARRAYS = ('covariance', 'inverse', 'added', 'unknown')


@dataclass(frozen=True)
class FitCovariance:
    """Gauss-Newton covariances at a solution; what nothing tells of has an infinite variance.

    Args:
        whole: of each frame's unknowns (B, P, P), in the order of `columns`: turns of joints (rad, about the world's
            axes), translation, and the further parameters, those that all frames share last. A function computes them
            when `parameters` is first asked for. None where they are not kept: a file keeps `sd` alone, and so do
            several processes.
        columns: names of the unknowns, such as `'knee.turn_x'`, `'transl_y'`, `'betas[0]'`.
        keypoints: of every keypoint's place, world unit squared; no covariance stands beside an infinite variance.
        keypoint_names: their names.
        noise: estimated standard deviation of a weighted residual; weights are relative to it.
        sd: standard deviation of every unknown; None where `whole` is a matrix.
        noise_by_group: the same as `noise`, by handler key: by view and keypoint, by keypoint, or one for all.
        shared: of what all frames share, where this fit has found it.
        engine: what computed it: `'kernel'`, `'tree'` (the same in torch), `'dense'`, or `''` where nobody said.
    """

    whole: Float[Tensor, 'B P P'] | Callable[[], Tensor | None] | None
    columns: tuple[str, ...]
    keypoints: Float[Tensor, 'B K 3 3']
    keypoint_names: tuple[str, ...]
    noise: float
    sd: Float[Tensor, 'B P'] | None = None
    noise_by_group: Mapping[str, Tensor] | None = None
    shared: SharedUncertainty | None = None
    engine: str = ''

    def __post_init__(self) -> None:
        """Check that something is known of the unknowns."""
        if self.sd is None and not isinstance(self.whole, Tensor):
            raise ValueError('FitCovariance: sd must be given unless whole is a matrix; got none.')

    @cached_property
    def parameters(self) -> Float[Tensor, 'B P P'] | None:
        """Return the covariances of all unknowns, computed now if need be; None where they are not kept."""
        return self.whole() if callable(self.whole) else self.whole

    def keypoint_sd(self) -> Float[Tensor, 'B K 3']:
        """Return the standard deviation of every coordinate, world unit."""
        return self.keypoints.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()

    def in_cameras(self, points: Float[Tensor, 'B N 3'], cameras: Cameras) -> Float[Tensor, 'B C N 2 2']:
        """Carry the keypoints' covariances over to images, px squared.

        They are those of where the fit expects keypoints, what its shared unknowns leave open included: whoever
        compares them with labels adds the labels' own noise. Cameras need not be those of the fit. What is not known
        in space is not in images.

        Args:
            points: the keypoints' places, in the order of `keypoint_names`, world unit.
            cameras: those that look at them.
        """
        _, slope = cameras.to(self.keypoints).linearise(points.to(self.keypoints))
        unknown = ~self.keypoints.isfinite().all(-1).all(-1)
        known = self.keypoints.masked_fill(unknown[..., None, None], 0.0).unsqueeze(-4)
        result = slope @ known @ slope.mT
        eye = torch.eye(2, dtype=torch.bool, device=result.device)
        return torch.where(unknown[:, None, :, None, None], torch.where(eye, torch.inf, 0.0), result)

    def select(self, names: Sequence[str]) -> 'FitCovariance':
        """Pick keypoints by name, in the order given.

        Raises:
            KeyError: an unknown name, with the near ones.
        """
        for name in names:
            if name not in self.keypoint_names:
                raise UnknownNameError(
                    f'FitCovariance: no keypoint {name!r}. {did_you_mean(name, self.keypoint_names)}'
                )
        rows = [self.keypoint_names.index(name) for name in names]
        return replace(self, keypoints=self.keypoints[:, rows], keypoint_names=tuple(names))

    def parameter_sd(self) -> Float[Tensor, 'B P']:
        """Return the standard deviation of every unknown."""
        if self.sd is not None:
            return self.sd
        whole = self.parameters
        if whole is None:
            raise ValueError('FitCovariance: the matrix must be there where sd is not; got none.')
        return whole.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()

    def take(self, rows: Tensor) -> 'FitCovariance':
        """Pick frames; of matrices that are computed when they are asked for the standard deviations stay."""
        whole = self.whole[rows] if isinstance(self.whole, Tensor) else None
        sd = None if self.sd is None else self.sd[rows]
        return replace(self, whole=whole, keypoints=self.keypoints[rows], sd=sd)

    @classmethod
    def cat(cls, parts: 'Sequence[FitCovariance]') -> 'FitCovariance':
        """Put frames one after the other; the noise is the frames' mean square, and matrices are not kept."""
        counts = torch.tensor([float(len(part.keypoints)) for part in parts])
        noises = torch.tensor([part.noise for part in parts])
        noise = float(((counts * noises.square()).sum() / counts.sum().clamp_min(1)).sqrt())
        keypoints, sd = torch.cat([p.keypoints for p in parts]), torch.cat([p.parameter_sd() for p in parts])
        return replace(parts[0], whole=None, keypoints=keypoints, sd=sd, noise=noise, noise_by_group=None)

    def expanded(self, rows: Tensor, count: int) -> 'FitCovariance':
        """Put frames at their places among `count`; the others are NaN: nothing is known of them."""
        if len(rows) == count:
            return self
        sd = None if self.sd is None else _spread(self.sd, rows, count)
        whole = self.whole
        if isinstance(whole, Tensor):
            whole = _spread(whole, rows, count)
        elif whole is not None:
            whole = _Expanded(self, rows, count)
        return replace(self, whole=whole, keypoints=_spread(self.keypoints, rows, count), sd=sd)


@dataclass(frozen=True)
class _Expanded:
    """Matrices put at their places when they are asked for."""

    of: FitCovariance
    rows: Tensor
    count: int

    def __call__(self) -> Tensor | None:
        whole = self.of.parameters
        return None if whole is None else _spread(whole, self.rows, self.count)


def _spread(value: Tensor, rows: Tensor, count: int) -> Tensor:
    return torch.full((count, *value.shape[1:]), torch.nan).to(value).index_copy(0, rows, value)
