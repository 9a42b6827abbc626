"""A posed tree of joints to be fitted to seen points, and the answer, in plain tensors."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_NOT_FLOATS = ('parents', 'point_joint', 'free_joints', 'fit_coefficients')
_ALWAYS_BY_FRAME = ('targets3d', 'weights3d', 'xy', 'weights2d')
# One for all frames or by frame.
_BY_FRAME = (
    *_ALWAYS_BY_FRAME, 'bones', 'point_offset', 'camera_K', 'camera_R', 'camera_t', 'camera_dist', 'camera_fold'
)  # fmt: skip
_SEEN_3D = ('targets3d', 'weights3d', 'sigma3d')
_SEEN_2D = ('xy', 'weights2d', 'sigma2d', 'camera_K', 'camera_R', 'camera_t')


@dataclass(frozen=True)
class ChainState:
    """The variables of a tree, by frame.

    Args:
        rotations: of every joint in its parent's frame; the root first, in the world's.
        transl: world unit.
        log_scale: logarithm of world units per model unit.
        coefficients: of everything linear in the bones and the skin (shape, expression, joint offsets); S may be 0.
    """

    rotations: Float[Tensor, 'B J 3 3']
    transl: Float[Tensor, 'B 3']
    log_scale: Float[Tensor, ' B']
    coefficients: Float[Tensor, 'B S']

    def take(self, index: Int[Tensor, ' n']) -> 'ChainState':
        """Return some frames."""
        return ChainState(*(v.index_select(0, index) for v in vars(self).values()))

    def put(self, index: Int[Tensor, ' n'], part: 'ChainState') -> 'ChainState':
        """Replace some frames."""
        return ChainState(
            *(v.index_copy(0, index, p) for v, p in zip(vars(self).values(), vars(part).values()))
        )

    def where(self, mask: Bool[Tensor, ' B'], other: 'ChainState') -> 'ChainState':
        """Take the other's frames where the mask holds."""
        pairs = zip(vars(self).values(), vars(other).values())
        return ChainState(*(torch.where(mask.view(-1, *[1] * (v.ndim - 1)), o, v) for v, o in pairs))


