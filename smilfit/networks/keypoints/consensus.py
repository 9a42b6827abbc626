"""Meet in space: one point a keypoint out of the heat maps of all views, with what it leaves open.

Every view offers a few modes a keypoint; two modes of two views make a candidate, and the heat maps of all views vote
for it. Rounds of reweighted least squares on the modes near its images follow. So a view that takes left for right is
outvoted where the others show the point better, and no view is chosen beforehand. Where the distances of an animal's
keypoints are known, all keypoints choose together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.geometry.heatmaps import Moments, WindowedMaps, cell_to_px, px_to_cell
from smilfit.geometry.projection import world_to_camera
from smilfit.geometry.triangulation import meet_pairs
from smilfit.networks.keypoints.keypoint_distances import KeypointDistances
from smilfit.networks.scene_frame import about_their_centre
from smilfit.registry import MODELS
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d

# Of a heat map, below which what is left of it says nothing.
_LEAST_MASS = 1e-4


@dataclass(frozen=True)
class HeatmapModes:
    """Modes of the heat maps, px, and the share of its heat map that each has; 0 in views that are not there."""

    xy: Float[Tensor, 'B C K M 2']
    mass: Float[Tensor, 'B C K M']

    def __getitem__(self, rows: Int[Tensor, ' b'] | Bool[Tensor, ' B']) -> 'HeatmapModes':
        return HeatmapModes(self.xy[rows], self.mass[rows])

    def near(self, observations: Keypoints2d, px: Float[Tensor, 'B C K 2'], width_px: float) -> Keypoints2d:
        """Choose anew: of every map the mode that is likeliest, given where the keypoint should be.

        The prior is a Gaussian about `px`; places that were not seen stay unseen.

        Args:
            observations: what was chosen before.
            px: where a body has its keypoints.
            width_px: the Gaussian's standard deviation.
        """
        off = (self.xy - px.unsqueeze(3)).square().sum(-1) / (2 * width_px**2)
        best = ((self.mass + _LEAST_MASS).log() - off).argmax(-1, keepdim=True)
        xy = self.xy.gather(3, best.unsqueeze(-1).expand(-1, -1, -1, 1, 2)).squeeze(3)
        mass = self.mass.gather(3, best).squeeze(3)
        shown = observations.confidence > 0
        return replace(
            observations,
            xy=torch.where(shown.unsqueeze(-1), xy.to(observations.xy), observations.xy),
            confidence=torch.where(shown, mass.to(observations.confidence), observations.confidence),
        )


@dataclass(frozen=True)
class Consensus:
    """What the views agree on. Lengths are in the world unit, pixels are those of the images that were looked at.

    `covariance` (world unit squared) is of what the heat maps leave open; of a point that one view sees alone it is
    long along the ray. `confidence` in [0, 1] is the chance that two views show the point (of a single view: that it
    does). `pixels` is the mode of each view next to the point's image, `pixel_confidence` the share of the heat map
    there. `modes` are all that were looked at.
    """

    xyz: Float[Tensor, 'B K 3']
    covariance: Float[Tensor, 'B K 3 3']
    confidence: Float[Tensor, 'B K']
    pixels: Float[Tensor, 'B C K 2']
    pixel_confidence: Float[Tensor, 'B C K']
    modes: Float[Tensor, 'B C K M 2']
    mode_mass: Float[Tensor, 'B C K M']

    def keypoints2d(self, names: Sequence[str], cameras: Cameras | None = None) -> Keypoints2d:
        """Return the pixels as observed keypoints."""
        return Keypoints2d(self.pixels, self.pixel_confidence, tuple(names), cameras)

    def heatmap_modes(self) -> HeatmapModes:
        """Return all modes, for a body to choose from."""
        return HeatmapModes(self.modes, self.mode_mass)

    def keypoints3d(self, names: Sequence[str], unit: str | None = None) -> Keypoints3d:
        """Return the points as observed keypoints."""
        return Keypoints3d(self.xyz, self.confidence, tuple(names), unit)


@dataclass(frozen=True)
class _Views:
    """The cameras of a batch about an origin of its own, with all that every step asks for."""

    cameras: Cameras
    mask: Bool[Tensor, 'B C']
    windows: WindowedMaps
    stride: float

    def cells(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project points (B, P, 3): cells (B, C, P, 2), and which have an image in a view that is there."""
        pixels, _, valid = self.cameras.project(points)
        return px_to_cell(pixels, self.stride), valid & self.mask.unsqueeze(-1)


