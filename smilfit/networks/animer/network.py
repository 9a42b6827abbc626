"""AniMer's network, image to SMAL: the square crop of an animal, and the cameras of the crop and the whole image."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.files import BadFileError, shorten
from smilfit.networks.backbones.timm_network import TimmBackbone
from smilfit.networks.engine.checkpoint_loader import check_weights, read_checkpoint, smilfit_entry
from smilfit.networks.engine.mmengine_scope import declare_scope
from smilfit.networks.engine.plain_values import model_of_checkpoint
from smilfit.networks.heads.smal_decoder_head import SmalDecoderHead, SmalEstimate
from smilfit.networks.keypoints.batch_crops import cut
from smilfit.registry import MODELS, build
from smilfit.structures import Cameras

# The square crop, px; what is cut off at its left and right before the network sees it; the focal length there.
CROP_PX, CUT_PX, FOCAL_PX = 256, 32, 1000.0
# Keeps a scale of zero from dividing, as AniMer has it.
_TINY = 1e-9


@dataclass(frozen=True)
class AnimalCrop:
    """Square boxes around animals, one an image, with the cameras that AniMer's numbers are of.

    The middle of a box is at (128, 128) of its 256 px crop, where pixel centres are at integers, as AniMer cuts it
    by OpenCV. What lies outside of the image is black.

    Args:
        centre: (x, y), px of the image.
        side: px of the image.
        size: (width, height) of the image, px.
    """

    centre: Float[Tensor, 'B 2']
    side: Float[Tensor, 'B']
    size: Float[Tensor, 'B 2']

    @classmethod
    def around(cls, boxes: Float[Tensor, 'B 4'], size: Float[Tensor, 'B 2']) -> 'AnimalCrop':
        """Make the smallest squares around boxes (x, y, width, height) px, without a margin.

        Raises:
            ValueError: a box without a size.
        """
        if not bool((boxes.isfinite().all(1) & (boxes[:, 2:] > 0).all(1)).all()):
            raise ValueError(
                f'AnimalCrop: boxes must be finite with positive sides; got {boxes.tolist()}. Leave such animals out.'
            )
        return cls(boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].amax(1), size)

    def affine(self) -> Float[Tensor, 'B 2 3']:
        """Return the maps from px of the image to px of the square crop."""
        scale = CROP_PX / self.side
        offset = CROP_PX / 2 - self.centre * scale.unsqueeze(1)
        eye = torch.eye(2, dtype=scale.dtype, device=scale.device)
        return torch.cat((scale[:, None, None] * eye, offset.unsqueeze(-1)), -1)

    def cut(self, images: Float[Tensor, 'B 3 H W']) -> Float[Tensor, 'B 3 256 192']:
        """Cut what the network takes, 256 rows and the middle 192 columns, out of images in [0, 1]."""
        return cut(images, self.affine(), CROP_PX)[..., CUT_PX:-CUT_PX]

    def crop_transl(self, camera: Float[Tensor, 'B 3']) -> Float[Tensor, 'B 3']:
        """Return where the body's origin is before the crop's camera, model units: (tx, ty, 2 f / (256 s))."""
        scale, shift = camera[:, :1], camera[:, 1:]
        return torch.cat((shift, 2 * FOCAL_PX / (CROP_PX * scale + _TINY)), 1)

    def image_transl(self, camera: Float[Tensor, 'B 3']) -> Float[Tensor, 'B 3']:
        """Return where the body's origin is before the image's camera, model units.

        As HMR2's `cam_crop_to_full`: the origin keeps its pixel, and depth is by the image's focal length. The body's
        perspective is another one, as it is seen off that camera's axis.
        """
        width = (self.side * camera[:, 0] + _TINY).unsqueeze(1)
        shift = camera[:, 1:] + 2 * (self.centre - self.size / 2) / width
        return torch.cat((shift, 2 * self.image_focal().unsqueeze(1) / width), 1)

    def image_focal(self) -> Float[Tensor, 'B']:
        """Return the focal length of whole images, px: that of the crop, by the longer side over 256."""
        return FOCAL_PX / CROP_PX * self.size.amax(1)

    def crop_cameras(self) -> Cameras:
        """Return the cameras of the network's 256 x 192 px."""
        size = self.size.new_tensor([CROP_PX - 2 * CUT_PX, CROP_PX]).expand_as(self.size)
        return _ahead(self.size.new_full(self.side.shape, FOCAL_PX), size / 2, size)

    def image_cameras(self) -> Cameras:
        """Return the cameras of whole images, of the same place and direction."""
        return _ahead(self.image_focal(), self.size / 2, self.size)


def _ahead(focal: Float[Tensor, 'B'], principal: Float[Tensor, 'B 2'], size: Float[Tensor, 'B 2']) -> Cameras:
    """Make a camera each, called `picture`, at the world's origin with the world's axes."""
    K = torch.zeros(len(focal), 1, 3, 3, dtype=focal.dtype, device=focal.device)
    K[:, 0, 0, 0] = K[:, 0, 1, 1] = focal
    K[:, 0, :2, 2] = principal
    K[:, 0, 2, 2] = 1
    R = torch.eye(3, dtype=focal.dtype, device=focal.device).expand(len(focal), 1, 3, 3)
    return Cameras(('picture',), K, R, focal.new_zeros(len(focal), 1, 3), size.unsqueeze(1))


@dataclass(frozen=True)
class AnimerPrediction:
    """SMAL's parameters, and what the backbone has of the image: the class token and the map of patches."""

    estimate: SmalEstimate
    features: Float[Tensor, 'B D']
    map: Float[Tensor, 'B D h w']


@MODELS.register_module()
class AnimerNetwork(nn.Module):
    """Estimate SMAL's parameters of images of one animal each, as AniMer does (Lyu et al. 2024).

    Args:
        backbone: a ViT with a class token.
        head: reads the tokens of patches; the class token is a feature of the image alone.

    Raises:
        ValueError: a backbone without a class token.
    """

    def __init__(self, backbone: TimmBackbone, head: SmalDecoderHead) -> None:
        super().__init__()
        if getattr(backbone.network, 'num_prefix_tokens', 0) < 1:
            raise ValueError(
                f'AnimerNetwork: the backbone must have a class token; {backbone.name!r} has none. Take a ViT.'
            )
        self.backbone, self.head = backbone, head

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> AnimerPrediction:
        """Estimate the bodies in RGB images in [0, 1], such as of `AnimalCrop.cut`."""
        grid, prefix = self.backbone.map_and_prefix(images)
        return AnimerPrediction(self.head(grid.flatten(2).transpose(1, 2)), prefix[:, 0], grid)


def load_animer(path: str | Path) -> AnimerNetwork:
    """Build the network that `smilfit convert-checkpoint animer` wrote, with its weights, ready to predict.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another kind of file.
        ValueError: weights that are not the network's.
    """
    declare_scope()
    stored = read_checkpoint(path)
    cfg = model_of_checkpoint(str(path), smilfit_entry(path, stored).get('model'))
    if cfg is None or cfg.get('type') != 'AnimerNetwork':
        raise BadFileError(
            f"{path}: the checkpoint must be of AniMer's network; got {shorten(cfg)}. Convert AniMer's file by "
            'smilfit convert-checkpoint animer IN.ckpt OUT.pth.'
        )
    with torch.random.fork_rng(devices=()):
        network = build(cfg, MODELS)
    check_weights(str(path), network, stored['state_dict'])
    network.load_state_dict(stored['state_dict'])
    return network.eval()
