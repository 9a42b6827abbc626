"""A network of SMILify as a regressor of ours: the same inputs, predictions and losses.

Its numbers become our parameters and cameras, and ours its cameras, which are PyTorch3D's: row vectors,
`x_cam = x_world R + T`, x to the left and y up, a vertical field of view in degrees, and the principal point in the
centre of the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.body_models.rest_shape import MIN_JOINT_SCALE
from smilfit.handlers import BaseHandler
from smilfit.networks.heads.camera_heads import CameraNames, centred_lens
from smilfit.networks.regressors.body_regressor import BodyRegressor, Prediction, check_views
from smilfit.networks.regressors.modal_regressor import PartConfigs
from smilfit.networks.regressors.parameter_losses import vertical_fov
from smilfit.networks.scene_frame import SceneFrame, cameras_of
from smilfit.networks.training_set import TrainingStatistics
from smilfit.registry import MODELS, build, build_handler
from smilfit.smilify.network import SmilifyNetwork, SmilifyOutput, ViewCameras
from smilfit.structures import BodyParams, Cameras

Placement = Literal['root_scaled', 'root_by_ten', 'as_posed']
# Offsets of joints have their second axis turned round, and those by directions are made smaller.
_OFFSET_SIGNS = (1.0, -1.0, 1.0)
_OFFSET_FACTOR = 0.01


class RigidMotion(NamedTuple):
    """`x_world = x @ A^T + b`, from the frame that a network speaks in to the world of the cameras."""

    A: Float[Tensor, 'B 3 3']
    b: Float[Tensor, 'B 3']

    @classmethod
    def identity(cls, like: Float[Tensor, 'B 3']) -> 'RigidMotion':
        """Make one that moves nothing."""
        return cls(torch.eye(3).to(like).expand(len(like), 3, 3), torch.zeros_like(like))

    @classmethod
    def from_camera(cls, R: Float[Tensor, 'B 3 3'], t: Float[Tensor, 'B 3']) -> 'RigidMotion':
        """Make the one from PyTorch3D's axes of a camera of ours."""
        A = R.mT @ _flip(R)
        return cls(A, -(R.mT @ t.unsqueeze(-1)).squeeze(-1))

    def after(self, R: Float[Tensor, 'B 3 3'], T: Float[Tensor, 'B 3']) -> 'RigidMotion':
        """Go through PyTorch3D's `x R + T` first."""
        return RigidMotion(self.A @ R.mT, self.b + (self.A @ T.unsqueeze(-1)).squeeze(-1))


def body_parameters(
    output: SmilifyOutput, body: SMIL, placement: str, by_directions: bool, motion: RigidMotion
) -> BodyParams:
    """Convert a step's numbers; rotations are matrices.

    Args:
        output: the numbers.
        body: the body, of `joint_scale_mode='inherited'`.
        placement: what SMILify does with posed joints: their root goes to `trans` and all is scaled by the predicted
            scale, or by ten; or `trans` is added to them as they are.
        by_directions: joint scales and offsets are the body model's directions times weights: the output's, or the
            betas where it has none. Without directions they rest.
        motion: where the world of the cameras is.
    """
    scales, offsets = _joint_sizes(output, body, by_directions)
    scale = torch.ones_like(output.trans[:, 0])
    if placement == 'root_by_ten':
        scale = 10 * scale
    elif placement == 'root_scaled' and output.log_mesh_scale is not None:
        scale = output.log_mesh_scale.exp()
    params = BodyParams(
        global_orient=output.rotations[:, 0],
        body_pose=output.rotations[:, 1:],
        betas=output.betas,
        transl=output.trans,
        scale=scale,
        log_joint_scales=scales,
        joint_offsets=offsets,
    )
    if placement != 'as_posed':
        params = params.replace(transl=output.trans - scale.unsqueeze(1) * _root(body, params))
    return _moved(params, body, motion)


def _joint_sizes(
    output: SmilifyOutput, body: SMIL, by_directions: bool
) -> tuple[Tensor | None, Tensor | None]:
    if by_directions:
        scales, offsets = (
            _directed(body.data.scaledirs, output.scales, output.betas),
            _directed(body.data.transdirs, output.offsets, output.betas),
        )
        scales = None if scales is None else (1 + scales).clamp_min(MIN_JOINT_SCALE).log()
        offsets = None if offsets is None else _OFFSET_FACTOR * offsets
    elif output.scales is None or output.offsets is None:
        return None, None
    else:
        scales, offsets = output.scales.unflatten(1, (-1, 3)), output.offsets.unflatten(1, (-1, 3))
    if offsets is not None:
        offsets = _without_root(offsets * offsets.new_tensor(_OFFSET_SIGNS))
    # The root's own scale and offset are ignored there.
    return (None if scales is None else _without_root(scales)), offsets


def _directed(directions: object, weights: Tensor | None, betas: Tensor) -> Tensor | None:
    if directions is None:
        return None
    weights = betas if weights is None else weights
    return torch.einsum('bs,sjc->bjc', weights, torch.as_tensor(directions).to(betas))


def _without_root(values: Float[Tensor, 'B J 3']) -> Float[Tensor, 'B J 3']:
    return torch.cat((torch.zeros_like(values[:, :1]), values[:, 1:]), 1)


def _root(body: SMIL, params: BodyParams) -> Float[Tensor, 'B 3']:
    """Return where SMILify sees the posed root, model unit: a joint that has a regressor is read off the posed
    skin."""
    at_origin = params.replace(transl=torch.zeros_like(params.transl), scale=torch.ones_like(params.scale))
    if body.data.joint_regressor is None:
        return body(at_origin, need=('joints',)).joints[:, 0]
    return regressed_joints(body, at_origin)[:, 0]


