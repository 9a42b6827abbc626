"""A session that is rendered when it is read: labels, cameras and truth now, images on demand."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cached_property

import numpy as np
import torch

from smilfit.body_models import SMIL
from smilfit.renderers import Renderer, RenderOutput, ZBufferRenderer
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d
from smilfit.synthetic.labels import hidden_keypoints, hidden_margin, project_keypoints
from smilfit.synthetic.looks import SessionLook
from smilfit.synthetic.scene_painter import ScenePainter

# Frames of one camera in memory.
CHUNK = 16


class RenderedSession:
    """A made session in the form that preprocessing reads; see `datasets.Session`.

    Labels are exact projections. Those that the animal or something in the way hides, or that are outside of the
    image, have confidence 0; all points in space are known. Every image has its own chance, so that any of them may
    be drawn, in any order, and is always the same.

    Args:
        name: of the session.
        body: the animal.
        params: of every frame, world unit.
        cameras: unbatched.
        names: keypoints of the body that are labelled.
        look: draws what it looks like, always the same; called when images are, and not kept, as walls are large.
        seed: of the images.
        fps: frames a second.
        renderer: draws the animal; a z-buffer if None.
    """

    def __init__(
        self,
        name: str,
        body: SMIL,
        params: BodyParams,
        cameras: Cameras,
        names: Sequence[str],
        look: Callable[[], SessionLook],
        seed: Sequence[int] = (0,),
        fps: float = 30.0,
        renderer: Renderer | None = None,
    ) -> None:
        self.name, self.fps, self.look = name, fps, look
        self.cameras, self.unit = cameras.to('cpu', torch.float64), cameras.unit
        self.keypoint_names = tuple(names)
        self.true_params = params.to('cpu', torch.float64)
        self.n_frames = params.batch_size
        # Every label is right, whatever its score.
        self.confidence_thresholds = dict.fromkeys(cameras.names, 0.0)
        exact = body.zero_params().transl.dtype == torch.float64
        self.body = body if exact else deepcopy(body).double()
        self._renderer = renderer or ZBufferRenderer()
        self._seed = tuple(seed)
        v = body.data.v_template
        self._rest = (v - (v.max(0) + v.min(0)) / 2) / np.ptp(v, axis=0).max()

    @cached_property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Joints (T, J, 3) and keypoints (T, K, 3), world unit."""
        with torch.no_grad():
            output = self.body(self.true_params, need=('joints', *self.keypoint_names))
        return output.joints.numpy(), output.keypoints.numpy()

    @cached_property
    def visible(self) -> tuple[np.ndarray, np.ndarray]:
        """True pixels (T, C, K, 2) and whether each keypoint is seen there (T, C, K)."""
        pixels, depth, seen = project_keypoints(torch.from_numpy(self.points[1]), self.cameras)
        margin = hidden_margin(self.body, self.true_params, list(self.keypoint_names)).float()
        look = self.look()
        for c, camera in enumerate(self.cameras.names):
            painter = self._painter(look, camera)
            for chosen, render in self._renders(camera, range(self.n_frames)):
                at = torch.from_numpy(pixels[chosen, c]).float()
                deep = torch.from_numpy(depth[chosen, c]).float()
                hidden = hidden_keypoints(render, at, deep, margin).numpy()
                seen[chosen, c] &= ~(hidden | painter.hides(at, deep))
        return pixels, seen

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Give the labels of all frames, px."""
        pixels, seen = self.visible
        labels = Keypoints2d(
            torch.from_numpy(np.where(seen[..., None], pixels, 0.0)),
            torch.from_numpy(seen.astype(np.float64)),
            self.keypoint_names,
            self.cameras,
        )
        return labels if names is None else labels.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d:
        """Give all true points, world unit."""
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
        return ScenePainter(
            look, self.cameras.select([camera]), c, self._rest, self.body.faces, self._renderer
        )

    def _renders(self, camera: str, indices: Sequence[int]) -> Iterator[tuple[list[int], RenderOutput]]:
        """Render frames by chunks."""
        rig = self.cameras.select([camera]).to(torch.float32)
        for start in range(0, len(indices), CHUNK):
            chosen = [int(i) for i in indices[start : start + CHUNK]]
            with torch.no_grad():
                vertices = self.body(self.true_params[chosen], need=('vertices',)).vertices.float()
                render = self._renderer(vertices, self.body.faces, rig)
            yield chosen, render