@dataclass(frozen=True)
class _Agreement:
    """How the views see points: the modes near their images, the residuals, and how much each counts."""

    pixels: Float[Tensor, 'B C K 2']
    residual: Float[Tensor, 'B C K 2']
    slope: Float[Tensor, 'B C K 2 3']
    support: Float[Tensor, 'B C K']
    weight: Float[Tensor, 'B C K']
    variance: Float[Tensor, 'B C K']

    @property
    def information(self) -> Float[Tensor, 'B K 3 3']:
        """Sum what the views know of the points, per squared world unit."""
        weighted = self.slope * (self.weight / self.variance)[..., None, None]
        return (weighted.transpose(-1, -2) @ self.slope).sum(1)


@MODELS.register_module()
class MeetInSpace(nn.Module):
    """Find keypoints in space from heat maps of any number of views, in any order; one view will do.

    Has no weights and gives no gradients (see `differentiable_points` for those).

    Args:
        n_modes: peaks of each heat map that are looked at.
        radius: of a mode's window, cells.
        floor: probability below which a heat map's vote no longer falls: what one wrong view can do at most.
        max_candidates: pairs of modes a keypoint; with more, the modes with the most mass are paired.
        n_rounds: of reweighted least squares.
        robust_cells: residual from which a view counts less and less.
        sigma_cells: width of the Gaussian that the heat maps were trained to show; what is wider is doubt.
        error_cells: what a heat map errs by even where it has no doubt, standard deviation an axis.
        depth_sd: standard deviation of a single view's depth, as a share of it.
        min_mass: share of a heat map below which a mode takes no part in a candidate; a flat map has less.
        distances: of the keypoints from each other; None lets each keypoint choose alone.
    """

    def __init__(
        self,
        n_modes: int = 2,
        radius: int = 4,
        floor: float = 1e-3,
        max_candidates: int = 66,
        n_rounds: int = 3,
        robust_cells: float = 2.0,
        sigma_cells: float = 1.25,
        error_cells: float = 0.35,
        depth_sd: float = 0.3,
        min_mass: float = 0.05,
        distances: KeypointDistances | None = None,
    ) -> None:
        super().__init__()
        if n_modes < 1 or radius < 3 or n_rounds < 1 or max_candidates < 1:
            raise ValueError(
                'MeetInSpace: there must be a mode, a round, a candidate and a radius of 3 cells; got '
                f'n_modes={n_modes}, n_rounds={n_rounds}, max_candidates={max_candidates}, radius={radius}.'
            )
        self.n_modes, self.radius, self.floor = n_modes, radius, floor
        self.max_candidates, self.n_rounds = max_candidates, n_rounds
        self.robust_cells, self.sigma_cells, self.error_cells = robust_cells, sigma_cells, error_cells
        self.depth_sd, self.min_mass, self.distances = depth_sd, min_mass, distances

    @torch.no_grad()
    def forward(
        self,
        logits: Float[Tensor, 'B C K h w'],
        stride: float,
        cameras: Cameras,
        view_mask: Bool[Tensor, 'B C'],
        prior: Float[Tensor, ' B'] | float | None = None,
    ) -> Consensus:
        """Let the views meet.

        Args:
            logits: a view outside of the mask may hold anything.
            stride: px a cell.
            cameras: of the images that the heat maps are of, one set a sample; lenses are respected.
            view_mask: which views there are.
            prior: depth (along the optical axis, world unit) of what a single view sees; not needed where every
                sample has two.

        Raises:
            ValueError: a sample without views, or with a single one and no prior.
        """
        self._check(view_mask, prior)
        logits = logits.float()
        if not bool(view_mask.all()):
            logits = logits.masked_fill(~view_mask[..., None, None, None], 0.0)
        maps = logits.flatten(-2).softmax(-1)
        windows = WindowedMaps(maps.unflatten(-1, logits.shape[-2:]), self.radius)
        cameras, origin = about_their_centre(cameras.to(maps.dtype), view_mask)
        views = _Views(cameras, view_mask, windows, stride)
        result, _ = windows.modes(self.n_modes)
        modes = cell_to_px(result.mean, stride)
        start, centre, spread = self._start(views, modes, result.mass * view_mask[..., None, None], prior)
        points, covariance, agreement = self._settle(views, start, centre, spread)
        present = view_mask[..., None].to(maps.dtype)
        return Consensus(
            xyz=points + origin.unsqueeze(1),
            covariance=covariance,
            confidence=_chance_of_two(agreement.weight, view_mask),
            pixels=agreement.pixels * present.unsqueeze(-1),
            pixel_confidence=agreement.support.clamp(0, 1),
            modes=modes * present[..., None, None],
            mode_mass=result.mass * present.unsqueeze(-1),
        )

    @staticmethod
    def _check(view_mask: Tensor, prior: Tensor | float | None) -> None:
        fewest = int(view_mask.sum(1).min())
        if fewest == 0 or (fewest == 1 and prior is None):
            rule = 'have a view' if fewest == 0 else 'have two views where no prior depth is given'
            bad = (view_mask.sum(1) == fewest).nonzero().flatten().tolist()
            raise ValueError(
                f'MeetInSpace: every sample must {rule}; samples {bad} have {fewest}. Drop them, or give prior=...: '
                'the depth of the animal (world unit).'
            )

    def _start(
        self, views: _Views, modes: Tensor, mass: Tensor, prior: Tensor | float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose among all meetings of two modes, by vote or by vote and distance.

        Returns:
            The points, where the animal is (B, K, 3), and how far it reaches from there (B,).
        """
        n_views, n_modes = modes.shape[1], modes.shape[3]
        directions, has_ray = views.cameras.rays(modes.flatten(2, 3))
        directions = directions.unflatten(2, modes.shape[2:4]).transpose(1, 2).flatten(2, 3)
        mass = (mass * has_ray.unflatten(2, modes.shape[2:4])).transpose(1, 2).flatten(2)
        view = torch.arange(n_views, device=mass.device).repeat_interleave(n_modes).expand_as(mass)
        # The likeliest ray first, so that it is there for points that no two rays fix.
        mass, order = mass.topk(self._n_rays(n_views), dim=-1)
        view = view.gather(-1, order)
        directions = directions.gather(2, order.unsqueeze(-1).expand(-1, -1, -1, 3))
        batch = torch.arange(len(mass), device=mass.device)[:, None, None]
        origins = views.cameras.centres()[batch, view]
        a, b = torch.triu_indices(mass.shape[-1], mass.shape[-1], 1, device=mass.device)
        points, meet = meet_pairs(
            origins[:, :, a], directions[:, :, a], origins[:, :, b], directions[:, :, b]
        )
        meet &= (
            (view[..., a] != view[..., b]) & (mass[..., a] > self.min_mass) & (mass[..., b] > self.min_mass)
        )
        points = torch.where(meet.unsqueeze(-1), points, torch.zeros_like(points))
        score = self._votes(views, points).masked_fill(~meet, -torch.inf)
        if self.distances is None:
            best = score.argmax(-1, keepdim=True)
            point = points.gather(2, best.unsqueeze(-1).expand(-1, -1, -1, 3)).squeeze(2)
        else:
            point = self.distances.choose(points, score)
        met = meet.any(-1)
        centre = _medoid(point, met)
        alone = self._along_the_ray(
            views, origins[:, :, 0], directions[:, :, 0], view[..., 0], centre, met, prior
        )
        point = torch.where(met.unsqueeze(-1), point, alone)
        centre = torch.where(met.unsqueeze(-1), centre.unsqueeze(1), alone)
        return point, centre, _reach(point - centre, met)

    def _n_rays(self, n_views: int) -> int:
        """Return how many rays make no more candidates than allowed."""
        n_rays = n_views * self.n_modes
        pairs = n_views * (n_views - 1) // 2 * self.n_modes**2
        if pairs <= self.max_candidates:
            return n_rays
        return min(n_rays, int((1 + (1 + 8 * self.max_candidates) ** 0.5) / 2))

    def _votes(self, views: _Views, points: Float[Tensor, 'B K N 3']) -> Float[Tensor, 'B K N']:
        """Add the logarithms of the probabilities at the points' images."""
        cells, valid = views.cells(points.flatten(1, 2))
        cells, valid = (x.unflatten(2, points.shape[1:3]) for x in (cells, valid))
        share = views.windows.votes(cells) * valid
        return ((share + self.floor).log() * views.mask[..., None, None]).sum(1)

    def _along_the_ray(
        self,
        views: _Views,
        origin: Tensor,
        direction: Tensor,
        view: Tensor,
        middle: Tensor,
        met: Tensor,
        prior: Tensor | float | None,
    ) -> Float[Tensor, 'B K 3']:
        """Place points on single rays: next to the others' centre, or at the prior depth where there are none."""
        centres, present = views.cameras.centres(), views.mask.unsqueeze(-1)
        if prior is None:
            # As far away as the cameras are from each other: all that a rig of parallel views tells.
            depth = (centres.norm(dim=-1, keepdim=True) * present).amax((1, 2))
            depth = torch.where(depth > 0, depth, torch.ones_like(depth))
        else:
            depth = torch.as_tensor(prior, dtype=centres.dtype, device=centres.device).expand(len(centres))
        batch = torch.arange(len(centres), device=centres.device).unsqueeze(1)
        ahead = (views.cameras.R[batch, view, 2] * direction).sum(-1).clamp_min(1e-3)
        by_depth = depth.unsqueeze(1) / ahead
        by_others = ((middle.unsqueeze(1) - origin) * direction).sum(-1)
        by_others = torch.where(met.any(1, keepdim=True) & (by_others > 0), by_others, by_depth)
        return origin + by_others.unsqueeze(-1) * direction

    def _settle(
        self, views: _Views, start: Tensor, middle: Tensor, spread: Tensor
    ) -> tuple[Tensor, Tensor, _Agreement]:
        """Move points to where the modes near their images want them, and say what that leaves open."""
        eye = torch.eye(3, dtype=start.dtype, device=start.device)
        here = views.mask.unsqueeze(-1).to(start)
        depth = world_to_camera(start, views.cameras.R, views.cameras.t)[..., 2]
        distance = (depth.abs() * here).sum(1) / here.sum(1)
        # A wide prior about the animal's place keeps what a single view sees from running along its ray.
        width = torch.minimum(self.depth_sd * distance, spread.unsqueeze(1))
        prior = width.square().reciprocal()[..., None, None] * eye
        point = start
        for _ in range(self.n_rounds):
            agreement = self._look(views, point)
            pull = ((agreement.weight / agreement.variance)[..., None, None] * agreement.slope).transpose(
                -1, -2
            )
            towards = prior @ (middle - point).unsqueeze(-1)
            gradient = (pull @ agreement.residual.unsqueeze(-1)).sum(1) + towards
            point = point + torch.linalg.solve(agreement.information + prior, gradient).squeeze(-1)
        agreement = self._look(views, point)
        scale = _noise_scale(agreement)[..., None, None]
        return point, torch.linalg.inv(agreement.information / scale + prior), agreement

    def _look(self, views: _Views, points: Float[Tensor, 'B K 3']) -> _Agreement:
        pixels, slope, valid = views.cameras.locate(points)
        cells = px_to_cell(pixels, views.stride)
        result = views.windows.near(cells.unsqueeze(-2))
        result = Moments(*(part.squeeze(3) for part in result))
        nearest = cell_to_px(result.mean, views.stride)
        limit = cells.new_tensor([views.windows.width + 1.0, views.windows.height + 1.0])
        inside = ((cells > -2) & (cells < limit)).all(-1)
        support = result.mass * (inside & valid & views.mask.unsqueeze(-1))
        residual = nearest - pixels
        far = residual.square().sum(-1) / (self.robust_cells * views.stride) ** 2
        variance = (result.variance - self.sigma_cells**2).clamp_min(0) + self.error_cells**2
        weight = support / (1 + far).square()
        return _Agreement(nearest, residual, slope, support, weight, variance * views.stride**2)


def _medoid(points: Float[Tensor, 'B K 3'], valid: Bool[Tensor, 'B K']) -> Float[Tensor, 'B 3']:
    """Return the one of the points that is nearest to all others: the animal's centre, whatever a few of them do."""
    far = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')
    total = (far * valid.unsqueeze(1)).sum(-1).masked_fill(~valid, torch.inf)
    return points[torch.arange(len(points), device=points.device), total.argmin(-1)]


def _reach(
    offsets: Float[Tensor, 'B K 3'], valid: Bool[Tensor, 'B K'], times: float = 2.0
) -> Float[Tensor, ' B']:
    """Return some times the mean distance of points from their centre; infinite where there are too few."""
    count = valid.sum(1)
    mean = (offsets.norm(dim=-1) * valid).sum(1) / count.clamp_min(1)
    return torch.where((count >= 3) & (mean > 0), times * mean, torch.inf)


def _noise_scale(agreement: _Agreement, prior_count: float = 4.0) -> Float[Tensor, 'B K']:
    """Estimate by how much variances are too small from the residuals.

    The scale of a frame is a mean with a few residuals that fit, that of a point a mean with a few of the frame's.
    """
    # The square root of the robust weight: a residual that is merely large still tells of noise.
    weight = (agreement.support * agreement.weight).sqrt()
    misfit = (weight * agreement.residual.square().sum(-1) / agreement.variance).sum(1)
    freedom = (2 * weight.sum(1) - 3).clamp_min(0)
    frame = (prior_count + misfit.sum(1)) / (prior_count + freedom.sum(1))
    return (prior_count * frame.unsqueeze(1) + misfit) / (prior_count + freedom)


def _chance_of_two(chance: Float[Tensor, 'B C K'], mask: Bool[Tensor, 'B C']) -> Float[Tensor, 'B K']:
    """Return the chance that two views are right, where each is with its own chance; of a single view, that it is."""
    chance = chance.clamp(0, 1)
    none, one = torch.ones_like(chance[:, 0]), torch.zeros_like(chance[:, 0])
    for c in range(chance.shape[1]):
        none, one = none * (1 - chance[:, c]), one * (1 - chance[:, c]) + none * chance[:, c]
    single = (mask.sum(1) == 1).unsqueeze(1)
    return torch.where(single, 1 - none, 1 - none - one).clamp(0, 1)
