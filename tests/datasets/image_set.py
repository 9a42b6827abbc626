"""Rendered quadrupeds as annotated images: other sizes, cameras and crops in each, all truth known."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from smilfit.body_models import SMIL, BodyModelData
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import AnnotatedImage, AnnotationSet, BodyParams, Cameras, MaskSource

SIZES = ((200, 150), (140, 180), (256, 256), (330, 170))
# Off-centre principal points, as shares of the image.
CENTRES = ((0.4, 0.55), (0.55, 0.42), (0.5, 0.6), (0.45, 0.5))


class ArrayMask(MaskSource):
    """A mask in memory."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask

    def read(self) -> np.ndarray:
        return self.mask


@dataclass(frozen=True)
class ImageSet:
    """Annotations, and the truth by image."""

    annotations: AnnotationSet
    body: SMIL
    vertices: torch.Tensor
    cameras: tuple[Cameras, ...]


def camera_of(index: int, dist: torch.Tensor | None = None) -> Cameras:
    """A camera in front of the animal, three body lengths away, with a principal point of its own."""
    (width, height), (cx, cy) = SIZES[index % 4], CENTRES[index % 4]
    focal = 1.6 * max(width, height)
    K = [[focal, 0, cx * width], [0, 1.05 * focal, cy * height], [0, 0, 1]]
    angle = 0.5 * index
    rotation = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    # World z is up; the image's y is down.
    R = torch.tensor(rotation).double() @ torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).double()
    return Cameras(
        names=('shot',),
        K=torch.tensor([K]).double(),
        R=R[None],
        t=torch.tensor([[0.0, 0.0, 3.0]]).double(),
        size=torch.tensor([[width, height]]).double(),
        dist=None if dist is None else dist.reshape(1, 5).double(),
    )


def make_images(
    folder: Path,
    data: BodyModelData,
    n: int = 4,
    boxes: bool = True,
    dist: torch.Tensor | None = None,
    known_cameras: bool = True,
) -> ImageSet:
    """Render and write images (PNG), with keypoints, masks, boxes and parameters."""
    body = SMIL(data).double()
    rng = np.random.default_rng(0)
    rest = BodyParams.zeros(n, body.n_joints, body.n_betas).map(torch.Tensor.double)
    pose = torch.from_numpy(0.1 * rng.normal(size=tuple(rest.body_pose.shape)))
    params = rest.replace(body_pose=pose, transl=torch.from_numpy(0.05 * rng.normal(size=(n, 3))))
    names = tuple(data.keypoint_sets['sleap'])
    output = body(params, need=('vertices', *names))
    vertices, points = output.vertices.detach(), output.keypoints.detach()
    renderer, images, cameras = ZBufferRenderer(), [], []
    for i in range(n):
        camera = camera_of(i, dist)
        render = renderer(vertices[i : i + 1], body.faces, camera)
        alpha = render.alpha[0].numpy() > 0.5
        image = np.where(alpha[..., None], 200 * render.shading[0].numpy() + 55, 20).astype(np.uint8)
        path = folder / f'{i:03d}.png'
        cv2.imwrite(str(path), image)
        xy, _, _ = camera.project(points[i])
        rows, columns = np.nonzero(alpha)
        low = np.array([columns.min(), rows.min()], np.float64)
        high = np.array([columns.max(), rows.max()], np.float64)
        images.append(
            AnnotatedImage(
                where=f'made.json, entry {i} ({path.name})',
                image=path,
                keypoints=xy[0].numpy(),
                confidence=np.ones(len(names)),
                size=(alpha.shape[1], alpha.shape[0]),
                box=np.concatenate((low - 0.5, high - low + 1)) if boxes else None,
                mask=ArrayMask(alpha),
                camera=camera if known_cameras else None,
                keypoints3d=points[i].numpy() if known_cameras else None,
                params={n: v[i].numpy() for n, v in params.as_dict().items()},
            )
        )
        cameras.append(camera)
    return ImageSet(AnnotationSet('made', names, tuple(images)), body, vertices, tuple(cameras))
