"""One camera's images of a made session: the animal, lit, before its wall and behind what stands in the way."""

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from smilfit.body_models import BodyModelData
from smilfit.drawing.skin_texture import SkinTexture
from smilfit.files import reading
from smilfit.io import iterate_videos, probe_video, read_labels
from smilfit.io.image_opening import open_image
from smilfit.io.recordings.sleap_session import find_labels
from smilfit.io.recordings.videos import VIDEO_SUFFIXES
from smilfit.renderers import Renderer, RenderOutput
from smilfit.structures import Cameras
from smilfit.synthetic.looks import Photos, SessionLook, screen_of


class ScenePainter:
    """Paints renders of one camera.

    Args:
        look: of the session.
        camera: one unbatched camera.
        index: which of the look's walls and sensors are its own.
        rest: (V, 3) vertices at rest in the animal's size about its middle: the places that the coat colours.
        faces: of the mesh.
        renderer: draws what stands in the way.
        texture: the skin of each animal, in place of the look's coat.
    """

    def __init__(
        self,
        look: SessionLook,
        camera: Cameras,
        index: int,
        rest: Float[np.ndarray, 'V 3'],
        faces: Int[Tensor, 'F 3'],
        renderer: Renderer,
        texture: SkinTexture | None = None,
    ) -> None:
        self.texture, self.faces = texture, faces.numpy()
        self.look, self.sensor = look, look.sensors[index]
        self.rotation = camera.R[0].numpy().astype(np.float32)
        self.corners = rest.astype(np.float32)[faces.numpy()]
        screen = screen_of(look.occluders, camera, renderer)
        self.screen_depth = screen.depth
        self.free = np.isinf(screen.depth)
        self.scene = np.where(self.free[..., None], look.walls[index], 255 * screen.rgb).astype(np.float32)
        towards = look.lights.directions[0] @ self.rotation.T
        # Shadows fall away from the first light.
        self.fall = -towards[:2]

    def paint(self, render: RenderOutput, index: int, rng: np.random.Generator) -> UInt8[np.ndarray, 'H W 3']:
        """Paint one of a render's images, RGB.

        Args:
            render: of this camera.
            index: which image.
            rng: of this image.
        """
        face, depth = render.face_id[index].numpy(), render.depth[index].numpy()
        seen = (face >= 0) & (depth < self.screen_depth)
        scene = self._shadowed(face >= 0)
        weights = render.barycentric[index].numpy()[seen].astype(np.float32)
        corners = self.corners[face[seen]]
        points = sum(weights[:, i, None] * corners[:, i] for i in range(3))
        normals = render.normals[index].numpy()[seen].astype(np.float32)
        colours = self.look.coat(points) if self.texture is None else self._skin(face[seen], weights)
        scene[seen] = 255 * self.look.lights.shade(colours, normals, self.rotation)
        return self.sensor.expose(scene, rng)

    def _skin(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        assert self.texture is not None
        # Every animal's vertices follow those of the one before.
        return self.texture.colours(self.faces[face] % len(self.texture.uv), weights)

    def _shadowed(self, there: np.ndarray) -> Float[np.ndarray, 'H W 3']:
        """Darken the wall beside the animal, on the side away from the light."""
        scene = self.scene.copy()
        if not self.look.lights.shadow or not there.any():
            return scene
        rows = np.flatnonzero(there.any(1))
        shift = 0.2 * (rows[-1] - rows[0] + 1) * self.fall
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        mask = cv2.warpAffine(there.astype(np.float32), move, there.shape[::-1])
        dark = 1 - self.look.lights.shadow * cv2.blur(mask, (9, 9))
        return scene * np.where(self.free, dark, 1)[..., None]

    def hides(self, pixels: Float[Tensor, 'N K 2'], depth: Float[Tensor, 'N K']) -> np.ndarray:
        """Return which points (N, K) something in the way hides.

        Args:
            pixels: of the points.
            depth: of the points, world unit.
        """
        height, width = self.screen_depth.shape
        x = pixels[..., 0].round().clamp(0, width - 1).long().numpy()
        y = pixels[..., 1].round().clamp(0, height - 1).long().numpy()
        return torch.from_numpy(self.screen_depth[y, x]).lt(depth).numpy()


@dataclass(frozen=True)
class ImageOptions:
    """How images look; grey levels are of 255.

    `noise` is the standard deviation of each value, `texture` the contrast of the background.
    """

    noise: float = 3.0
    texture: float = 25.0
    background: float = 150.0
    animal_rgb: tuple[float, float, float] = (0.52, 0.36, 0.24)
    pattern: float = 0.35


def background(
    size: tuple[int, int], options: ImageOptions, rng: np.random.Generator
) -> Float[np.ndarray, 'H W 3']:
    """Draw a wall with large and small stains, grey levels."""
    import cv2

    width, height = size
    image = np.full((height, width, 3), options.background, np.float32)
    image += rng.uniform(-15, 15, 3).astype(np.float32)
    for cells, share in ((4, 1.0), (12, 0.6), (40, 0.35)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        stain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        image += options.texture * share * stain[..., None]
    return image


def animal_colours(
    data: BodyModelData, options: ImageOptions, rng: np.random.Generator
) -> Float[Tensor, 'V 3']:
    """Colour the skin: waves of light and dark across the rest pose, RGB in [0, 1]."""
    points = data.v_template / np.ptp(data.v_template, axis=0).max()
    tone = np.zeros(len(points))
    for _ in range(5):
        wave = rng.normal(0, 14, 3)
        tone += np.sin(points @ wave + rng.uniform(0, 2 * np.pi)) / 5
    rgb = np.array(options.animal_rgb) * (1 + options.pattern * 1.5 * tone[:, None])
    return torch.from_numpy(np.clip(rgb, 0, 1).astype(np.float32))


class ShiftedNoise:
    """A few noise images, shifted at random: noise at a hundredth of its cost."""

    def __init__(self, size: tuple[int, int], sigma: float, rng: np.random.Generator, n: int = 4) -> None:
        width, height = size
        self._rng = rng
        self._images = (sigma * rng.standard_normal((n, 2 * height, 2 * width, 3))).astype(np.float32)
        self._size = (width, height)

    def draw(self) -> Float[np.ndarray, 'H W 3']:
        """Return one image of noise."""
        width, height = self._size
        which = self._rng.integers(len(self._images))
        y, x = self._rng.integers(height), self._rng.integers(width)
        return self._images[which, y : y + height, x : x + width]


def compose(
    render: RenderOutput, index: int, wall: Float[np.ndarray, 'H W 3'], noise: Float[np.ndarray, 'H W 3']
) -> UInt8[np.ndarray, 'H W 3']:
    """Put one rendered animal before the wall and add noise; RGB."""
    image = wall + noise
    valid = render.face_id[index].numpy() >= 0
    image[valid] = 255.0 * render.shading[index].numpy()[valid] + noise[valid]
    return np.clip(image, 0, 255).astype(np.uint8)


logger = logging.getLogger('smilfit')

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
# So many frames of a video, evenly over time, are enough for a median without the animal.
MEDIAN_FRAMES = 25
# How far an animal reaches beyond the hull of its labels, a share of its longer side; what paints over it, px.
_BEYOND_LABELS, _INPAINT_PX = 0.25, 5


def read_photos(places: list[Path], camera_names: tuple[str, ...] = ()) -> Photos:
    """Read photographs for walls and coats.

    A file that is called after a camera, or lies in a folder that is, shows what that camera sees when it is empty;
    others are of anywhere. Of several of one camera the first counts, and the others are of anywhere.

    Args:
        places: images, videos, or folders, which are searched below too.
        camera_names: of the rig.

    Raises:
        FileNotFoundError: a place that is not there.
        ValueError: no image and no video; or one that cannot be read.
    """
    files = [file for place in places for file in _files(place)]
    if not files:
        result = ', '.join(map(str, places))
        raise ValueError(f'--backgrounds: must name images or videos; {result} has none. Check the path.')
    of_camera: dict[str, np.ndarray] = {}
    anywhere = []
    for file in files:
        image = _median(file) if file.suffix.lower() in VIDEO_SUFFIXES else _image(file)
        names = [name for name in camera_names if _of_camera(file, name)]
        if len(names) == 1 and names[0] not in of_camera:
            of_camera[names[0]] = image
        else:
            anywhere.append(image)
    return Photos(of_camera, tuple(anywhere))


def _of_camera(file: Path, name: str) -> bool:
    stem, wanted = file.stem.lower(), name.lower()
    return stem == wanted or stem.endswith(f'_{wanted}') or file.parent.name.lower() == wanted


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise FileNotFoundError(f'--backgrounds: {place} must exist; there is no such file or folder.')
    known = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    return sorted(path for path in place.rglob('*') if path.suffix.lower() in known and path.is_file())


def _image(file: Path) -> UInt8[np.ndarray, 'H W 3']:
    with reading(file, 'the background'), open_image(file, file) as image:
        return np.asarray(image.convert('RGB'))


def _median(file: Path) -> UInt8[np.ndarray, 'H W 3']:
    """Return a video's empty place: the median over time without the hulls of the animal's labels.

    Where an animal never goes away, the place is painted over from around. Of a video without labels what stays in
    its place stays in the image; the log says so.
    """
    import cv2

    n = probe_video(file).n_frames
    indices = np.unique(np.linspace(0, n - 1, min(n, MEDIAN_FRAMES)).round().astype(int)).tolist()
    frames = np.stack([images['video'] for _, images in iterate_videos({'video': file}, indices)])
    valid = _animal(file, indices, frames.shape[1:3])
    if valid is None:
        logger.info('%s: has no labels beside it; what does not move in it stays in the background.', file)
        return np.median(frames, 0).astype(np.uint8)
    image = np.median(frames, 0).astype(np.uint8)
    visited, always = valid.any(0), valid.all(0)
    free = np.where(valid[:, visited, None], np.nan, frames[:, visited].astype(np.float32))
    free[:, always[visited]] = 0
    image[visited] = np.nanmedian(free, 0).astype(np.uint8)
    return cv2.inpaint(image, always.astype(np.uint8), _INPAINT_PX, cv2.INPAINT_TELEA)


def _animal(file: Path, indices: list[int], shape: tuple[int, int]) -> Bool[np.ndarray, 'n H W'] | None:
    """Return where the animal is by the labels beside a video; None without labels.

    A frame without labels takes those of the last one that has any, else of the first.
    """
    import cv2

    if not any(path.suffix.lower() in ('.slp', '.h5') for path in file.parent.iterdir()):
        return None
    xy = read_labels(find_labels(file.parent)).xy
    labelled = np.flatnonzero(np.isfinite(xy).all(-1).any(1))
    if not len(labelled):
        return None
    valid = np.zeros((len(indices), *shape), bool)
    for row, index in enumerate(indices):
        frame = labelled[max(np.searchsorted(labelled, index, side='right') - 1, 0)]
        points = xy[frame][np.isfinite(xy[frame]).all(-1)]
        size = max(float(np.ptp(points, axis=0).max()), 0.1 * min(shape))
        hull = cv2.convexHull(points.round().astype(np.int32).reshape(-1, 1, 2))
        mask = cv2.fillConvexPoly(np.zeros(shape, np.uint8), hull, 1)
        reach = 2 * int(_BEYOND_LABELS * size) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        valid[row] = cv2.dilate(mask, disc) > 0
    return valid
