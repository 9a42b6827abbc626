"""Regressors' networks as tensors in and tensors out, with what a file of one cannot say of itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.networks.heads import BodyEstimate, NamedCameraHead
from smilfit.networks.heads.heatmap_head import KeypointHeatmapHead
from smilfit.networks.heads.orientation_head import camera_view_frames
from smilfit.networks.keypoints.batch_crops import box_affine, cut, whole_boxes
from smilfit.networks.scene_frame import cameras_of

if TYPE_CHECKING:
    from smilfit.networks.regressors.multiview_regressor import MultiViewRegressor


@dataclass(frozen=True)
class Port:
    """One tensor that goes in or comes out.

    Args:
        name: in the file.
        axes: lengths; a name is an axis of any length, the same one wherever it stands.
        meaning: a sentence, with units.
        dtype: of the numbers.
        maps: whether the last two axes are a heat map, whose highest cell matters.
    """

    name: str
    axes: tuple[str | int, ...]
    meaning: str
    dtype: torch.dtype = torch.float32
    maps: bool = False

    def shape(self, lengths: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape for lengths of the named axes."""
        return tuple(lengths[n] if isinstance(n, str) else n for n in self.axes)

    def described(self) -> dict[str, object]:
        """Return all of it, as JSON has it."""
        dtype = str(self.dtype).removeprefix('torch.')
        return {'name': self.name, 'shape': list(self.axes), 'dtype': dtype, 'meaning': self.meaning}


