"""A head of its own for every camera of a rig, known by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.geometry.rotation import rot6d_to_rotmat
from smilfit.models.heads.camera_head import corrected_cameras
from smilfit.models.heads.camera_names import CameraNames, of_each
from smilfit.models.scene import SceneFrame
from smilfit.registry import MODELS
from smilfit.structures import Cameras

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
        self.nets = nn.ModuleList(_camera_net(context_dim, dim, n_numbers) for _ in camera_names)

    def forward(
        self,
        tokens: Float[Tensor, 'B C N D'],
        mask: Bool[Tensor, 'B C N'],
    ) -> Float[Tensor, 'B C n']:
        """Give each view's numbers; zeros for absent ones."""
        count = mask.sum(2, keepdim=True)
        pooled = (tokens * mask.unsqueeze(-1)).sum(2) / count.clamp_min(1)
        numbers = of_each([net(pooled) for net in self.nets], self.names.index(count.squeeze(-1) > 0)).float()
        return torch.where(count > 0, numbers, torch.zeros_like(numbers))

    def cameras(self, numbers: Float[Tensor, 'B C n'], given: Cameras, frame: SceneFrame) -> Cameras:
        """Make cameras of the numbers."""
        if self.mode == 'delta':
            return corrected_cameras(given, numbers, frame.unit)
        low, high = _FOV_RANGE_DEG
        fov = (low + (high - low) * numbers[..., 0].sigmoid()).deg2rad()
        width, height = given.size.unbind(-1)
        focal = height / (2 * (fov / 2).tan())
        zero, one = torch.zeros_like(focal), torch.ones_like(focal)
        rows = ((focal, zero, (width - 1) / 2), (zero, focal, (height - 1) / 2), (zero, zero, one))
        R = rot6d_to_rotmat(numbers[..., 1:7] + numbers.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        # x_cam = R (x - origin) + unit * (0, 0, distance) + ...
        t = frame.unit * (numbers[..., 7:] + numbers.new_tensor([0.0, 0.0, _DISTANCE]))
        t = t - (R @ frame.origin[:, None, :, None]).squeeze(-1)
        K = torch.stack([torch.stack(row, -1) for row in rows], -2)
        return replace(given, K=K, R=R, t=t, dist=None, fold=None)


def _camera_net(in_dim: int, dim: int, n_numbers: int) -> nn.Sequential:
    """Make one camera's layers; the last starts at zero."""
    last = nn.Linear(dim, n_numbers)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(in_dim), nn.Linear(in_dim, dim), nn.GELU(), last)
