"""What is known of a specimen before it is seen: poses near rest, sizes near the model's, both sides alike."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from smilfit.body_models import BodyModelData
from smilfit.body_models.sides import mirrored_order
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.rigs.defaults import axes_of_joints, mean_betas, shape_covariance
from smilfit.scans.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.scans.registration.stages import check_number


@dataclass(frozen=True)
class PriorSizes:
    """Standard deviations of what a specimen may be.

    Attributes:
        pose_sd: of the axis-angle of a joint about rest, rad.
        shape_sd: of shape coefficients, in standard deviations of the model's shape space.
        joint_scale_sd: of the logarithms of joint scales.
        asymmetry_sd: of the difference of both sides' logarithms; None for sides that are free.
        limit_sd: how far a joint goes beyond its limits, rad; None where limits do not count.
        joint_offset_sd: of joint offsets, share of the model's extent; None where joints stay at their places.
    """

    pose_sd: float = 0.35
    shape_sd: float = 1.0
    joint_scale_sd: float = 0.1
    asymmetry_sd: float | None = 0.15
    limit_sd: float | None = 0.1
    joint_offset_sd: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for one in fields(self):
            value = getattr(self, one.name)
            # None switches off those that may be None.
            if value is not None or 'None' not in str(one.type):
                check_number('priors', one.name, value, 0.0)


class RegistrationPriors:
    """Quadratic priors of all unknowns, with joint limits.

    Args:
        sizes: standard deviations.
    """

    def __init__(self, surface: PosedSurface, sizes: PriorSizes) -> None:
        data = surface.data
        self.surface, self.sizes = surface, sizes
        if data.n_betas:
            self.shape_precision = np.linalg.pinv(shape_covariance(data)) / sizes.shape_sd**2
            self.shape_mean = mean_betas(data)
        self.pairs = _pairs(data)
        self.axes = axes_of_joints(data)
        # Limits, and how far a joint goes beyond them, rad; None where they do not count.
        self.limits: tuple[np.ndarray, float] | None = None
        if data.joint_limits is not None and sizes.limit_sd is not None:
            self.limits = data.joint_limits, sizes.limit_sd
        self.offset_sd = None if sizes.joint_offset_sd is None else sizes.joint_offset_sd * surface.extent

    def energy(self, at: SurfaceState) -> float:
        """Return the sum of squares in standard deviations."""
        sizes = self.sizes
        turns = self._rotations(at)
        total = float(np.square(turns[1:] / sizes.pose_sd).sum())
        if self.limits is not None:
            limits, sd = self.limits
            total += float(np.square(self._beyond(turns, limits) / sd).sum())
        logs = at.log_joint_scales.numpy()
        total += float(np.square(logs / sizes.joint_scale_sd).sum())
        if sizes.asymmetry_sd is not None:
            a, b = self.pairs
            total += float(np.square((logs[a] - logs[b]) / sizes.asymmetry_sd).sum())
        if self.offset_sd is not None:
            total += float(np.square(at.joint_offsets.numpy() / self.offset_sd).sum())
        if self.surface.data.n_betas:
            off = at.betas.numpy() - self.shape_mean
            total += float(off @ self.shape_precision @ off)
        return total

    def equations(self, at: SurfaceState) -> tuple[Float[np.ndarray, 'P P'], Float[np.ndarray, ' P']]:
        """Return the prior's part of the normal equations.

        Turns are taken as if they added, whatever the present angle; at 1 rad that is off by a twelfth.
        """
        sizes, where = self.sizes, self.surface.slices
        n = self.surface.n_unknowns
        hessian, gradient = np.zeros((n, n)), np.zeros(n)
        diagonal = np.zeros(n)
        turns = self._rotations(at)
        precision = np.full_like(turns, sizes.pose_sd**-2)
        precision[0] = 0
        pull = precision * turns
        hold = np.zeros((len(turns), 3, 3))
        if self.limits is not None:
            limits, sd = self.limits
            beyond = self._beyond(turns, limits)
            hold = self.axes * (beyond != 0)[:, None] * sd**-2 @ self.axes.transpose(0, 2, 1)
            pull = pull + (self.axes @ beyond[..., None])[..., 0] * sd**-2
        diagonal[where['turns']], gradient[where['turns']] = precision.ravel(), pull.ravel()
        logs = at.log_joint_scales.numpy()
        scales = where['log_joint_scales']
        diagonal[scales] = sizes.joint_scale_sd**-2
        gradient[scales] = (logs * sizes.joint_scale_sd**-2).ravel()
        if self.offset_sd is not None:
            offsets = where['joint_offsets']
            diagonal[offsets] = self.offset_sd**-2
            gradient[offsets] = at.joint_offsets.numpy().ravel() * self.offset_sd**-2
        np.fill_diagonal(hessian, diagonal)
        rows = where['turns'].start + 3 * np.arange(len(turns))[:, None] + np.arange(3)
        hessian[rows[:, :, None], rows[:, None, :]] += hold
        if sizes.asymmetry_sd is not None and len(self.pairs[0]):
            a, b = self.pairs
            u = sizes.asymmetry_sd**-2
            ia = scales.start + 3 * a[:, None] + np.arange(3)
            ib = scales.start + 3 * b[:, None] + np.arange(3)
            difference = u * (logs[a] - logs[b])
            for i, sign in ((ia, 1), (ib, -1)):
                gradient[i] += sign * difference
                hessian[i, i] += u
            hessian[ia, ib] -= u
            hessian[ib, ia] -= u
        if self.surface.data.n_betas:
            betas = where['betas']
            hessian[betas, betas] = self.shape_precision
            gradient[betas] = self.shape_precision @ (at.betas.numpy() - self.shape_mean)
        return hessian, gradient

    def _rotations(self, at: SurfaceState) -> np.ndarray:
        return rotmat_to_axis_angle(at.rotations).numpy()

    def _beyond(self, turns: np.ndarray, limits: np.ndarray) -> np.ndarray:
        """Return by how much turns are out of the limits, along the joints' own axes."""
        own = (self.axes.transpose(0, 2, 1) @ turns[..., None])[..., 0]
        out = own - own.clip(limits[..., 0], limits[..., 1])
        out[0] = 0
        return out


def _pairs(data: BodyModelData) -> tuple[np.ndarray, np.ndarray]:
    """Return the joints of both sides; none where names say nothing of sides."""
    try:
        order = mirrored_order(data.joint_names, data)
    except ValueError:
        order = tuple(range(data.n_joints))
    pairs = np.array([(i, j) for i, j in enumerate(order) if i < j], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
