"""Choose candidates for all keypoints at once: each where the heat maps want it, all as far apart as in an animal.

Pictorial structures in space (Burenius et al. 2013, Belagiannis et al. 2014), of all pairs of keypoints instead of a
tree of limbs, for any body: what distances an animal has is counted in drawn poses of its model.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.body_models.pose_sampling import PoseSampler

# Poses that distances are counted in, and their seed: the same body has the same distances.
_POSES, _SEED = 1024, 0


class KeypointDistances(nn.Module):
    """How far apart the keypoints of an animal are, in shares of its size, and the choice that respects it.

    Args:
        mean: distances of the keypoints; only their ratios count.
        sd: their standard deviations over poses and shapes, in the same unit.
        tolerance: what every distance may be off by, a share of the mean distance: no rig is the animal.
        cap: energy from which a pair that cannot be costs no more: a keypoint that was seen nowhere must not move
            the others.
        weight: of a pair's energy against the logarithm of the heat maps' probabilities.
        n_candidates: places a keypoint that are weighed.
        apart: places nearer to each other than this are one, a share of the mean distance.
        n_rounds: of message passing.
    """

    mean: Tensor
    sd: Tensor
    pairs: Tensor

    def __init__(
        self,
        mean: Float[Tensor, 'K K'],
        sd: Float[Tensor, 'K K'],
        tolerance: float = 0.1,
        cap: float = 4.0,
        weight: float = 0.5,
        n_candidates: int = 6,
        apart: float = 0.08,
        n_rounds: int = 12,
    ) -> None:
        super().__init__()
        if mean.shape != sd.shape or mean.ndim != 2 or not bool((mean >= 0).all() & (mean.sum() > 0)):
            raise ValueError(
                'KeypointDistances: mean and sd must be (K, K) distances, some above 0; got '
                f'{tuple(mean.shape)} and {tuple(sd.shape)}.'
            )
        if min(tolerance, cap, weight, apart) <= 0 or min(n_candidates, n_rounds) < 1:
            raise ValueError(
                'KeypointDistances: tolerance, cap, weight and apart must be positive, n_candidates and n_rounds at '
                f'least 1; got {tolerance}, {cap}, {weight}, {apart}, {n_candidates} and {n_rounds}.'
            )
        pairs = torch.triu_indices(mean.shape[0], mean.shape[1], 1)
        size = mean[pairs[0], pairs[1]].mean()
        for name, values in (('mean', mean), ('sd', sd), ('pairs', pairs)):
            values = values if name == 'pairs' else values / size
            self.register_buffer(name, values.detach().clone(), persistent=False)
        self.tolerance, self.cap, self.weight = tolerance, cap, weight
        self.n_candidates, self.apart, self.n_rounds = n_candidates, apart, n_rounds

    @classmethod
    @torch.no_grad()
    def of_body(
        cls, sampler: PoseSampler, body_model: nn.Module, names: tuple[str, ...], **options: Any
    ) -> 'KeypointDistances':
        """Count the distances in drawn poses and shapes of a body.

        Args:
            sampler: draws them.
            body_model: the body.
            names: of the keypoints, in order.
            options: see the class.
        """
        device = sampler.scale.device
        drawn = sampler(_POSES, torch.Generator(device).manual_seed(_SEED))
        points = body_model(drawn, need=tuple(names)).keypoints / drawn.scale[:, None, None]
        distances = _distances(points)
        return cls(distances.mean(0), distances.std(0), **options)

    def size(self, points: Float[Tensor, 'B K 3'], valid: Bool[Tensor, 'B K']) -> Float[Tensor, ' B']:
        """Estimate the mean distance of animals' keypoints as a median over pairs; 0 where no pair tells."""
        a, b = self.pairs
        ratio = _distances(points)[:, a, b] / self.mean[a, b]
        known = valid[:, a] & valid[:, b] & (self.mean[a, b] > self.apart)
        return torch.where(known, ratio, torch.nan).nanmedian(1).values.nan_to_num(0.0)

    def choose(
        self, points: Float[Tensor, 'B K N 3'], votes: Float[Tensor, 'B K N']
    ) -> Float[Tensor, 'B K 3']:
        """Choose a place for every keypoint by mean-field message passing between all pairs.

        Args:
            points: candidates.
            votes: logarithm of the probability that the heat maps give each; -inf for none.

        Returns:
            The places; of a keypoint without candidates the first, whatever it is.
        """
        best = votes.argmax(-1, keepdim=True)
        met = votes.isfinite().any(-1)
        size = self.size(_at(points, best).squeeze(2), met)
        points, votes = _distinct(points, votes, self.n_candidates, self.apart * size)
        fits = self._fits(points, votes, size)
        valid = votes.isfinite() & met.unsqueeze(-1)
        votes = votes.masked_fill(~valid, torch.finfo(votes.dtype).min / 4)
        belief = votes.softmax(-1) * valid
        for _ in range(self.n_rounds):
            notes = (fits @ belief.flatten(1).unsqueeze(-1)).squeeze(-1).unflatten(1, votes.shape[1:])
            # Half a step: neighbours that change their minds together would do so for ever.
            belief = (belief + (votes + self.weight * notes).softmax(-1) * valid) / 2
        return _at(points, belief.argmax(-1, keepdim=True)).squeeze(2)

    def _fits(
        self, points: Float[Tensor, 'B K N 3'], votes: Float[Tensor, 'B K N'], size: Float[Tensor, ' B']
    ) -> Float[Tensor, 'B KN KN']:
        """Return the logarithm of how likely the distance of every two candidates is, from -cap to 0."""
        n = points.shape[2]
        share = _distances(points.flatten(1, 2)) / size.clamp_min(1e-12)[:, None, None]
        mean, sd = (x.repeat_interleave(n, 0).repeat_interleave(n, 1) for x in (self.mean, self.sd))
        off = (share - mean).square() / (sd.square() + self.tolerance**2)
        valid = (votes.isfinite() & (size > 0)[:, None, None]).flatten(1)
        same = torch.arange(points.shape[1], device=points.device).repeat_interleave(n)
        counts = valid.unsqueeze(1) & valid.unsqueeze(2) & (same != same.unsqueeze(1))
        return -(0.5 * off).clamp_max(self.cap) * counts


def _distinct(
    points: Float[Tensor, 'B K N 3'], votes: Float[Tensor, 'B K N'], count: int, gap: Float[Tensor, ' B']
) -> tuple[Float[Tensor, 'B K M 3'], Float[Tensor, 'B K M']]:
    """Keep the candidates with the most votes that are not next to one with more."""
    kept, kept_votes = [], []
    for _ in range(min(count, votes.shape[-1])):
        best: Int[Tensor, 'B K 1'] = votes.argmax(-1, keepdim=True)
        point = _at(points, best)
        kept.append(point)
        kept_votes.append(votes.gather(-1, best))
        near = (points - point).norm(dim=-1) <= gap[:, None, None]
        votes = votes.masked_fill(near.scatter(-1, best, True), -torch.inf)
    return torch.cat(kept, 2), torch.cat(kept_votes, -1)


def _at(points: Float[Tensor, 'B K N 3'], index: Int[Tensor, 'B K 1']) -> Float[Tensor, 'B K 1 3']:
    return points.gather(2, index.unsqueeze(-1).expand(-1, -1, -1, 3))


def _distances(points: Float[Tensor, 'B N 3']) -> Float[Tensor, 'B N N']:
    return torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')
