"""Bodies drawn at random: what a network learns a body from where nobody has labelled any."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.joint_limits import default_joint_limits, from_own_components
from smilfit.body_models.shape_mixture import ShapeMixture
from smilfit.body_models.smil import SMIL
from smilfit.files import BadFileError
from smilfit.files.numpy_files import read_npz
from smilfit.registry import MODELS
from smilfit.structures import BodyParams


def joint_chains(data: BodyModelData) -> tuple[tuple[int, ...], ...]:
    """Part the joints below the root into unbranched chains: a limb, a tail, a piece of a spine.

    Returns:
        Indices of joints, the root not among them; every other joint is in one chain.
    """
    parents = data.parents.tolist()
    children = [[j for j, p in enumerate(parents) if p == parent] for parent in range(len(parents))]
    chains = []
    for first in (j for p, below in enumerate(children) for j in below if p == 0 or len(below) > 1):
        chain = [first]
        while len(children[chain[-1]]) == 1:
            chain.append(children[chain[-1]][0])
        chains.append(tuple(chain))
    return tuple(chains)


def mirrored_joints(data: BodyModelData) -> tuple[np.ndarray, np.ndarray] | None:
    """Find the mirror of poses: which joint takes whose rotation, and the signs of its axis-angle.

    At rest all joints have the model's axes. A mirror across the plane with the normal along axis a turns a rotation
    vector w into its reflection with the sign changed: the component along a stays, the two others change.

    Returns:
        Joints (J,) and signs (3,); None where the model has no pairs, or where these do not lie across an axis.
    """
    if not data.joint_symmetry:
        return None
    place = {name: j for j, name in enumerate(data.joint_names)}
    pairs = np.array([[place[a], place[b]] for a, b in data.joint_symmetry])
    across = np.abs(data.joints[pairs[:, 0]] - data.joints[pairs[:, 1]]).sum(0)
    axis = int(across.argmax())
    if across[axis] < 0.9 * np.linalg.norm(across):
        return None
    order = np.arange(data.n_joints)
    order[pairs[:, 0]], order[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    signs = -np.ones(3)
    signs[axis] = 1.0
    return order, signs


def mirror_partners(points: Float[np.ndarray, 'K 3'], axis: int, tolerance: float) -> Int[np.ndarray, ' K']:
    """Find which point stands where another's mirror image is; itself where none does or it is its own.

    Args:
        points: at rest, in the model's axes; the plane of the mirror goes through their middle.
        axis: across which the sides lie.
        tolerance: how far from the mirror image the other may be, in the points' unit.
    """
    image = points.copy()
    image[:, axis] = points[:, axis].min() + points[:, axis].max() - points[:, axis]
    distance = np.linalg.norm(points[:, None] - image[None], axis=-1)
    partner = distance.argmin(1)
    mutual = (partner[partner] == np.arange(len(points))) & (distance.min(1) <= tolerance)
    return np.where(mutual, partner, np.arange(len(points)))


class PoseSource(nn.Module):
    """Draws poses of one body. A source of your own gives `forward`."""

    def bind(self, data: BodyModelData) -> None:
        """Take what is needed of the body model; called once, before the first draw."""

    def forward(self, n: int, generator: Generator | None = None) -> Float[Tensor, 'n j 3']:
        """Draw n poses: axis-angle of every joint below the root, rad."""
        raise NotImplementedError


@MODELS.register_module()
class LimitPoses(PoseSource):
    """Poses within the joint limits, those of the model or the default ones, crowded about a centre.

    Each component is normal about a centre between the rest pose and the middle of its limits, with another width to
    either side, cut at the limits. A whole pose is drawn calmer or livelier by one factor, so that poses near the
    centre and far from it are both common; corners of many limits at once stay rare.

    Args:
        spread: standard deviation, a share of the way from the centre to each limit.
        towards_middle: the centre, from 0 at the rest pose to 1 at the middle of the limits.
        calm: the least factor on the spread of a whole pose.
    """

    limits: Tensor
    axes: Tensor | None

    def __init__(self, spread: float = 0.5, towards_middle: float = 0.3, calm: float = 0.2) -> None:
        super().__init__()
        self.spread, self.towards_middle, self.calm = spread, towards_middle, calm
        self.register_buffer('limits', torch.zeros(0, 3, 2), persistent=False)
        self.register_buffer('axes', None, persistent=False)

    def bind(self, data: BodyModelData) -> None:
        """Take the limits."""
        limits = data.joint_limits if data.joint_limits is not None else default_joint_limits(data)
        self.limits = torch.as_tensor(limits[1:], dtype=torch.float32)
        axes = data.joint_axes if data.joint_limits is not None else None
        self.axes = None if axes is None else torch.as_tensor(axes[1:], dtype=torch.float32)

    def forward(self, n: int, generator: Generator | None = None) -> Float[Tensor, 'n j 3']:
        """Draw n poses."""
        low, high = self.limits.unbind(-1)
        rest = torch.zeros_like(low).clamp(low, high)
        centre = torch.lerp(rest, (low + high) / 2, self.towards_middle)
        normal = torch.randn(n, *centre.shape, generator=generator, device=centre.device)
        alive = torch.rand(n, 1, 1, generator=generator, device=centre.device)
        normal = (
            self.spread
            * torch.lerp(torch.full_like(alive, self.calm), torch.ones_like(alive), alive)
            * normal
        )
        reach = torch.where(normal > 0, high - centre, centre - low)
        return from_own_components(centre + reach * normal.clamp(-1, 1), self.axes)


@MODELS.register_module()
class GivenPoses(PoseSource):
    """Poses of clips or fits, with the chains of one taken from others, mirrored, and a little noise.

    Args:
        poses: (N, J-1, 3) axis-angle, rad, or the .npz of a fit or of a recording that holds `body_pose`; rows that
            are not finite are left out.
        recombined: how often a chain of joints (limb, tail, piece of the spine) comes from another pose.
        mirrored: how often a pose is mirrored, where the model has left and right.
        noise_rad: standard deviation of what is added to every component.
    """

    poses: Tensor

    def __init__(
        self,
        poses: Float[Tensor, 'N j 3'] | np.ndarray | str | Path,
        recombined: float = 0.5,
        mirrored: float = 0.5,
        noise_rad: float = 0.1,
    ) -> None:
        super().__init__()
        given = read_poses(poses) if isinstance(poses, (str, Path)) else torch.as_tensor(poses)
        self.register_buffer('poses', _finite_rows(given), persistent=False)
        self.recombined, self.mirrored, self.noise_rad = recombined, mirrored, noise_rad
        self._chains: tuple[tuple[int, ...], ...] = ()
        self._mirror: tuple[Tensor, Tensor] | None = None

    def bind(self, data: BodyModelData) -> None:
        """Take chains and sides.

        Raises:
            ValueError: poses of another number of joints.
        """
        if self.poses.shape[1:] != (data.n_joints - 1, 3):
            raise ValueError(
                f'GivenPoses: poses must be (N, {data.n_joints - 1}, 3) for {data.name}; got '
                f'{tuple(self.poses.shape)}. Are they of another body model?'
            )
        self._chains = tuple(tuple(j - 1 for j in chain) for chain in joint_chains(data))
        result = mirrored_joints(data)
        if result is not None:
            order, signs = result
            self._mirror = torch.as_tensor(order[1:] - 1), torch.as_tensor(signs, dtype=torch.float32)

    def forward(self, n: int, generator: Generator | None = None) -> Float[Tensor, 'n j 3']:
        """Draw n poses."""
        device = self.poses.device

        def some() -> Tensor:
            return torch.randint(len(self.poses), (n,), generator=generator, device=device)

        def chosen(share: float) -> Tensor:
            return torch.rand(n, 1, 1, generator=generator, device=device) < share

        drawn = self.poses[some()]
        for chain in self._chains:
            other = self.poses[some()][:, chain]
            drawn[:, chain] = torch.where(chosen(self.recombined), other, drawn[:, chain])
        if self._mirror is not None:
            order, signs = (x.to(device) for x in self._mirror)
            drawn = torch.where(chosen(self.mirrored), drawn[:, order] * signs, drawn)
        return drawn + self.noise_rad * torch.randn(drawn.shape, generator=generator, device=device)


@MODELS.register_module()
class MixedPoses(PoseSource):
    """Draw each pose from one of several sources.

    Args:
        sources: to draw from.
        weights: how often each is drawn from; None for equally often.
    """

    shares: Tensor

    def __init__(self, sources: Sequence[PoseSource], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(sources) if weights is None else list(weights)
        if not sources or len(weights) != len(sources) or min(weights) <= 0:
            raise ValueError(
                f'MixedPoses: weights must be above 0, one a source; got {weights} for {len(sources)} sources.'
            )
        self.sources = nn.ModuleList(sources)
        self.register_buffer('shares', torch.tensor(weights) / sum(weights), persistent=False)

    def _each(self) -> list[PoseSource]:
        return [source for source in self.sources if isinstance(source, PoseSource)]

    def bind(self, data: BodyModelData) -> None:
        """Bind every source."""
        for source in self._each():
            source.bind(data)

    def forward(self, n: int, generator: Generator | None = None) -> Float[Tensor, 'n j 3']:
        """Draw n poses."""
        which = torch.multinomial(self.shares, n, replacement=True, generator=generator)
        drawn = torch.stack([source.forward(n, generator) for source in self._each()])
        return drawn[which, torch.arange(n, device=which.device)]


def read_poses(path: str | Path) -> Float[Tensor, 'N j 3']:
    """Read `body_pose` of an .npz, as tools/fit.py and recordings with known parameters have it.

    Raises:
        BadFileError: no such array, or one of another shape.
    """
    path = Path(path)
    arrays = read_npz(path, ('body_pose',), 'poses')
    pose = arrays.get('body_pose')
    if pose is None or pose.ndim != 3 or pose.shape[-1] != 3:
        got = 'none' if pose is None else pose.shape
        raise BadFileError(
            f'{path}: body_pose must be an array (N, J-1, 3); got {got}. Give the .npz of a fit.'
        )
    return torch.as_tensor(pose)


def _finite_rows(poses: Tensor) -> Tensor:
    good = poses.isfinite().flatten(1).all(1) if poses.ndim == 3 else torch.zeros(0, dtype=torch.bool)
    if not bool(good.any()):
        raise ValueError(
            f'GivenPoses: poses must be (N, J-1, 3) with a finite row; got {tuple(poses.shape)}. Give fitted frames.'
        )
    return poses[good].float()


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
    """Return the model's distribution of shapes as a mixture, of one kind where it knows no kinds."""
    data = body.data
    if data.shape_mixture is not None:
        return data.shape_mixture
    mean = np.zeros(data.n_betas) if data.shape_mean is None else data.shape_mean
    cov = PLAIN_SD**2 * np.eye(data.n_betas) if data.shape_cov is None else data.shape_cov
    return ShapeMixture(('any',), np.ones(1), mean[None], cov[None])


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a square root of a covariance, which may be singular."""
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
