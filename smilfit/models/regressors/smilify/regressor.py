"""A network of SMILify as a regressor of ours: the same inputs, predictions and losses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.models.heads.camera_names import CameraNames
from smilfit.models.regressors.base import BodyRegressor, check_views
from smilfit.models.regressors.prediction import Prediction
from smilfit.models.regressors.smilify.conversion import (
    Placement,
    RigidMotion,
    body_parameters,
    from_view_cameras,
    lens_of,
    to_view_cameras,
)
from smilfit.models.regressors.smilify.network import SmilifyOutput
from smilfit.models.scene import SceneFrame, cameras_of
from smilfit.models.statistics import TrainingStatistics
from smilfit.registry import MODELS, build, build_handler
from smilfit.structures import Cameras

CameraUse = Literal['given', 'corrected', 'predicted']
Frame = Literal['world', 'first_camera', 'own']


@MODELS.register_module()
class SmilifyRegressor(BodyRegressor):
    """Predict bodies by a network of SMILify.

    Args:
        network: a `SmilifyNetwork`.
        body_model: the body; where the network gives scales of joints, of `joint_scale_mode='inherited'`.
        camera_names: the cameras that a multi-view network knows, in the order of its weights; in a config None for
            those of the training set.
        cameras: names of cameras of the data that are others in the network: `{'data': 'network'}`.
        camera_use: 'given' takes the data's cameras, 'corrected' those with the network's corrections, 'predicted'
            the network's own (of a single view: its field of view).
        frame: what the network's world is. 'world': that of the calibration. 'first_camera': PyTorch3D's axes of
            a sample's first camera. 'own' (single view): one of its own, in which it predicts the camera too.
        placement: see `body_parameters`.
        by_directions: see `body_parameters`.
        unit: the data's units in one of the network's: 1000 for data in mm and a network trained in m.
        resolution: pictures of another side (px) are resized to this one; None takes any.
        handlers: as are all others, see `BodyRegressor`. Lengths in losses are in the network's unit.

    Raises:
        ValueError: options that do not go together.
    """

    def __init__(
        self,
        network: nn.Module,
        body_model: nn.Module,
        camera_names: Sequence[str] = (),
        cameras: Mapping[str, str] | None = None,
        camera_use: str = 'given',
        frame: str = 'world',
        placement: str = 'root_scaled',
        by_directions: bool = False,
        unit: float = 1.0,
        resolution: int | None = None,
        handlers: Sequence[Any] = (),
        statistics: TrainingStatistics | None = None,
        loss_weights: Mapping[str, float] | None = None,
        keypoint_weights: Mapping[str, float] | None = None,
        intermediate_weight: float = 0.3,
        mask_side: int | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> None:
        super().__init__(
            body_model,
            handlers,
            statistics,
            loss_weights,
            keypoint_weights,
            intermediate_weight,
            mask_side,
            data_preprocessor,
        )
        for what, value, known in (
            ('camera_use', camera_use, get_args(CameraUse)),
            ('frame', frame, get_args(Frame)),
            ('placement', placement, get_args(Placement)),
        ):
            if value not in known:
                raise ValueError(
                    f'SmilifyRegressor: {what} must be one of {known}; got {value!r}. Choose one.'
                )
        if network.n_cameras != len(camera_names):
            raise ValueError(
                f'SmilifyRegressor: camera_names must name the {network.n_cameras} cameras that the network knows; '
                f'got {tuple(camera_names)}. Give them in the order of its weights.'
            )
        if frame == 'own' and network.n_cameras:
            raise ValueError(
                "SmilifyRegressor: frame='own' is for a single view; the network takes several. Use 'world'."
            )
        if not network.n_cameras and camera_use == 'corrected':
            raise ValueError(
                "SmilifyRegressor: a single-view network corrects no cameras. Use camera_use='given' or 'predicted'."
            )
        sizes = network.sizes.joint_sizes != 'none' or by_directions
        if sizes and body_model.joint_scale_mode != 'inherited':
            raise ValueError(
                f'SmilifyRegressor: scales of joints must be handed on to children, as SMILify does; got '
                f"joint_scale_mode={body_model.joint_scale_mode!r}. Give body_model=dict(type='SMIL', "
                f"joint_scale_mode='inherited')."
            )
        if not 0 < unit < float('inf'):
            raise ValueError(f'SmilifyRegressor: unit must be positive; got {unit}. Give 1000 for mm from m.')
        self.network, self.camera_use, self.frame = network, camera_use, frame
        self.cameras = CameraNames('SmilifyRegressor', camera_names, cameras)
        self.placement, self.by_directions, self.resolution = placement, by_directions, resolution
        self.register_buffer('unit', torch.tensor(float(unit)), persistent=False)
        self.use_cameras(self.statistics.names.camera_names)

    @classmethod
    def build_parts(cls, cfg: dict[str, Any], body: SMIL, statistics: TrainingStatistics) -> dict[str, Any]:
        """Build the network for a body, and the handlers."""
        if cfg.get('camera_names', ()) is None:
            cfg['camera_names'] = statistics.names.camera_names
        sizes = {
            'n_joints': body.n_joints,
            'n_betas': body.n_betas,
            'n_cameras': len(cfg.get('camera_names', ())),
        }
        cfg['network'] = build(
            cfg['network'], MODELS, **{k: v for k, v in sizes.items() if k not in cfg['network']}
        )
        cfg['handlers'] = [build_handler(handler) for handler in cfg.get('handlers', ())]
        return cfg

    @property
    def camera_names(self) -> tuple[str, ...] | None:
        """Cameras that are known by name; None of a single-view network, to which any will do."""
        return self.cameras.known or None

    def use_cameras(self, names: Sequence[str]) -> None:
        """Say which cameras the views of samples are, in order; at first those of the dataset.

        Raises:
            UnknownNameError: one that the network does not know, with the near ones.
        """
        if self.cameras.known and names:
            self.cameras.use(names)

    def predict_parameters(self, inputs: Mapping[str, Tensor]) -> Prediction:
        """Run the network."""
        view_mask = inputs['view_mask']
        check_views(type(self).__name__, view_mask)
        cameras = cameras_of(inputs)
        # In the network's unit.
        near = replace(cameras, t=cameras.t / self.unit)
        to_camera = self._to_first_camera(near, view_mask)
        motion = RigidMotion.identity(near.t[:, 0]) if self.frame == 'world' else to_camera
        given = to_view_cameras(near, motion) if self.camera_use == 'corrected' else None
        single = not self.cameras.known
        index = torch.zeros_like(view_mask, dtype=torch.long) if single else self.cameras.index(view_mask)
        bodies, predicted = self.network(self._resized(inputs['image']), index, view_mask, given)
        with torch.autocast(view_mask.device.type, enabled=False):
            steps = tuple(
                body_parameters(
                    body, self.body_model, self.placement, self.by_directions, self._motion(body, motion)
                )
                for body in bodies
            )
            if predicted is None:
                found = self._single_view_cameras(bodies[-1], near, view_mask)
            elif self.camera_use == 'given':
                found = near
            else:
                found = from_view_cameras(predicted, near, motion, self.camera_use == 'corrected')
        found = replace(found, t=found.t * self.unit)
        frame = SceneFrame(torch.zeros_like(near.t[:, 0]), self.unit)
        return Prediction(steps, found, frame, None)

    def _resized(self, images: Float[Tensor, 'B C 3 H W']) -> Float[Tensor, 'B C 3 h w']:
        """Bring pictures to the network's size without smoothing, as SMILify does."""
        side = self.resolution
        if side is None or images.shape[-2:] == (side, side):
            return images
        flat = F.interpolate(images.flatten(0, 1), (side, side), mode='bilinear', align_corners=False)
        return flat.unflatten(0, images.shape[:2])

    def _to_first_camera(self, cameras: Cameras, view_mask: Bool[Tensor, 'B C']) -> RigidMotion:
        rows, first = torch.arange(len(view_mask), device=view_mask.device), view_mask.int().argmax(1)
        return RigidMotion.from_camera(cameras.R[rows, first], cameras.t[rows, first])

    def _motion(self, output: SmilifyOutput, motion: RigidMotion) -> RigidMotion:
        """Go from the network's own frame through the camera that it predicted with the body."""
        return motion.after(output.camera.R, output.camera.T) if self.frame == 'own' else motion

    def _single_view_cameras(
        self, output: SmilifyOutput, given: Cameras, view_mask: Bool[Tensor, 'B C']
    ) -> Cameras:
        """Give the cameras, that of the view that was looked at with the predicted field of view if asked for."""
        if self.camera_use == 'given':
            return given
        lens = lens_of(output.camera.fov.unsqueeze(1).expand(view_mask.shape), given, keep_lens=False)
        looked = torch.arange(view_mask.shape[1], device=view_mask.device) == view_mask.int().argmax(1, True)
        return replace(lens, K=torch.where(looked[..., None, None], lens.K, given.K))