class ExportedNetwork(nn.Module, ABC):
    """What of a regressor is plain layers: `forward(*inputs)` gives the outputs in order, in float32.

    Attributes:
        inputs: what goes in; the first axis of each is 'batch'.
        outputs: what comes out.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    # `forward` takes the inputs and gives the outputs, in order.
    forward: Callable[..., Tensor | tuple[Tensor, ...]]

    @abstractmethod
    def drawn(self, lengths: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw inputs of their kind, for lengths of the named axes."""

    @abstractmethod
    def inputs_of(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the inputs for a batch of samples in the documented form, after the data preprocessor."""

    @abstractmethod
    def facts(self) -> dict[str, object]:
        """Return what whoever runs it must know, as JSON has it."""


def image_facts(backbone: nn.Module, side: int) -> dict[str, object]:
    """Describe the images that a backbone takes; it normalises them itself."""
    normalisation = {
        key: value.flatten().tolist()
        for key in ('mean', 'std')
        if isinstance(value := getattr(backbone, key, None), Tensor)
    }
    return {
        'channels': 'RGB',
        'range': [0.0, 1.0],
        'side_px': side,
        'normalised_inside': normalisation,
    }


_PX = 'pixel centres are at whole numbers; the centre of cell c of a map is px (c + 0.5) * stride - 0.5'


class ExportedHeatmaps(ExportedNetwork):
    """Compute the logits of heat maps of N images. Boxes, the meeting of views and the body are no part of it.

    Args:
        backbone: images to maps, finest first.
        head: maps to logits.
        side: px of the images.
        keypoint_names: of the maps, in order; a further map is that of animals' centres.
    """

    def __init__(
        self, backbone: nn.Module, head: KeypointHeatmapHead, side: int, keypoint_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.side = backbone, head, side
        self.keypoint_names = tuple(keypoint_names)
        cells = side // head.stride
        meaning = (
            'logits of one heat map a keypoint; the softmax over its cells says where the keypoint is'
            + '; the last map is that of animals’ centres' * head.centre
        )
        self.inputs = (Port('images', ('batch', 3, side, side), 'RGB images in [0, 1]'),)
        self.outputs = (Port('logits', ('batch', head.n_maps, cells, cells), meaning, maps=True),)

    def forward(self, images: Float[Tensor, 'N 3 S S']) -> Float[Tensor, 'N M h w']:
        """Compute the maps."""
        return self.head(self.backbone(images))

    def drawn(self, lengths: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw noise."""
        return (torch.rand(self.inputs[0].shape(lengths), generator=generator),)

    def inputs_of(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the first view of each sample that there is, whole, as the first pass sees it."""
        first = inputs['view_mask'].int().argmax(1)
        images = inputs['image'][torch.arange(len(first), device=first.device), first]
        boxes = whole_boxes(len(images), images.shape[-2:], images)
        return (cut(images, box_affine(boxes, self.side), self.side),)

    def facts(self) -> dict[str, object]:
        """Describe images, maps and px."""
        return {
            'image': image_facts(self.backbone, self.side),
            'px': _PX,
            'stride': self.head.stride,
            'keypoint_names': list(self.keypoint_names),
            'centre_map': self.head.n_keypoints if self.head.centre else None,
        }


_MEANINGS = {
    'rotations': "rotation matrices of the joints, the root's first, each in its parent's frame",
    'betas': 'shape coefficients',
    'position': 'of the body in the scene frame: transl = origin + scene_unit * position',
    'log_scale': 'scale = mean_scale * exp(log_scale)',
    'log_joint_scales': 'logarithm of every joint’s scale along its axes',
    'joint_offsets': 'of every joint from its place, in lengths of the body at rest',
    'part_sizes': 'by what share each part of the body is larger than the model’s',
}


class ExportedViews(ExportedNetwork):
    """Compute the last estimate of the decoder, and the corrections of cameras, from images and the rays of patches.

    What comes before and after is closed form and stays outside: where the scene is, its rays, the body in the
    world. All views go through the backbone here, those that are absent too; they change nothing.

    Args:
        regressor: without limbs, whose meeting of views lies in the middle of the network.
        side: px of the images.

    Raises:
        ValueError: a regressor with limbs.
    """

    def __init__(self, regressor: 'MultiViewRegressor', side: int) -> None:
        super().__init__()
        if regressor.limbs is not None:
            raise ValueError(
                'export: the network must be one piece; with limbs the views meet in space in the middle of '
                'MultiViewRegressor. Export a KeypointRegressor, or a MultiViewRegressor without limbs.'
            )
        self.regressor, self.side = regressor, side
        self.grid = self._grid()
        head = regressor.camera_head
        views = len(head.names.views) if isinstance(head, NamedCameraHead) else 'views'
        self.inputs = _inputs(side, views, self.grid, regressor.orientation_head is not None)
        self.outputs = _outputs(regressor, views)

    @torch.no_grad()
    def _grid(self) -> tuple[int, int]:
        """Find how many cells the backbone makes of an image."""
        backbone = self.regressor.backbone
        where = next(backbone.parameters()).device
        training = backbone.training
        maps = backbone.eval()(torch.zeros(1, 3, self.side, self.side, device=where))
        backbone.train(training)
        rows, columns = self._token_map(maps).shape[-2:]
        return rows, columns

    def _token_map(self, maps: Tensor | Sequence[Tensor]) -> Tensor:
        return maps if isinstance(maps, Tensor) else maps[self.regressor.token_map]

    def forward(
        self,
        images: Tensor,
        view_mask: Tensor,
        rays: Tensor,
        ray_mask: Tensor,
        view_frames: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Run the network; shapes as `inputs` and `outputs` say."""
        model = self.regressor
        features = self._token_map(model.backbone(images.flatten(0, 1)))
        tokens = features.flatten(2).transpose(1, 2).unflatten(0, images.shape[:2])
        tokens = torch.where(view_mask[..., None, None], tokens, torch.zeros_like(tokens))
        start = model.mean_start(images.shape[0])
        if model.orientation_head is not None and view_frames is not None:
            prior = model.statistics.mean_pose[0]
            start = start.with_root(
                model.orientation_head.votes_of(tokens, view_mask, view_frames, prior).agreed
            )
        (*_, last), change = model.decode(tokens, rays, ray_mask, start)
        result = (*(getattr(last, f.name) for f in fields(BodyEstimate)), change)
        return tuple(value for value in result if value is not None)

    def drawn(self, lengths: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw noise, rays of length one, any view frames; of every second sample with views the last is absent."""
        shapes = [port.shape(lengths) for port in self.inputs]
        n_batch, n_views = shapes[1]
        view_mask = torch.ones(n_batch, n_views, dtype=torch.bool)
        if n_views > 1:
            view_mask[::2, -1] = False
        rays = torch.nn.functional.normalize(torch.randn(shapes[2], generator=generator), dim=-1)
        valid = view_mask.unsqueeze(-1)
        result = (
            torch.rand(shapes[0], generator=generator),
            view_mask,
            torch.where(valid.unsqueeze(-1), rays, 0.0),
            valid.expand(shapes[3]).contiguous(),
        )
        if len(self.inputs) == len(result):
            return result
        frames, _ = torch.linalg.qr(torch.randn(shapes[4], generator=generator))
        return *result, frames

    def inputs_of(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Find the scene and its rays, as the regressor does."""
        cameras = cameras_of(inputs)
        scene = self.regressor.scene_of(cameras, inputs['view_mask'], self.grid)
        result = (inputs['image'], inputs['view_mask'], scene.rays, scene.mask)
        return result if len(self.inputs) == len(result) else (*result, camera_view_frames(cameras))

    def facts(self) -> dict[str, object]:
        """Describe images, the scene's frame and names."""
        statistics = self.regressor.statistics
        return {
            'image': image_facts(self.regressor.backbone, self.side),
            'px': 'pixel centres are at whole numbers',
            'grid': list(self.grid),
            'scene_frame': {
                'meaning': 'world = origin + scene_unit * scene; the origin is the point nearest to the rays through '
                'the middles of the present images, in the least-squares sense with 1e-3 times the squared distance '
                'from mean_position added',
                'scene_unit': float(statistics.scene_unit),
                'mean_position': statistics.mean_position.tolist(),
                'mean_scale': float(statistics.mean_scale),
            },
            'keypoint_names': list(self.regressor.keypoint_names),
            'joint_names': list(self.regressor.body_model.joint_names),
            'camera_names': list(self.regressor.camera_names or ()),
        }


def _inputs(side: int, views: int | str, grid: tuple[int, int], votes: bool) -> tuple[Port, ...]:
    """Describe what goes in; `turned` says whether the views vote for the root's rotation."""
    cells = grid[0] * grid[1]
    result = (
        Port(
            'images', ('batch', views, 3, side, side), 'RGB images in [0, 1]; anything where a view is absent'
        ),
        Port('view_mask', ('batch', views), 'which views there are, at least one a sample', torch.bool),
        Port(
            'rays',
            ('batch', views, cells, 6),
            'Plücker coordinates (direction, moment) in the scene frame, in scene units, of the ray through the '
            'middle of each cell of the grid, row by row',
        ),
        Port(
            'ray_mask',
            ('batch', views, cells),
            'which rays there are: false for absent views and beyond the fold of a lens',
            torch.bool,
        ),
    )
    if not votes:
        return result
    frames = Port(
        'view_frames',
        ('batch', views, 3, 3),
        'rotation from the world to axes whose z looks through the middle of the image: the camera’s rotation, then '
        'the smallest one that brings that ray onto z',
    )
    return (*result, frames)


def _outputs(regressor: 'MultiViewRegressor', views: int | str) -> tuple[Port, ...]:
    """Describe what comes out."""
    n_joints, n_betas = regressor.body_model.n_joints, regressor.body_model.n_betas
    lengths = {'rotations': (n_joints, 3, 3), 'betas': (n_betas,), 'position': (3,), 'log_scale': ()}
    if getattr(regressor.head, 'joint_sizes', None) == 'separate':
        lengths |= dict.fromkeys(('log_joint_scales', 'joint_offsets'), (n_joints, 3))
    n_parts = getattr(getattr(regressor.head, 'change', None), 'n_part_sizes', 0)
    if n_parts:
        lengths['part_sizes'] = (n_parts,)
    result = tuple(Port(name, ('batch', *n), _MEANINGS[name]) for name, n in lengths.items())
    head = regressor.camera_head
    if head is None:
        return result
    if isinstance(head, NamedCameraHead) and head.mode == 'absolute':
        length, meaning = 10, 'logit of the field of view, 6D rotation, translation: see NamedCameraHead'
    else:
        length = 7
        meaning = (
            'change of each given camera: rotation vector (rad), translation (scene units), log focal length'
        )
    return (*result, Port('camera_change', ('batch', views, length), meaning))