def regressed_joints(body: SMIL, params: BodyParams) -> Float[Tensor, 'B J 3']:
    """Read the joints off the posed skin by the model's regressor, as SMILify does."""
    assert body.data.joint_regressor is not None
    vertices = body(params, need=('vertices',)).vertices
    rows = torch.as_tensor(body.data.joint_regressor.to_dense()).to(vertices)
    return rows @ vertices


def _moved(params: BodyParams, body: SMIL, motion: RigidMotion) -> BodyParams:
    """Move posed bodies: they turn about their roots, so the roots' places turn too."""
    root = body.rest_joints(params.betas)[:, :1].expand(params.batch_size, 1, 3).mT
    shift = (motion.A @ root - root).squeeze(-1)
    placed = (motion.A @ params.transl.unsqueeze(-1)).squeeze(-1) + motion.b
    return params.replace(
        global_orient=motion.A @ params.global_orient, transl=placed + params.scale.unsqueeze(1) * shift
    )


def to_view_cameras(cameras: Cameras, motion: RigidMotion) -> ViewCameras:
    """Return our cameras as PyTorch3D's, in the network's frame; what is beside the centre of the image is lost."""
    R, t = cameras.R @ motion.A.unsqueeze(1), cameras.t + (cameras.R @ motion.b[:, None, :, None]).squeeze(-1)
    flip = _flip(R)
    return ViewCameras(vertical_fov(cameras).rad2deg(), R.mT @ flip, (flip @ t.unsqueeze(-1)).squeeze(-1))


def from_view_cameras(
    predicted: ViewCameras, given: Cameras, motion: RigidMotion, keep_lens: bool
) -> Cameras:
    """Return PyTorch3D's cameras of the network's frame as ours, in the world.

    Args:
        predicted: the cameras.
        given: those of the crops, for sizes.
        motion: from the network's frame to the world.
        keep_lens: the given principal points, aspect ratios and lenses stay; focal lengths change as fields of view
            do; else pixels are square and the principal point is the centre.
    """
    flip = _flip(predicted.R)
    R = flip @ predicted.R.mT @ motion.A.mT.unsqueeze(1)
    t = (flip @ predicted.T.unsqueeze(-1)).squeeze(-1) - (R @ motion.b[:, None, :, None]).squeeze(-1)
    return replace(lens_of(predicted.fov, given, keep_lens), R=R, t=t)


def lens_of(fov: Float[Tensor, 'B C'], given: Cameras, keep_lens: bool) -> Cameras:
    """Return cameras of these vertical fields of view (deg); see `from_view_cameras`."""
    # An angle that no camera has must not make a camera that no number describes.
    centred = centred_lens(fov.clamp(0.1, 179.0).deg2rad(), given)
    if not keep_lens:
        return centred
    ratio = centred.K[..., 1, 1] / given.K[..., 1, 1]
    stretch = torch.stack((ratio, ratio, torch.ones_like(ratio)), -1).unsqueeze(-1)
    return replace(given, K=torch.cat((given.K[..., :2] * stretch, given.K[..., 2:]), -1))


def _flip(like: Tensor) -> Float[Tensor, '3 3']:
    """Turn x and y round, between PyTorch3D's axes of a camera and OpenCV's."""
    return torch.diag(torch.tensor([-1.0, -1.0, 1.0])).to(like)


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
        resolution: images of another side (px) are resized to this one; None takes any.
        handlers: as are all others, see `BodyRegressor`. Lengths in losses are in the network's unit.

    Raises:
        ValueError: options that do not go together.
    """

    def __init__(
        self,
        network: SmilifyNetwork,
        body_model: SMIL,
        camera_names: Sequence[str] = (),
        cameras: Mapping[str, str] | None = None,
        camera_use: str = 'given',
        frame: str = 'world',
        placement: str = 'root_scaled',
        by_directions: bool = False,
        unit: float = 1.0,
        resolution: int | None = None,
        handlers: Sequence[BaseHandler] = (),
        statistics: TrainingStatistics | None = None,
        loss_weights: Mapping[str, float] | None = None,
        keypoint_weights: Mapping[str, float] | None = None,
        intermediate_weight: float = 0.3,
        mask_side: int | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> None:
        super().__init__(
            *(body_model, handlers, statistics, loss_weights, keypoint_weights),
            *(intermediate_weight, mask_side, data_preprocessor),
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
    def build_parts(cls, cfg: PartConfigs, body: SMIL, statistics: TrainingStatistics) -> PartConfigs:
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
    def known_cameras(self) -> CameraNames | None:
        """Those of the network; None of a single-view one, to which any will do."""
        return self.cameras if self.cameras.known else None

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
                result = self._single_view_cameras(bodies[-1], near, view_mask)
            elif self.camera_use == 'given':
                result = near
            else:
                result = from_view_cameras(predicted, near, motion, self.camera_use == 'corrected')
        result = replace(result, t=result.t * self.unit)
        frame = SceneFrame(torch.zeros_like(near.t[:, 0]), self.unit)
        return Prediction(steps, result, frame, None)

    def _resized(self, images: Float[Tensor, 'B C 3 H W']) -> Float[Tensor, 'B C 3 h w']:
        """Bring images to the network's size without smoothing, as SMILify does."""
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
        """Return the cameras, that of the view that was looked at with the predicted field of view if asked for."""
        if self.camera_use == 'given':
            return given
        lens = lens_of(output.camera.fov.unsqueeze(1).expand(view_mask.shape), given, keep_lens=False)
        looked = torch.arange(view_mask.shape[1], device=view_mask.device) == view_mask.int().argmax(1, True)
        return replace(lens, K=torch.where(looked[..., None, None], lens.K, given.K))