@dataclass(frozen=True)
class ChainProblem:
    """Least squares of a tree's points, frame by frame.

    A joint stands at `p_j = p_parent + G_parent bone_j` with `G_j = G_parent R_j` and
    `bone_j = bones_j + bone_dirs_j c`; a point is a weighted mean of P rigid points,
    `x = exp(log_scale) sum_p share_p (p_j + G_j (offset_p + dirs_p c)) + transl`. The energy of a frame is

        sum w rho(|x - target|^2) + sum w rho(|pixel - xy|^2) + sum_j pose_weight_j |log R_j|^2
        + limit_weight sum violation^2 + (c - mean)^T precision (c - mean)
        + sum_i coefficient_limit_weight_i violation_i^2 + log_scale_weight log_scale^2

    with `rho(s) = s / (1 + s / sigma^2)` (Geman and McClure 1987; sigma inf is a plain square). Pixels of points
    that no camera sees are those of `smilfit.geometry.projection`. All floats are of one type and on one device.

    Args:
        parents: every joint's parent, before it; the root's is negative.
        bones: a joint's offset from its parent at rest, model unit; the root's place at rest. One for all or by
            frame.
        bone_dirs: change of the bones by the coefficients; None where they leave the joints.
        start: where the fit begins. What is not free stays as it is.
        free_joints: whose rotation is fitted.
        fit_transl: fit the translation.
        fit_scale: fit the scale.
        fit_coefficients: which coefficients are fitted.
        point_joint: the joints that carry a point.
        point_share: their shares, of sum 1; 0 pads.
        point_offset: the rigid points in their joints' frames, model unit. One for all or by frame.
        point_dirs: change of the offsets by the coefficients; None where they leave them.
        targets3d: seen places, world unit; with `weights3d` (0 for missing) and `sigma3d`, or all None.
        xy: seen places in px; with `weights2d` (0 for missing), `sigma2d` and the cameras, or all None.
        camera_K: px; one for all frames or by frame; so are the other camera fields, each by itself.
        camera_R: world to camera.
        camera_t: world to camera.
        camera_dist: lens coefficients (k1, k2, p1, p2, k3); None for ideal lenses.
        camera_fold: `fold_radius(camera_dist)` where the caller has it already.
        pose_weight: weight of a joint's angle, per rad^2.
        limits: lowest and highest component of a joint's rotation vector, rad; None for none.
        limit_maps: limits are those of `map @ vector`: components along other axes, where they are to be held more
            firmly times a factor; None for those of the vector itself.
        limit_weight: per rad^2.
        coefficient_mean: the likeliest coefficients.
        coefficient_precision: weight of the difference to them, symmetric; None for no such term.
        coefficient_limits: lowest and highest coefficients; None for none.
        coefficient_limit_weight: of what is beyond, by coefficient.
        log_scale_weight: weight of the scale's distance from 1.

    Raises:
        ValueError: a tensor of a wrong shape or type, a tree out of order, an incomplete group of fields.
    """

    parents: Int[Tensor, ' J']
    bones: Float[Tensor, 'N J 3']
    bone_dirs: Float[Tensor, 'J 3 S'] | None
    start: ChainState
    free_joints: Bool[Tensor, ' J']
    fit_transl: bool
    fit_scale: bool
    fit_coefficients: Bool[Tensor, ' S']
    point_joint: Int[Tensor, 'K P']
    point_share: Float[Tensor, 'K P']
    point_offset: Float[Tensor, 'N6 K P 3']
    point_dirs: Float[Tensor, 'K P 3 S'] | None = None
    targets3d: Float[Tensor, 'B K 3'] | None = None
    weights3d: Float[Tensor, 'B K'] | None = None
    sigma3d: Float[Tensor, ' K'] | None = None
    xy: Float[Tensor, 'B C K 2'] | None = None
    weights2d: Float[Tensor, 'B C K'] | None = None
    sigma2d: Float[Tensor, ' K'] | None = None
    camera_K: Float[Tensor, 'N1 C 3 3'] | None = None
    camera_R: Float[Tensor, 'N2 C 3 3'] | None = None
    camera_t: Float[Tensor, 'N3 C 3'] | None = None
    camera_dist: Float[Tensor, 'N4 C 5'] | None = None
    camera_fold: Float[Tensor, 'N5 C'] | None = None
    pose_weight: Float[Tensor, ' J'] | None = None
    limits: Float[Tensor, 'J 3 2'] | None = None
    limit_maps: Float[Tensor, 'J 3 3'] | None = None
    limit_weight: float = 0.0
    coefficient_mean: Float[Tensor, ' S'] | None = None
    coefficient_precision: Float[Tensor, 'S S'] | None = None
    coefficient_limits: Float[Tensor, 'S 2'] | None = None
    coefficient_limit_weight: Float[Tensor, ' S'] | None = None
    log_scale_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.start.rotations.ndim != 4:
            raise ValueError(
                f'ChainProblem: start.rotations must be (B, J, 3, 3); got {tuple(self.start.rotations.shape)}.'
            )
        self._check_groups()
        self._check_shapes()
        self._check_numbers()

    @property
    def n_frames(self) -> int:
        """Count the frames."""
        return self.start.rotations.shape[0]

    @property
    def n_joints(self) -> int:
        """Count the joints."""
        return self.start.rotations.shape[1]

    @property
    def n_coefficients(self) -> int:
        """Count the coefficients."""
        return self.start.coefficients.shape[1]

    @property
    def n_border(self) -> int:
        """Count the fitted columns: coefficients, then the scale."""
        return int(self.fit_coefficients.sum()) + int(self.fit_scale)

    @property
    def n_cameras(self) -> int:
        """Count the cameras; 0 where nothing was seen in images."""
        return 0 if self.xy is None else self.xy.shape[1]

    def take(self, index: Int[Tensor, ' n']) -> 'ChainProblem':
        """Return the problem of some frames alone."""
        result = {name: getattr(self, name) for name in _BY_FRAME}
        several = {
            name: v.index_select(0, index)
            for name, v in result.items()
            if v is not None
            and (v.shape[0] == self.n_frames and (name in _ALWAYS_BY_FRAME or self.n_frames > 1))
        }
        return replace(self, start=self.start.take(index), **several)

    def floats(self) -> dict[str, Tensor]:
        """Return all float tensors by name."""
        result = {f'start.{f.name}': getattr(self.start, f.name) for f in fields(self.start)}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor) and f.name not in _NOT_FLOATS:
                result[f.name] = value
        return result

    def _check_groups(self) -> None:
        for group in (_SEEN_3D, _SEEN_2D):
            missing = [name for name in group if getattr(self, name) is None]
            if missing and len(missing) < len(group):
                raise ValueError(
                    f'ChainProblem: {", ".join(group)} must be given together; got None for '
                    f'{", ".join(missing)}.'
                )
        if self.targets3d is None and self.xy is None:
            raise ValueError('ChainProblem: something must be seen; got neither targets3d nor xy.')
        for name, of in (
            ('camera_dist', 'xy'),
            ('camera_fold', 'camera_dist'),
            ('coefficient_mean', 'coefficient_precision'),
            ('limit_maps', 'limits'),
            ('coefficient_limits', 'coefficient_limit_weight'),
            ('coefficient_limit_weight', 'coefficient_limits'),
        ):
            if getattr(self, name) is not None and getattr(self, of) is None:
                raise ValueError(f'ChainProblem: {name} must come with {of}; got None for {of}.')
        if self.coefficient_precision is not None and self.coefficient_mean is None:
            raise ValueError(
                'ChainProblem: coefficient_precision must come with coefficient_mean; got None for the latter.'
            )

    def _check_shapes(self) -> None:
        b, j, c, s = self.n_frames, self.n_joints, self.n_cameras, self.start.coefficients.shape[-1]
        k, p = self.point_share.shape
        either = (1, b)
        expected = {
            'start.rotations': (b, j, 3, 3), 'start.transl': (b, 3), 'start.log_scale': (b,),
            'start.coefficients': (b, s), 'bones': (either, j, 3), 'bone_dirs': (j, 3, s), 'point_share': (k, p),
            'point_offset': (either, k, p, 3), 'point_dirs': (k, p, 3, s), 'targets3d': (b, k, 3),
            'weights3d': (b, k), 'sigma3d': (k,),
            'xy': (b, c, k, 2), 'weights2d': (b, c, k), 'sigma2d': (k,), 'camera_K': (either, c, 3, 3),
            'camera_R': (either, c, 3, 3), 'camera_t': (either, c, 3), 'camera_dist': (either, c, 5),
            'camera_fold': (either, c), 'pose_weight': (j,), 'limits': (j, 3, 2),
            'limit_maps': (j, 3, 3),
            'coefficient_mean': (s,), 'coefficient_precision': (s, s), 'coefficient_limits': (s, 2),
            'coefficient_limit_weight': (s,),
        }  # fmt: skip
        dtype, device = self.start.rotations.dtype, self.start.rotations.device
        for name, tensor in self.floats().items():
            _check_shape(name, tensor, expected[name])
            if tensor.dtype != dtype or tensor.device != device:
                raise ValueError(
                    f'ChainProblem: {name} must be {dtype} on {device} as start.rotations; got {tensor.dtype} on '
                    f'{tensor.device}.'
                )
        integers = {'parents': (j,), 'free_joints': (j,), 'point_joint': (k, p), 'fit_coefficients': (s,)}
        for name, shape in integers.items():
            _check_shape(name, getattr(self, name), shape)

    def _check_numbers(self) -> None:
        if self.start.rotations.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f'ChainProblem: floats must be float32 or float64; got {self.start.rotations.dtype}.'
            )
        for i, parent in enumerate(self.parents.tolist()):
            if (i == 0) != (parent < 0) or parent >= i:
                raise ValueError(
                    f'ChainProblem: joint {i} must have a parent before it, and only joint 0 none; got parent '
                    f'{parent}. Sort the joints from the root outwards.'
                )
        if self.point_joint.numel() and not 0 <= int(self.point_joint.min()) <= int(
            self.point_joint.max()
        ) < max(self.n_joints, 1):
            raise ValueError(
                f'ChainProblem: point_joint must name joints 0 to {self.n_joints - 1}; got '
                f'{self.point_joint.tolist()}.'
            )
        total = self.point_share.sum(1)
        if not bool(((total - 1).abs() < 1e-4).all() & (self.point_share >= 0).all()):
            raise ValueError(
                f'ChainProblem: point_share must be positive with the sum 1; got the sums {total.tolist()}.'
            )
        for name in ('sigma3d', 'sigma2d'):
            sigma = getattr(self, name)
            if sigma is not None and not bool((sigma > 0).all()):
                raise ValueError(f'ChainProblem: {name} must be positive; got {sigma.tolist()}.')
        for name in ('limit_weight', 'log_scale_weight'):
            if not 0 <= getattr(self, name) < float('inf'):
                raise ValueError(
                    f'ChainProblem: {name} must be finite and not negative; got {getattr(self, name)}.'
                )


