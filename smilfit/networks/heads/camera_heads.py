"""Cameras that a network corrects or predicts: of any rig, or of a rig whose cameras it knows by name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from smilfit.geometry.rotation import axis_angle_to_rotmat, rot6d_to_rotmat
from smilfit.networks.attention import zero_linear
from smilfit.networks.scene_frame import SceneFrame
from smilfit.registry import MODELS, UnknownNameError, did_you_mean
from smilfit.structures import Cameras


class CameraNames:
    """Which of the cameras that a network knows the views of samples are.

    Args:
        where: begins messages.
        known: the network's cameras, in the order of its weights.
        renamed: `{'name in the data': 'name in the network'}`.
    """

    def __init__(self, where: str, known: Sequence[str], renamed: Mapping[str, str] | None = None) -> None:
        self.where, self.known, self.renamed = where, tuple(known), dict(renamed or {})
        self.views: tuple[str, ...] = ()
        self._index: tuple[int, ...] = ()
        self.use(tuple(known))

    def use(self, names: Sequence[str]) -> None:
        """Take the views of samples for these cameras, in order.

        Raises:
            UnknownNameError: a camera that the network does not know, with the near ones.
        """
        result = []
        for name in names:
            wanted = self.renamed.get(name, name)
            if wanted not in self.known:
                raise UnknownNameError(
                    f'{self.where}: the network must know every camera; it knows {", ".join(self.known)}, not '
                    f'{wanted!r}. {did_you_mean(wanted, self.known)} Name the one to use instead by '
                    f'cameras={{{name!r}: ...}}.'
                )
            result.append(self.known.index(wanted))
        self.views, self._index = tuple(names), tuple(result)

    def index(self, view_mask: Bool[Tensor, 'B C']) -> Int[Tensor, 'B C']:
        """Return each view's camera by its number among the known ones.

        Raises:
            ValueError: samples of another number of views.
        """
        if view_mask.shape[1] != len(self._index):
            raise ValueError(
                f'{self.where}: a sample must have a view for each of the cameras {self.views}; got '
                f'{view_mask.shape[1]} views. Say by use_cameras(names) which they are.'
            )
        return torch.tensor(self._index, device=view_mask.device).expand(view_mask.shape)


def of_each(values: Sequence[Tensor], index: Int[Tensor, 'B C']) -> Tensor:
    """Take of K tensors (B, C, ...) that one which each view's number names."""
    stacked = torch.stack(list(values))
    place = index.reshape(1, *index.shape, *(1,) * (stacked.ndim - 3)).expand(1, *stacked.shape[1:])
    return stacked.gather(0, place)[0]


