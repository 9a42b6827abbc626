"""A session that is rendered when it is read: labels, cameras and truth now, images on demand."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.drawing.skin_texture import SkinTexture
from smilfit.io import write_calibration, write_points3d, write_tracks, write_truth
from smilfit.io.calibration import CALIBRATION_FILE
from smilfit.io.sequence_names import sequence_name
from smilfit.io.truth import truth_file
from smilfit.renderers import Renderer, RenderOutput, ZBufferRenderer
from smilfit.structures import AnimalCentres, BodyParams, Cameras, Keypoints2d, Keypoints3d
from smilfit.synthetic.looks import SessionLook, screen_of
from smilfit.synthetic.made_labels import hidden_keypoints, hidden_margin, project_keypoints
from smilfit.synthetic.sessions import write_images

# Frames of one camera in memory.
CHUNK = 16


class ScenePainter:
    """Paints renders of one camera.

    Args:
        camera: one unbatched camera.
        index: which of the look's walls and sensors are its own.
        rest: (V, 3) vertices at rest in the animal's size about its middle: the places that the coat colours.
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
        """Paint one of a render's images, RGB."""
        face, depth = render.layer('face_id')[index].numpy(), render.layer('depth')[index].numpy()
        shown = (face >= 0) & (depth < self.screen_depth)
        scene = self._shadowed(face >= 0)
        weights = render.layer('barycentric')[index].numpy()[shown].astype(np.float32)
        corners = self.corners[face[shown]]
        points = sum(weights[:, i, None] * corners[:, i] for i in range(3))
        normals = render.layer('normals')[index].numpy()[shown].astype(np.float32)
        colours = self.look.coat(points) if self.texture is None else self._skin(face[shown], weights)
        scene[shown] = 255 * self.look.lights.shade(colours, normals, self.rotation)
        return self.sensor.expose(scene, rng)

    def _skin(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        assert self.texture is not None
        # Every animal's vertices follow those of the one before.
        return self.texture.colours(self.faces[face] % len(self.texture.uv), weights)

    def _shadowed(self, mask: np.ndarray) -> Float[np.ndarray, 'H W 3']:
        """Darken the wall beside the animal, on the side away from the light."""
        scene = self.scene.copy()
        if not self.look.lights.shadow or not mask.any():
            return scene
        rows = np.flatnonzero(mask.any(1))
        shift = 0.2 * (rows[-1] - rows[0] + 1) * self.fall
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        mask = cv2.warpAffine(mask.astype(np.float32), move, mask.shape[::-1])
        dark = 1 - self.look.lights.shadow * cv2.blur(mask, (9, 9))
        return scene * np.where(self.free, dark, 1)[..., None]

    def hides(self, pixels: Float[Tensor, 'N K 2'], depth: Float[Tensor, 'N K']) -> np.ndarray:
        """Return which points (N, K) something in the way hides.

        Args:
            depth: of the points, world unit.
        """
        height, width = self.screen_depth.shape
        x = pixels[..., 0].round().clamp(0, width - 1).long().numpy()
        y = pixels[..., 1].round().clamp(0, height - 1).long().numpy()
        return torch.from_numpy(self.screen_depth[y, x]).lt(depth).numpy()


class RenderedSession:
    """A made session in the form that preprocessing reads; see `datasets.Session`.

    Labels are exact projections. Those that the animal or something in the way hides, or that are outside of the
    image, have confidence 0; all points in space are known. Every image has its own chance, so that any of them may
    be drawn, in any order, and is always the same.

    Args:
        name: of the session.
        body: the animal.
        params: of every frame, world unit; of each animal where several share the arena and hide one another.
        cameras: unbatched.
        names: keypoints of the body that are labelled.
        look: draws what it looks like, always the same; called when images are, and not kept, as walls are large.
        seed: of the images.
        fps: frames a second.
        renderer: draws the animals; a z-buffer if None.
        animal: which of several animals the labels and the parameters are of; images show all.
        texture: the animals' own skin; the look's coat if None.
    """

    def __init__(
        self,
        name: str,
        body: SMIL,
        params: BodyParams | Sequence[BodyParams],
        cameras: Cameras,
        names: Sequence[str],
        look: Callable[[], SessionLook],
        seed: Sequence[int] = (0,),
        fps: float = 30.0,
        renderer: Renderer | None = None,
        animal: int = 0,
        texture: SkinTexture | None = None,
    ) -> None:
        self._texture = texture
        animals = (params,) if isinstance(params, BodyParams) else tuple(params)
        self.animals, self.animal = tuple(p.to('cpu', torch.float64) for p in animals), animal
        self.name, self.fps, self.look = name, fps, look
        self.cameras, self.unit = cameras.to('cpu', torch.float64), cameras.unit
        self.keypoint_names = tuple(names)
        self.true_params = self.animals[animal]
        self.n_frames = self.true_params.batch_size
        # Every label is right, whatever its score.
        self.confidence_thresholds = dict.fromkeys(cameras.names, 0.0)
        exact = body.zero_params().transl.dtype == torch.float64
        self.body = body if exact else deepcopy(body).double()
        self._renderer = renderer or ZBufferRenderer()
        self._seed = tuple(seed)
        v = body.data.v_template
        rest = (v - (v.max(0) + v.min(0)) / 2) / np.ptp(v, axis=0).max()
        # One mesh of all animals, so that they hide one another.
        n = len(self.animals)
        self._rest = np.tile(rest, (n, 1))
        self._faces = torch.cat([body.faces.cpu() + i * len(v) for i in range(n)])

    @cached_property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Joints (T, J, 3) and keypoints (T, K, 3), world unit."""
        return self._points_of(self.animal)

    @property
    def visible(self) -> tuple[np.ndarray, np.ndarray]:
        """True pixels (T, C, K, 2) and whether each keypoint is seen there (T, C, K)."""
        return self._all_visible[self.animal]

    def each_animal(self, visible: bool = True) -> dict[str | None, 'RenderedSession']:
        """Return the session as one of each animal, by its track: all have the same images. None names one alone.

        `visible` finds what is seen now, once for all of them.
        """
        if len(self.animals) == 1:
            return {None: self}
        if visible:
            _ = self._all_visible
        return {f'animal_{i}': self._of_animal(i) for i in range(len(self.animals))}

    def _of_animal(self, animal: int) -> 'RenderedSession':
        result = copy(self)
        result.name = sequence_name(self.name, f'animal_{animal}')
        result.animal, result.true_params = animal, self.animals[animal]
        # Of another animal they are found anew.
        result.__dict__.pop('points', None)
        return result

    def centres2d(self) -> AnimalCentres | None:
        """Return all animals' centres, means of their keypoints whether seen or not; None of an animal alone."""
        if len(self.animals) == 1:
            return None
        pixels = np.stack([pixels for pixels, _ in self._all_visible], 2)
        shown = np.stack([shown for _, shown in self._all_visible], 2).any(-1)
        size = self.cameras.size[:, None].numpy()
        centres = pixels.mean(-2)
        known = shown & ((centres > -0.5) & (centres < size - 0.5)).all(-1)
        return AnimalCentres(np.where(known[..., None], centres, 0.0), known, np.ones(known.shape[:2], bool))

    def _points_of(self, animal: int) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            output = self.body(self.animals[animal], need=('joints', *self.keypoint_names))
        return output.joints.numpy(), output.keypoints.numpy()

    @cached_property
    def _all_visible(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """What `visible` gives, of each animal; every image is rendered once for all of them."""
        result = []
        for i, params in enumerate(self.animals):
            points = torch.from_numpy(self.points[1] if i == self.animal else self._points_of(i)[1])
            margin = hidden_margin(self.body, params, list(self.keypoint_names)).float()
            result.append((*project_keypoints(points, self.cameras), margin))
        look = self.look()
        for c, camera in enumerate(self.cameras.names):
            painter = self._painter(look, camera)
            for chosen, render in self._renders(camera, range(self.n_frames)):
                for pixels, depth, shown, margin in result:
                    at = torch.from_numpy(pixels[chosen, c]).float()
                    deep = torch.from_numpy(depth[chosen, c]).float()
                    hidden = hidden_keypoints(render, at, deep, margin).numpy()
                    shown[chosen, c] &= ~(hidden | painter.hides(at, deep))
        return [(pixels, shown) for pixels, _, shown, _ in result]

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return the labels of all frames, px."""
        pixels, shown = self.visible
        labels = Keypoints2d(
            torch.from_numpy(np.where(shown[..., None], pixels, 0.0)),
            torch.from_numpy(shown.astype(np.float64)),
            self.keypoint_names,
            self.cameras,
        )
        return labels if names is None else labels.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d:
        """Return all true points, world unit."""
        xyz = torch.from_numpy(self.points[1])
        points = Keypoints3d(xyz, torch.ones(xyz.shape[:2]).double(), self.keypoint_names, self.unit)
        return points if names is None else points.select(names)

    def frames(self, indices: Iterable[int] | None = None) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Draw images, one chunk of frames in memory.

        Yields:
            (index, {camera: RGB uint8 (H, W, 3)}).
        """
        indices = list(range(self.n_frames) if indices is None else indices)
        look = self.look()
        painters = {camera: self._painter(look, camera) for camera in self.cameras.names}
        for start in range(0, len(indices), CHUNK):
            chunk = indices[start : start + CHUNK]
            images = {c: list(self._images(painter, c, chunk)) for c, painter in painters.items()}
            for i, index in enumerate(chunk):
                yield index, {camera: drawn[i] for camera, drawn in images.items()}

    def images(self, camera: str, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Draw one camera's images, RGB, one chunk in memory."""
        indices = range(self.n_frames) if indices is None else indices
        return self._images(self._painter(self.look(), camera), camera, indices)

    def _images(self, painter: ScenePainter, camera: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        c = self.cameras.names.index(camera)
        for chosen, render in self._renders(camera, indices):
            for i, frame in enumerate(chosen):
                yield painter.paint(render, i, np.random.default_rng([*self._seed, c, frame]))

    def _painter(self, look: SessionLook, camera: str) -> ScenePainter:
        c = self.cameras.names.index(camera)
        cameras = self.cameras.select([camera])
        return ScenePainter(look, cameras, c, self._rest, self._faces, self._renderer, self._texture)

    def _renders(self, camera: str, indices: Sequence[int]) -> Iterator[tuple[list[int], RenderOutput]]:
        """Render frames by chunks."""
        rig = self.cameras.select([camera]).to(torch.float32)
        for start in range(0, len(indices), CHUNK):
            chosen = [int(i) for i in indices[start : start + CHUNK]]
            with torch.no_grad():
                bodies = [self.body(params[chosen], need=('vertices',)).vertices for params in self.animals]
                render = self._renderer(torch.cat(bodies, 1).float(), self._faces, rig)
            yield chosen, render


def write_rendered_session(
    folder: str | Path,
    session: RenderedSession,
    data_names: Mapping[str, str],
    codec: str = 'mp4v',
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Write a session's folder, as `SleapSession` reads it; the labels are a person's, with score 1.

    Of several animals each is a track of the labels, `points3d.h5` has all, and each has its truth.

    Args:
        folder: the session's, which may be there.
        session: what is written.
        data_names: model keypoint -> annotated keypoint.
        codec: of the videos, four letters.
        progress: called after each image.

    Raises:
        ValueError: a video could not be written, or does not decode to all its frames.
    """
    folder = Path(folder)
    names = [data_names[name] for name in session.keypoint_names]
    animals = session.each_animal()
    for c, camera in enumerate(session.cameras.names):
        place, stem = folder / camera, f'{session.name}_{camera}'
        place.mkdir(parents=True, exist_ok=True)
        width, height = session.cameras.size[c].tolist()
        images = _counted(session.images(camera), progress)
        write_images(place / f'{stem}.mp4', images, (int(width), int(height)), session.fps, codec)
        tracks = {name or 'track_0': (_labels(one, c), None) for name, one in animals.items()}
        write_tracks(place / f'{stem}.slp', tracks, names, f'{stem}.mp4')
    write_calibration(folder / CALIBRATION_FILE, session.cameras)
    points = np.stack([one.points[1] for one in animals.values()], 1)
    write_points3d(folder / 'points3d.h5', points)
    for name, one in animals.items():
        data = session.body.data
        truth = folder / truth_file(name)
        joints, keypoints = one.points
        write_truth(
            truth,
            one.true_params,
            joints,
            keypoints,
            data.joint_names,
            session.keypoint_names,
            data.content_hash(),
        )
    return folder


def _labels(session: RenderedSession, camera: int) -> np.ndarray:
    pixels, shown = session.visible
    return np.where(shown[:, camera, :, None], pixels[:, camera], np.nan)


def _counted(images: Iterable[np.ndarray], progress: Callable[[], None]) -> Iterator[np.ndarray]:
    for image in images:
        yield image
        progress()