@dataclass(frozen=True)
class ChainSolution:
    """Where the fit of every frame ended.

    A frame in which nothing is seen, or whose energy is not finite at the start, comes back as it went in, with
    `converged` False and no iterations.

    Args:
        rotations: of every joint in its parent's frame.
        transl: world unit.
        log_scale: logarithm of world units per model unit.
        coefficients: fitted or as given.
        energy: at the end, without graduation; not finite where the start's was not.
        converged: whether the last step's decrease fell below the tolerance.
        iterations: steps tried.
        start_energy: at the start, under the first factor of a graduation.
    """

    rotations: Float[Tensor, 'B J 3 3']
    transl: Float[Tensor, 'B 3']
    log_scale: Float[Tensor, ' B']
    coefficients: Float[Tensor, 'B S']
    energy: Float[Tensor, ' B']
    converged: Bool[Tensor, ' B']
    iterations: Int[Tensor, ' B']
    start_energy: Float[Tensor, ' B']


def _check_shape(name: str, tensor: Tensor, expected: tuple[int | tuple[int, int], ...]) -> None:
    fits = tensor.ndim == len(expected) and all(
        n in e if isinstance(e, tuple) else n == e for n, e in zip(tensor.shape, expected)
    )
    if not fits:
        wanted = ', '.join(' or '.join(map(str, e)) if isinstance(e, tuple) else str(e) for e in expected)
        raise ValueError(f'ChainProblem: {name} must have the shape ({wanted}); got {tuple(tensor.shape)}.')