@MODELS.register_module()
class CameraHead(nn.Module):
    """Predict, for each view from its own tokens, how its camera differs from the one that was given.

    `x_cam' = exp(r) x_cam + unit * d` and the focal length times exp(f). The last layer starts at zero: an
    untrained head gives back the very cameras that came in. It knows no camera by its index.
    """

    def __init__(self, context_dim: int, dim: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(*_hidden(context_dim, dim))
        self.out = zero_linear(dim, 7)

    def forward(
        self, tokens: Float[Tensor, 'B C N D'], mask: Bool[Tensor, 'B C N']
    ) -> Float[Tensor, 'B C 7']:
        """Predict (rotation, rad; translation, scene units; log focal length) a view; zero for absent ones."""
        pooled, count = _pooled(tokens, mask)
        change = self.out(self.net(pooled)).float()
        return torch.where(count > 0, change, torch.zeros_like(change))


@MODELS.register_module()
class FocalHead(nn.Module):
    """Predict, for each view from its own tokens, the factor on its focal length, and leave the rest of its camera.

    For images whose cameras are guesses: a factor and the body's distance are one in the size of what is seen, and
    differ in its perspective. The last layer starts at zero, as `CameraHead`'s.
    """

    def __init__(self, context_dim: int, dim: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(*_hidden(context_dim, dim))
        self.out = zero_linear(dim, 1)

    def forward(
        self, tokens: Float[Tensor, 'B C N D'], mask: Bool[Tensor, 'B C N']
    ) -> Float[Tensor, 'B C 7']:
        """Predict numbers as `CameraHead`'s, all 0 but the log focal length."""
        pooled, count = _pooled(tokens, mask)
        log_focal = self.out(self.net(pooled)).float()
        return functional.pad(torch.where(count > 0, log_focal, torch.zeros_like(log_focal)), (6, 0))


def centred_lens(fov: Float[Tensor, '*n'], given: Cameras) -> Cameras:
    """Make cameras of these vertical fields of view (rad): square pixels, centred, without distortion."""
    width, height = given.size.unbind(-1)
    focal = height / (2 * (fov / 2).tan())
    zero, one = torch.zeros_like(focal), torch.ones_like(focal)
    rows = ((focal, zero, (width - 1) / 2), (zero, focal, (height - 1) / 2), (zero, zero, one))
    K = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return replace(given, K=K, dist=None, fold=None)


def corrected_cameras(cameras: Cameras, change: Float[Tensor, 'B C 7'], unit: Float[Tensor, '']) -> Cameras:
    """Apply a camera head's corrections; a change of zero gives the same numbers back."""
    rotation = axis_angle_to_rotmat(change[..., :3])
    focal = change[..., 6].exp()
    ones = torch.ones_like(focal)
    stretch = torch.stack((focal, focal, ones), -1)
    # The skew and both focal lengths grow together; the principal point stays.
    upper = cameras.K * stretch.unsqueeze(-1)
    K = torch.cat((upper[..., :2], cameras.K[..., 2:]), -1)
    t = (rotation @ cameras.t.unsqueeze(-1)).squeeze(-1) + unit * change[..., 3:6]
    return replace(cameras, K=K, R=rotation @ cameras.R, t=t)


_FOV_RANGE_DEG = (5.0, 120.0)
# An untrained absolute head looks at the scene from so many scene units.
_DISTANCE = 3.0


@MODELS.register_module()
class NamedCameraHead(nn.Module):
    """Predict each view's camera by the layers of the camera of its name.

    For rigs that stay as they are; `CameraHead` knows no cameras and serves any rig. The names are part of the config
    that a checkpoint holds; the order of views does not matter.

    Args:
        context_dim: channels of the fused tokens.
        camera_names: the cameras; those of the training set where a config leaves them out.
        mode: 'delta' predicts small corrections of the given cameras, as `CameraHead`; 'absolute' the field of view
            (5 to 120 deg), the rotation (6D) and the translation themselves, in the scene frame, whatever was given.
        cameras: names in the data that are others in the network: `{'data': 'network'}`.
        dim: channels of the hidden layer.
    """

    def __init__(
        self,
        context_dim: int,
        camera_names: Sequence[str],
        mode: str = 'delta',
        cameras: Mapping[str, str] | None = None,
        dim: int = 128,
    ) -> None:
        super().__init__()
        if mode not in ('delta', 'absolute'):
            raise ValueError(
                f"NamedCameraHead: mode must be 'delta' or 'absolute'; got {mode!r}. Choose one."
            )
        if not camera_names or len(set(camera_names)) != len(camera_names):
            raise ValueError(
                f'NamedCameraHead: camera_names must be names that differ; got {tuple(camera_names)}. Name the '
                'cameras of the training set.'
            )
        self.mode, self.names = mode, CameraNames('NamedCameraHead', camera_names, cameras)
        n_numbers = 7 if mode == 'delta' else 10
        self.nets = nn.ModuleList(
            nn.Sequential(*_hidden(context_dim, dim), zero_linear(dim, n_numbers)) for _ in camera_names
        )

    def forward(
        self,
        tokens: Float[Tensor, 'B C N D'],
        mask: Bool[Tensor, 'B C N'],
    ) -> Float[Tensor, 'B C n']:
        """Return each view's numbers; zeros for absent ones."""
        pooled, count = _pooled(tokens, mask)
        numbers = of_each([net(pooled) for net in self.nets], self.names.index(count.squeeze(-1) > 0)).float()
        return torch.where(count > 0, numbers, torch.zeros_like(numbers))

    def cameras(self, numbers: Float[Tensor, 'B C n'], given: Cameras, frame: SceneFrame) -> Cameras:
        """Make cameras of the numbers."""
        if self.mode == 'delta':
            return corrected_cameras(given, numbers, frame.unit)
        low, high = _FOV_RANGE_DEG
        fov = (low + (high - low) * numbers[..., 0].sigmoid()).deg2rad()
        R = rot6d_to_rotmat(numbers[..., 1:7] + numbers.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        # x_cam = R (x - origin) + unit * (0, 0, distance) + ...
        t = frame.unit * (numbers[..., 7:] + numbers.new_tensor([0.0, 0.0, _DISTANCE]))
        t = t - (R @ frame.origin[:, None, :, None]).squeeze(-1)
        return replace(centred_lens(fov, given), R=R, t=t)


def _hidden(in_dim: int, dim: int) -> tuple[nn.Module, ...]:
    return nn.LayerNorm(in_dim), nn.Linear(in_dim, dim), nn.GELU()


def _pooled(
    tokens: Float[Tensor, 'B C N D'], mask: Bool[Tensor, 'B C N']
) -> tuple[Float[Tensor, 'B C D'], Int[Tensor, 'B C 1']]:
    """Average the tokens of each view that count, and count them."""
    count = mask.sum(2, keepdim=True)
    return (tokens * mask.unsqueeze(-1)).sum(2) / count.clamp_min(1), count
