"""A fitted recording as its overlays show it: one tile a camera, through windows that follow the animal."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int

from smilfit.apis.preprocessing.recordings import open_recording
from smilfit.body_models import SMIL
from smilfit.datasets import DatasetFile
from smilfit.drawing.marks import FIT_MARKS
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody, posed, with_legend
from smilfit.drawing.windows import View, follow, look
from smilfit.structures import BodyParams, Cameras, FitResult, Keypoints2d

logger = logging.getLogger('smilfit')


@dataclass(frozen=True)
class OverlayScene:
    """All that the overlays of a recording are drawn of; another process can be given it.

    Attributes:
        body: the body, on the CPU.
        params: of all frames.
        dataset: the open dataset file.
        session: one of its sessions.
        frames: numbers of the frames in the recording.
        seen: annotated keypoints, and the cameras as the fit corrected them.
        affine: maps from the images' px to the tiles' px.
        side_px: of a tile.
        words: what each frame was judged to be, where it was.
    """

    body: SMIL
    params: BodyParams
    dataset: DatasetFile
    session: str
    frames: Int[np.ndarray, ' B']
    observed: Keypoints2d
    affine: Float[np.ndarray, 'B C 2 3']
    side_px: int
    words: tuple[str, ...] = ()

    @classmethod
    def of_fit(
        cls,
        body: SMIL,
        result: FitResult,
        dataset: DatasetFile,
        session: str,
        observed: Keypoints2d,
        side_px: int,
        words: Sequence[str] = (),
    ) -> 'OverlayScene':
        """Find the windows of a fit."""
        affine = follow(observed.rig, result.joints().cpu(), side_px)
        frames = np.asarray(dataset.frame_indices(session))
        params = result.params.to(body.v_template)
        return cls(body, params, dataset, session, frames, observed, affine, side_px, tuple(words))

    @property
    def cameras(self) -> Cameras:
        """The cameras, one set for all frames."""
        return self.observed.rig

    def sheets(self, rows: Sequence[int]) -> Iterator[np.ndarray]:
        """Draw frames, all cameras side by side with a legend.

        Args:
            rows: increasing.
        """
        for tiles in self.tiles(rows, range(len(self.cameras))):
            yield self.sheet(tiles)

    def sheet(self, tiles: Sequence[np.ndarray]) -> np.ndarray:
        """Put the tiles of a frame side by side."""
        return with_legend(tiles, FIT_MARKS, columns=len(tiles) if len(tiles) <= 3 else None)

    def tiles(self, rows: Sequence[int], which: Sequence[int]) -> Iterator[list[np.ndarray]]:
        """Draw frames by some of the cameras, a tile each; as of `sheets`."""
        painter, singles = (
            OverlayPainter(self.body.faces),
            [self.cameras.select([n]) for n in self.cameras.names],
        )
        views = self._views(rows, which, singles)
        for row, shown, (vertices, fitted) in zip(rows, views, self._bodies(rows)):
            annotated, valid = (
                self.observed.xy[row].double().numpy(),
                self.observed.confidence[row].numpy() > 0,
            )
            normals = painter.normals(vertices)
            word = f'  {self.words[row]}' if self.words else ''
            yield [
                painter.tile(
                    Panel(
                        f'{self.cameras.names[c]}  frame {self.frames[row]}{word}',
                        view,
                        np.where(valid[c, :, None], annotated[c], np.nan),
                        body=ShownBody(vertices, fitted[c], normals=normals),
                    )
                )
                for c, view in zip(which, shown)
            ]

    def _bodies(self, rows: Sequence[int]) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """Return vertices and keypoints' px (C, K, 2) of frames."""
        cameras = self.cameras.map(lambda x: x.cpu())
        for vertices, points in posed(self.body, self.params, self.observed.names, rows):
            pixels, _, valid = cameras.project(points.to(cameras.K).unsqueeze(0))
            yield vertices, torch.where(valid.unsqueeze(-1), pixels, torch.nan)[0].double().numpy()

    def _views(
        self, rows: Sequence[int], which: Sequence[int], singles: Sequence[Cameras]
    ) -> Iterator[list[View]]:
        """See the recording's own images while they are there, else the stored ones."""
        done = 0
        try:
            for images in self._recorded(rows, which):
                yield self._framed(images, rows[done], which, singles)
                done += 1
        # A fit is there when this is asked for: nothing about its drawings may end the work.
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            logger.warning('%s: overlays show the small stored images: %s', self.session, error)
            for row in rows[done:]:
                yield self._framed(self._stored(row, which), row, which, singles)

    def _framed(
        self, images: Sequence[np.ndarray], row: int, which: Sequence[int], singles: Sequence[Cameras]
    ) -> list[View]:
        return [View(image, singles[c], self.affine[row, c]) for image, c in zip(images, which)]

    def _recorded(self, rows: Sequence[int], which: Sequence[int]) -> Iterator[list[np.ndarray]]:
        """Decode the videos of some cameras, once and in order; only windows are undistorted and made RGB."""
        names, size = [self.cameras.names[c] for c in which], (self.side_px, self.side_px)
        recorded = open_recording(self.dataset, self.session, images_only=True, cameras=names)
        cameras = recorded.cameras or self.dataset.annotated_cameras(self.session)
        lenses = cameras.select(names)
        lens: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(names)
        if self.dataset.undistorted and lenses.dist is not None:
            lens = [(k.numpy(), d.numpy()) for k, d in zip(lenses.K, lenses.dist)]
        frames = self.frames[np.asarray(rows)].tolist()
        for row, (_, images) in zip(rows, recorded.frames(frames, bgr=True)):
            yield [
                cv2.cvtColor(look(images[name], self.affine[row, c], size, lens[i]), cv2.COLOR_BGR2RGB)
                for i, (name, c) in enumerate(zip(names, which))
            ]

    def _stored(self, row: int, which: Sequence[int]) -> list[np.ndarray]:
        """Enlarge the images of the dataset file; a camera without one shows black, as all frames are alike."""
        size, sample = (self.side_px, self.side_px), int(self.dataset.samples(self.session)[row])
        stored, shown = self.dataset.record(sample), []
        for c in which:
            name = self.cameras.names[c]
            u = self.dataset.camera_names.index(name)
            if stored.view_mask[u]:
                to_window = self.affine[row, c] @ np.vstack((stored.to_original[u], (0.0, 0.0, 1.0)))
                shown.append(look(self.dataset.image(sample, name), to_window, size))
            else:
                shown.append(np.zeros((*size, 3), np.uint8))
        return shown
