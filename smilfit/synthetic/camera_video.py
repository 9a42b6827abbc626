"""One camera's video of a made session."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.io import probe_video
from smilfit.renderers import Renderer, RenderOutput
from smilfit.structures import BodyParams, Cameras
from smilfit.synthetic.images import ImageOptions, ShiftedNoise, background, compose
from smilfit.synthetic.labels import hidden_keypoints


class CameraVideo:
    """Render one camera's video, a chunk of frames in memory.

    Args:
        body: in the parameters' float type.
        params: of every frame.
        camera: one unbatched camera.
        colours: RGB in [0, 1] of each vertex.
        images: background and noise.
        rng: source of all chance.
        renderer: draws the animal.
    """

    chunk = 16

    def __init__(
        self,
        body: SMIL,
        params: BodyParams,
        camera: Cameras,
        colours: Tensor,
        images: ImageOptions,
        rng: np.random.Generator,
        renderer: Renderer,
    ) -> None:
        self.body, self.params, self.camera = body, params, camera
        self.colours, self.renderer = colours, renderer
        self.size = tuple(int(n) for n in camera.size[0])
        self.wall = background(self.size, images, rng)
        self.noise = ShiftedNoise(self.size, images.noise, rng)

    def write(
        self,
        path: Path,
        fps: float,
        codec: str,
        pixels: np.ndarray,
        depth: np.ndarray,
        margin: Tensor,
        bar: Callable[[Sequence[int]], Iterable[int]],
    ) -> np.ndarray:
        """Write the mp4; say which keypoints (frames, K) the animal hides.

        Args:
            path: of the video.
            fps: frames a second.
            codec: four letters.
            pixels: of the keypoints, (frames, K, 2).
            depth: of the keypoints, (frames, K), world unit.
            margin: how far the skin may lie before a keypoint that is seen, (K,), world unit.
            bar: wraps the loop over chunks, to show progress.

        Raises:
            ValueError: the codec is not there, or the video does not decode to all frames.
        """
        import cv2

        n_frames = self.params.batch_size
        hidden = np.zeros(depth.shape, bool)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, self.size)
        if not writer.isOpened():
            raise ValueError(f'{path}: the video writer must open; codec {codec!r} is not there.')
        starts = range(0, n_frames, self.chunk)
        for start in bar(starts):
            chosen = slice(start, start + self.chunk)
            with torch.no_grad():
                vertices = self.body(self.params[chosen], need=('vertices',)).vertices.float()
            render = self.renderer(vertices, self.body.faces, self.camera, self.colours)
            hidden[chosen] = hidden_keypoints(
                render,
                torch.from_numpy(pixels[chosen]).float(),
                torch.from_numpy(depth[chosen]).float(),
                margin.float(),
            ).numpy()
            for image in self._images(render):
                writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        writer.release()
        info = probe_video(path)
        if info.n_frames != n_frames:
            raise ValueError(f'{path}: the video must decode to {n_frames} frames; got {info.n_frames}.')
        return hidden

    def _images(self, render: RenderOutput) -> Iterator[np.ndarray]:
        for index in range(len(render)):
            yield compose(render, index, self.wall, self.noise.draw())
