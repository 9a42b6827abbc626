"""Where sampled poses come from: joint limits, given poses with their chains recombined, or several sources."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.default_limits import default_joint_limits
from smilfit.body_models.joint_axes import from_own_components
from smilfit.body_models.pose_trees import joint_chains, mirrored_joints
from smilfit.files import BadFileError
from smilfit.files.numpy_files import read_npz
from smilfit.registry import MODELS


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
        found = mirrored_joints(data)
        if found is not None:
            order, signs = found
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
