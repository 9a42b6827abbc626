"""Videos of predictions: the body over every view's images, in a grid or a view a file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.infer_options import VIDEO_STYLES
from smilfit.apis.inference_recordings import Recording, ShownImage
from smilfit.apis.prediction_smoothing import projected, view_cameras
from smilfit.apis.predictions import Predictions
from smilfit.apis.progress import counted
from smilfit.body_models import SMIL
from smilfit.registry import reject_unknown
from smilfit.structures import Cameras
from smilfit.visualization import OverlayPainter, Panel, ShownBody, View, look, write_video
from smilfit.visualization.marks import BODY, FITTED, Surface, legend_strip, scale_of
from smilfit.visualization.overlays import grid_of_views

# Frames whose meshes are in memory at once.
_BLOCK = 32


def posed_vertices(body: SMIL, predictions: Predictions, rows: Sequence[int]) -> Iterator[torch.Tensor]:
    """Give the vertices of frames, world unit, a block of frames at a time in memory."""
    params = predictions.body_params
    for block in torch.as_tensor(list(rows)).split(_BLOCK):
        with torch.no_grad():
            output = body(params[block].to(body.v_template), ('vertices',))
        yield from output.vertices.cpu()


class PredictionVideo:
    """Draws predictions over a recording's images, whole frames.

    Args:
        body: the body model.
        recording: gives the images.
        animals: predictions of it, one an animal, of the same frames.
        style: 'overlay', or 'side_by_side' with the bare image on the left.
        side_px: the longer side of a view.
        surfaces: each animal's word and colour.
    """

    def __init__(
        self,
        body: SMIL,
        recording: Recording,
        animals: Sequence[Predictions],
        style: str,
        side_px: int,
        surfaces: Sequence[Surface] = (BODY,),
    ) -> None:
        reject_unknown('--video', 'style', [style], VIDEO_STYLES)
        self.body, self.recording, self.animals, self.surfaces = body, recording, animals, surfaces
        # Of all animals the same: frames, and cameras of the images.
        self.predictions = animals[0]
        self.style, self.side_px = style, side_px
        self.painter = OverlayPainter(body.faces)
        self._cameras = [view_cameras(one, recording.camera_names) for one in animals]
        # Drawn on undistorted images.
        self._pixels = [projected(one, one.keypoints3d, None) for one in animals]
        self._sizes = self._view_sizes()

    def write(self, path: Path, fps: float, views: Sequence[str], step: Callable[[], None]) -> None:
        """Write the video of some views; `step` is called once a frame."""
        drawn = counted(self.frames(views), step)
        write_video(path, drawn, fps, n_frames=len(self.predictions))

    def frames(self, views: Sequence[str]) -> Iterator[np.ndarray]:
        """Draw every frame, RGB."""
        rows = range(len(self.predictions))
        shown = self.recording.shown(self.predictions.frames.tolist())
        bodies = zip(*(posed_vertices(self.body, one, rows) for one in self.animals))
        for row, (_, images), vertices in zip(rows, shown, bodies):
            meshes = [(one, self.painter.normals(one)) for one in vertices]
            yield self._sheet([self._tile(row, view, images.get(view), meshes) for view in views])

    def _sheet(self, tiles: list[np.ndarray]) -> np.ndarray:
        sheet = grid_of_views(tiles, len(tiles) if len(tiles) <= 2 else None)
        marks = [FITTED, *self.surfaces]
        strip = legend_strip(marks, sheet.shape[1], max(scale_of(tile) for tile in tiles))
        return np.concatenate((sheet, strip))

    def _tile(
        self,
        row: int,
        view: str,
        shown: ShownImage | None,
        meshes: Sequence[tuple[torch.Tensor, torch.Tensor | None]],
    ) -> np.ndarray:
        width, height = self._sizes[view]
        label = f'{view}  frame {self.predictions.frames[row]}'
        lost = [s.word for s, one in zip(self.surfaces, self.animals) if not one.valid[row]]
        if lost:
            label += f'  {", ".join(lost)} not predicted' if len(self.animals) > 1 else '  not predicted'
        c = self.recording.camera_names.index(view)
        if shown is None:
            image, affine, label = np.zeros((height, width, 3), np.uint8), np.eye(2, 3), f'{label}  no image'
        else:
            to_tile = _enlarging(shown.image.shape[1::-1], (width, height))
            image = look(shown.image, to_tile, (width, height), shown.lens)
            affine = to_tile[:, :2] @ shown.affine + np.c_[np.zeros((2, 2)), to_tile[:, 2]]
        bodies = [
            ShownBody(meshes[i][0], self._pixels[i][row, c], self.surfaces[i], meshes[i][1])
            for i, one in enumerate(self.animals)
            if shown is not None and one.valid[row] and one.view_mask[row, c]
        ]
        seen = View(image, self._camera(row, c), affine)
        tile = self.painter.tile(Panel(label, seen, np.full((0, 2), np.nan), bodies=tuple(bodies)))
        return tile if self.style == 'overlay' else np.concatenate((image, tile), 1)

    def _camera(self, row: int, c: int) -> Cameras:
        # Where an animal was not predicted nobody says what its view was seen by.
        which = next((i for i, one in enumerate(self.animals) if one.valid[row]), 0)
        one = self._cameras[which].select([self._cameras[which].names[c]])
        return replace(one, **{n: getattr(one, n)[row] for n in ('K', 'R', 't', 'size')})

    def _view_sizes(self) -> dict[str, tuple[int, int]]:
        """Give width and height of each view as it is drawn, from the first images that are there."""
        found: dict[str, tuple[int, int]] = {}
        images = self.recording.shown(self.predictions.frames.tolist())
        for _, frame in images:
            for view, shown in frame.items():
                height, width = shown.image.shape[:2]
                scale = self.side_px / max(width, height)
                found.setdefault(view, (max(2, round(width * scale)), max(2, round(height * scale))))
            if len(found) == len(self.recording.camera_names):
                break
        images.close()
        return {view: found.get(view, (self.side_px, self.side_px)) for view in self.recording.camera_names}


def _enlarging(size: tuple[int, int], shown: tuple[int, int]) -> np.ndarray:
    """Map px of an image to px of the same image at another size: corners stay corners."""
    sx, sy = shown[0] / size[0], shown[1] / size[1]
    return np.array([[sx, 0.0, (sx - 1) / 2], [0.0, sy, (sy - 1) / 2]])
