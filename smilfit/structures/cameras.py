"""OpenCV cameras: one set for a session, or one set a frame where crops differ."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.projection import (
    distort,
    fold_radius,
    linearise_projection,
    locate_points,
    project_points,
    undistort,
)
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.registry import UnknownNameError, did_you_mean

# No calibration, and no animal's place, has a larger number in any unit that anybody uses.
LARGEST = 1e9


@dataclass(frozen=True)
class Cameras:
    """C cameras in OpenCV's convention, optionally batched: `x_cam = R x_world + t`, +x right, +y down.

    `K`, `size` (width, height) and projections are in px with pixel centres at integers; `t` is in the world
    unit; `dist` is (k1, k2, p1, p2, k3). Leading dimensions `*b` are those of frames with cameras of their own.
    """

    names: tuple[str, ...]
    K: Float[Tensor, '*b C 3 3']
    R: Float[Tensor, '*b C 3 3']
    t: Float[Tensor, '*b C 3']
    size: Float[Tensor, '*b C 2']
    dist: Float[Tensor, '*b C 5'] | None = None
    unit: str | None = None
    # The lens polynomials' folds, found once.
    fold: Float[Tensor, '*b C'] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the count of names and find the lenses' folds; an ideal lens drops its zeros."""
        if len(self.names) != self.K.shape[-3]:
            raise ValueError(
                f'Cameras: the names must be as many as the cameras; got {len(self.names)} names '
                f'and K of shape {tuple(self.K.shape)}.'
            )
        self._check_size()
        if self.dist is not None and not bool(self.dist.any()):
            object.__setattr__(self, 'dist', None)
        if self.dist is None:
            object.__setattr__(self, 'fold', None)
        elif self.fold is None:
            object.__setattr__(self, 'fold', fold_radius(self.dist))

    def _check_size(self) -> None:
        """Refuse numbers that single precision would choke on; what is not finite `check` finds."""
        for name in ('K', 'R', 't', 'dist'):
            value = getattr(self, name)
            if value is None or not value.numel():
                continue
            largest = float(value.detach().abs().nan_to_num(0.0, 0.0).max())
            if not largest < LARGEST:
                raise ValueError(
                    f'Cameras: {name} must be below {LARGEST:.0e} units; got {largest:.4g}. Calibrate again, or '
                    'convert to the unit of the recording.'
                )

    @classmethod
    def none(cls, unit: str | None = None) -> 'Cameras':
        """Return a rig without a camera, float64: that of points in space."""
        shapes = {'K': (3, 3), 'R': (3, 3), 't': (3,), 'size': (2,)}
        return cls((), **{n: torch.zeros(0, *s, dtype=torch.float64) for n, s in shapes.items()}, unit=unit)

    def __len__(self) -> int:
        return len(self.names)

    def project(
        self, points: Float[Tensor, '*#b P 3']
    ) -> tuple[Float[Tensor, '*b C P 2'], Float[Tensor, '*b C P'], Bool[Tensor, '*b C P']]:
        """Project world points: pixels, depth (world unit), and whether each has an image."""
        return project_points(points, self.K, self.R, self.t, self.dist, self.fold)

    def linearise(
        self, points: Float[Tensor, '*#b P 3']
    ) -> tuple[Float[Tensor, '*b C P 2'], Float[Tensor, '*b C P 2 3']]:
        """Project world points and give the pixels' derivative with respect to them (px per world unit)."""
        return linearise_projection(points, self.K, self.R, self.t, self.dist, self.fold)

    def locate(
        self, points: Float[Tensor, '*#b P 3']
    ) -> tuple[Float[Tensor, '*b C P 2'], Float[Tensor, '*b C P 2 3'], Bool[Tensor, '*b C P']]:
        """Return what `linearise` gives, and whether each point has an image."""
        return locate_points(points, self.K, self.R, self.t, self.dist, self.fold)

    def undistort(
        self, pixels: Float[Tensor, '*b C P 2']
    ) -> tuple[Float[Tensor, '*b C P 2'], Bool[Tensor, '*b C P']]:
        """Move pixels to where an ideal lens of the same K would see them; False beyond the fold."""
        if self.dist is None:
            return pixels, pixels.isfinite().all(-1)
        # Found beside the lens, so that there is one where there is the other.
        fold = None if self.fold is None else self.fold.unsqueeze(-1)
        normalised, valid = undistort(
            self.normalise(pixels).double(), self.dist.unsqueeze(-2).double(), fold=fold
        )
        return self.denormalise(normalised.to(pixels.dtype)), valid

    def distort(self, pixels: Float[Tensor, '*b C P 2']) -> Float[Tensor, '*b C P 2']:
        """Move ideal-lens pixels to where the real lens sees them."""
        if self.dist is None:
            return pixels
        return self.denormalise(distort(self.normalise(pixels), self.dist.unsqueeze(-2)))

    def normalise(self, pixels: Float[Tensor, '*b C P 2']) -> Float[Tensor, '*b C P 2']:
        """Apply K^-1."""
        upper, centre = self.K[..., :2, :2], self.K[..., :2, 2]
        inverse = torch.linalg.inv(upper)
        return (pixels - centre.unsqueeze(-2)) @ inverse.transpose(-1, -2)

    def rays(
        self, pixels: Float[Tensor, '*b C P 2']
    ) -> tuple[Float[Tensor, '*b C P 3'], Bool[Tensor, '*b C P']]:
        """Return the unit direction, in the world, in which each pixel looks; False beyond the lens's fold.

        Gradients flow to the pixels, K and R.
        """
        ideal, valid = self.undistort(pixels)
        xy = self.normalise(ideal)
        directions = torch.cat((xy, torch.ones_like(xy[..., :1])), -1) @ self.R
        return directions / directions.norm(dim=-1, keepdim=True), valid

    def denormalise(self, points: Float[Tensor, '*b C P 2']) -> Float[Tensor, '*b C P 2']:
        """Apply K."""
        return points @ self.K[..., :2, :2].transpose(-1, -2) + self.K[..., :2, 2].unsqueeze(-2)

    def ideal(self) -> 'Cameras':
        """Return the same cameras without distortion (of undistorted images)."""
        return replace(self, dist=None, fold=None)

    def transformed(self, affine: Float[Tensor, '*b C 2 3'], size: Float[Tensor, '*#b C 2']) -> 'Cameras':
        """Return the cameras of cropped and resized images: `u' = A u + b` changes K to [A b; 0 1] K.

        Exact for any affine map and any lens, because distortion acts before K.
        """
        bottom = affine.new_tensor([0.0, 0.0, 1.0]).expand(*affine.shape[:-2], 1, 3)
        K = torch.cat((affine, bottom), -2) @ self.K
        lead = K.shape[:-3]
        return replace(
            self,
            K=K,
            R=self.R.expand(*lead, -1, 3, 3),
            t=self.t.expand(*lead, -1, 3),
            size=size.expand(*lead, -1, 2),
            dist=None if self.dist is None else self.dist.expand(*lead, -1, 5),
            fold=None if self.fold is None else self.fold.expand(*lead, -1),
        )

    def shifted(self, shift: Float[Tensor, 'C 6']) -> 'Cameras':
        """Correct the cameras: `x_cam' = exp(w) x_cam + s`, with (w, s) in rad and the world unit."""
        rotation = axis_angle_to_rotmat(shift[:, :3]).to(self.R)
        moved = (rotation @ self.t.unsqueeze(-1)).squeeze(-1) + shift[:, 3:].to(self.t)
        return replace(self, R=rotation @ self.R, t=moved)

    def refocused(self, log_focal: Float[Tensor, ' n']) -> 'Cameras':
        """Multiply focal lengths by `exp(log_focal)`: one factor for all frames, or one a frame.

        The principal point stays, so it is exact for the cameras of crops: their focal lengths grow alike.
        """
        count = len(log_focal)
        focus = self.K.new_ones(count, 1, 3, 3)
        focus[..., :2, :2] = log_focal.to(self.K).exp().reshape(-1, 1, 1, 1)
        if count == 1:
            return replace(self, K=self.K * focus.reshape(3, 3))
        others = {n: getattr(self, n) for n in ('R', 't', 'size', 'dist', 'fold')}
        plain = self.K.ndim == 3
        spread = {n: x.expand(count, *x.shape) if plain else x for n, x in others.items() if x is not None}
        return replace(self, K=self.K * focus, **spread)

    def check(self, where: str) -> None:
        """Look for cameras that no image can come from.

        Raises:
            ValueError: a number that is not finite, a focal length that is not positive, or R that is no rotation.
        """
        eye = torch.eye(3, dtype=torch.float64, device=self.R.device)
        rotation = self.R.double()
        skewed = (rotation @ rotation.transpose(-1, -2) - eye).abs().amax((-1, -2))
        skewed = torch.maximum(skewed, (torch.linalg.det(rotation.nan_to_num()) - 1).abs())
        focal = self.K.diagonal(dim1=-2, dim2=-1)[..., :2]
        for c, name in enumerate(self.names):
            parts = (self.K[..., c, :, :], self.R[..., c, :, :], self.t[..., c, :])
            if not all(bool(x.isfinite().all()) for x in parts):
                rule, value = 'be finite', 'a number that is not'
            elif not bool((focal[..., c, :] > 0).all()):
                rule, value = 'have a positive focal length', f'{focal[..., c, :].flatten()[:2].tolist()} px'
            elif not bool((skewed[..., c] < 1e-3).all()):
                rule, value = 'have a rotation R', f'one that is off by {float(skewed[..., c].max()):.2g}'
            else:
                continue
            raise ValueError(
                f'{where}: camera {name!r} must {rule}; got {value}. Calibrate it again, or leave it out.'
            )

    def centres(self) -> Float[Tensor, '*b C 3']:
        """Return the cameras' positions in the world."""
        return -(self.R.transpose(-1, -2) @ self.t.unsqueeze(-1)).squeeze(-1)

    def select(self, names: Sequence[str]) -> 'Cameras':
        """Pick cameras by name, in the order given.

        Raises:
            KeyError: an unknown name, with the near ones.
        """
        for name in names:
            if name not in self.names:
                raise UnknownNameError(f'Cameras: no camera {name!r}. {did_you_mean(name, self.names)}')
        index = [self.names.index(name) for name in names]
        return Cameras(
            names=tuple(names),
            K=self.K[..., index, :, :],
            R=self.R[..., index, :, :],
            t=self.t[..., index, :],
            size=self.size[..., index, :],
            dist=None if self.dist is None else self.dist[..., index, :],
            unit=self.unit,
        )

    def map(self, function: Any) -> 'Cameras':
        """Apply a tensor function to every tensor that is present."""
        changes = {n: getattr(self, n) for n in ('K', 'R', 't', 'size', 'dist', 'fold')}
        return replace(self, **{n: function(x) for n, x in changes.items() if x is not None})

    def to(self, *args: Any, **kwargs: Any) -> 'Cameras':
        """Move or cast all tensors, as `Tensor.to`."""
        return self.map(lambda x: x.to(*args, **kwargs))

    def __getitem__(self, index: Any) -> 'Cameras':
        """Select frames of batched cameras; cameras shared by all frames stay as they are."""
        if self.K.ndim == 3:
            return self
        index = slice(index, index + 1 or None) if isinstance(index, int) else index
        return self.map(lambda x: x[index])
