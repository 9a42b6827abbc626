"""Bodies drawn at random: what a network learns a body from where nobody has labelled any."""

import math

import numpy as np
import torch
from torch import Generator, Tensor, nn

from smilfit.body_models.pose_sources import LimitPoses, PoseSource
from smilfit.body_models.shape_mixture import ShapeMixture
from smilfit.body_models.smil import SMIL
from smilfit.registry import MODELS
from smilfit.structures import BodyParams

# Coefficients of a shape space whose model says nothing of their spread.
PLAIN_SD = 1.0


@MODELS.register_module()
class PoseSampler(nn.Module):
    """Draw poses, shapes and sizes of a body, at the origin and not turned.

    Any model will do: what it does not have (limits, shape space, parts, landmarks of unknown place) is not drawn.

    Args:
        body_model: the body.
        poses: where poses come from; `LimitPoses` if None.
        given: parameters of fits or of a data set: shapes and scales are drawn from theirs. None draws shapes from
            the model's distribution.
        scale: the scale about which scales are drawn, world unit per model unit; None takes the median of `given`,
            or 1.
        scale_sd: standard deviation of the logarithm of the scale, beside that of `given`.
        betas_noise: what is added to given shapes, in standard deviations of the model's distribution.
    """

    scale: Tensor
    mixture_weights: Tensor
    mixture_means: Tensor
    mixture_roots: Tensor
    part_sd: Tensor
    part_limit: Tensor
    landmark_sd: Tensor
    given_betas: Tensor
    given_log_scales: Tensor

    def __init__(
        self,
        body_model: SMIL,
        poses: PoseSource | None = None,
        given: BodyParams | None = None,
        scale: float | None = None,
        scale_sd: float = 0.1,
        betas_noise: float = 0.3,
    ) -> None:
        super().__init__()
        data = body_model.data
        self.poses = LimitPoses() if poses is None else poses
        self.poses.bind(data)
        self.scale_sd, self.betas_noise = scale_sd, betas_noise
        mixture = _mixture(body_model)
        self._keep('mixture_weights', mixture.weights)
        self._keep('mixture_means', mixture.means)
        self._keep('mixture_roots', np.stack([_root(cov) for cov in mixture.covs]))
        self._keep('part_sd', [p.sd for p in body_model.part_sizes.values()])
        self._keep('part_limit', [p.limit for p in body_model.part_sizes.values()])
        self._keep('landmark_sd', [data.landmarks[n].sd for n in data.unknown_landmarks])
        kept = None if given is None else _of_fits(given, body_model)
        self._keep('given_betas', np.zeros((0, 0)) if kept is None else kept.betas.numpy())
        median = 1.0 if kept is None else float(kept.scale.median())
        scale = median if scale is None else scale
        if not 0 < scale < math.inf:
            raise ValueError(f'PoseSampler: scale must be positive and finite; got {scale}.')
        logs = np.zeros(0) if kept is None else (kept.scale / median).log().numpy()
        self._keep('given_log_scales', logs)
        self._keep('scale', scale)

    def _keep(self, name: str, values: object) -> None:
        self.register_buffer(name, torch.as_tensor(np.asarray(values), dtype=torch.float32), persistent=False)

    def forward(self, n: int, generator: Generator | None = None) -> BodyParams:
        """Draw n bodies.

        Args:
            n: how many.
            generator: of random numbers, on the module's device; None uses torch's own.
        """

        draw = _Draw(n, self.scale, generator)
        log_scale = self.scale_sd * draw.normal()
        if len(self.given_log_scales):
            log_scale = log_scale + draw.rows(self.given_log_scales)
        # Sizes beyond two standard deviations are no animals that anybody has seen.
        parts = self.part_sd * draw.normal(len(self.part_sd)).clamp(-2, 2)
        marks = self.landmark_sd.unsqueeze(1) * draw.normal(len(self.landmark_sd), 3)
        return BodyParams(
            global_orient=self.scale.new_zeros(n, 3),
            body_pose=self.poses(n, generator),
            betas=self._betas(draw),
            transl=self.scale.new_zeros(n, 3),
            scale=self.scale * log_scale.exp(),
            landmark_offsets=marks if len(self.landmark_sd) else None,
            part_sizes=parts.clamp(-self.part_limit, self.part_limit) if len(self.part_sd) else None,
        )

    def _betas(self, draw: '_Draw') -> Tensor:
        kind = torch.multinomial(self.mixture_weights, draw.n, replacement=True, generator=draw.generator)
        normal = draw.normal(self.mixture_means.shape[1]).clamp(-2, 2)
        off = (self.mixture_roots[kind] @ normal.unsqueeze(-1)).squeeze(-1)
        if len(self.given_betas):
            return draw.rows(self.given_betas) + self.betas_noise * off
        return self.mixture_means[kind] + off


class _Draw:
    """Random numbers for n bodies, of one generator."""

    def __init__(self, n: int, like: Tensor, generator: Generator | None) -> None:
        self.n, self.like, self.generator = n, like, generator

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.n, *shape, generator=self.generator, device=self.like.device)

    def rows(self, of: Tensor) -> Tensor:
        return of[torch.randint(len(of), (self.n,), generator=self.generator, device=self.like.device)]


def _mixture(body: SMIL) -> ShapeMixture:
    """Give the model's distribution of shapes as a mixture, of one kind where it knows no kinds."""
    data = body.data
    if data.shape_mixture is not None:
        return data.shape_mixture
    mean = np.zeros(data.n_betas) if data.shape_mean is None else data.shape_mean
    cov = PLAIN_SD**2 * np.eye(data.n_betas) if data.shape_cov is None else data.shape_cov
    return ShapeMixture(('any',), np.ones(1), mean[None], cov[None])


def _root(covariance: np.ndarray) -> np.ndarray:
    """Give a square root of a covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(values.clip(0))


def _of_fits(given: BodyParams, body: SMIL) -> BodyParams:
    """Keep shapes and scales of finite rows."""
    if given.betas.shape[1] != body.n_betas:
        raise ValueError(
            f'PoseSampler: given betas must have {body.n_betas} coefficients for {body.data.name}; got '
            f'{given.betas.shape[1]}. Are they of another body model?'
        )
    rest = BodyParams.zeros(given.batch_size, body.n_joints, body.n_betas)
    kept = rest.replace(betas=given.betas.detach().cpu().float(), scale=given.scale.detach().cpu().float())
    good = kept.betas.isfinite().all(1) & kept.scale.isfinite() & (kept.scale > 0)
    if not bool(good.any()):
        raise ValueError(
            'PoseSampler: given parameters must have a finite row; got none. Give fitted frames.'
        )
    return kept[good]
