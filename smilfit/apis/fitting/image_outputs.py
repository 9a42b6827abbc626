"""What a fit of images leaves behind: meshes, overlays and figures, image by image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from smilfit.apis.fitting.session_outputs import NO_MESHES, OVERLAY, SessionOutputs
from smilfit.apis.progress import steps
from smilfit.body_models import SMIL
from smilfit.datasets import DatasetFile
from smilfit.drawing.fit_page import add_image_sections
from smilfit.drawing.marks import BODY, START_BODY, Surface
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody, posed
from smilfit.drawing.report import Report
from smilfit.drawing.video import write_image, write_video
from smilfit.drawing.windows import enlarge
from smilfit.evaluation import (
    ImageAnswer,
    ImageFigures,
    ImageFit,
    image_fit,
    inside_of,
    read_figures,
    write_figures,
)
from smilfit.evaluation.verdict import SessionNumbers, image_numbers
from smilfit.files import file_stem
from smilfit.handlers import BaseInput
from smilfit.handlers.keypoints import KeypointInput
from smilfit.io import write_mesh
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import Cameras, FitResult, Keypoints2d

# Steps of judging images: measuring, and fitting with shuffled keypoints.
_JUDGING_STEPS = 2


@dataclass(frozen=True)
class BodyInImage:
    """A body in one crop, its annotated keypoints' px (NaN where not in sight), and how well it explains it."""

    vertices: Tensor
    keypoints: np.ndarray
    camera: Cameras
    fit: ImageFit


@dataclass(frozen=True)
class FittedImage:
    """One image's crop with what was annotated, where its fit began, and where it ended."""

    row: int
    name: str
    image: np.ndarray
    xy: np.ndarray
    mask: np.ndarray | None
    start: BodyInImage | None
    end: BodyInImage


class ImageDrawing:
    """Measures and draws the fitted images of one session of a dataset file.

    Args:
        body: the body.
        dataset: an open dataset file.
        session: one of its sessions whose images have cameras of their own.
        result: its fit.
        window_px: side of a drawn image, px.
        words: what each image's fit was judged to be, where it was.
        reasons: why, of those that are not good.
    """

    def __init__(
        self,
        body: SMIL,
        dataset: DatasetFile,
        session: str,
        result: FitResult,
        window_px: int = 400,
        words: Sequence[str] = (),
        reasons: Sequence[str] = (),
    ) -> None:
        self.body, self.dataset, self.session, self.result = body, dataset, session, result
        self.window_px, self.words, self.reasons = window_px, tuple(words), tuple(reasons)
        self.renderer = ZBufferRenderer()
        self.painter = OverlayPainter(body.faces)
        self.labels, self.entries = dataset.labels(session), dataset.entries(session)
        self.observed: Keypoints2d = dataset.keypoints2d(session, stored=True)
        self.cameras: Cameras = dataset.stored_cameras(session)
        self.fitted_cameras = self.cameras if result.cameras is None else result.cameras

    def images(self) -> Iterator[FittedImage]:
        """Return the fitted images in order; frames that were not fitted are left out."""
        rows, start, names = self._fitted_rows(), self.result.start, self.observed.names
        starts = repeat(None) if start is None else posed(self.body, start, names, rows)
        ends = posed(self.body, self.result.params, names, rows)
        for row, begin, end in zip(rows, starts, ends):
            yield self._image(row, begin, end)

    def _fitted_rows(self) -> list[int]:
        return self.result.fitted.cpu().nonzero().flatten().tolist()

    def _image(
        self, row: int, start: tuple[Tensor, Tensor] | None, end: tuple[Tensor, Tensor]
    ) -> FittedImage:
        sample, mask = int(self.dataset.samples(self.session)[row]), self._mask(row)
        return FittedImage(
            row=row,
            name=self._name(row),
            image=self.dataset.image(sample, self.cameras.names[0]),
            xy=self._annotated(row),
            mask=mask,
            start=None if start is None else self._measured(row, *start, self.cameras, mask),
            end=self._measured(row, *end, self.fitted_cameras, mask),
        )

    def _measured(
        self, row: int, vertices: Tensor, keypoints: Tensor, cameras: Cameras, mask: np.ndarray | None
    ) -> BodyInImage:
        camera = _single(cameras, row)
        projected, _, valid = camera.project(keypoints.double())
        pixels = torch.where(valid.unsqueeze(-1), projected, torch.nan)[0].numpy()
        silhouette = None if mask is None else self._covered(vertices, camera)
        annotated = self._annotated(row)
        confidence, side = self.observed.confidence[row, 0].double().numpy(), int(camera.size[0, 0])
        fit = image_fit(self.labels[row], pixels, annotated, confidence, side, silhouette, mask)
        drawn = np.where(np.isnan(annotated), np.nan, pixels)
        return BodyInImage(vertices, drawn, camera, fit)

    def _covered(self, vertices: Tensor, camera: Cameras) -> np.ndarray:
        """Return which px of a crop a body covers."""
        drawn = self.renderer(vertices.double().unsqueeze(0), self.body.faces.cpu(), camera)
        return (drawn.alpha[0] > 0.5).numpy()

    def silhouettes(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Return of each fitted image that has a mask its row, what the fit covers, and the mask."""
        rows = self._fitted_rows()
        for row, (vertices, _) in zip(rows, posed(self.body, self.result.params, rows=rows)):
            mask = self._mask(row)
            if mask is not None:
                yield row, self._covered(vertices, _single(self.fitted_cameras, row)), mask

    def answers(self) -> list[ImageAnswer]:
        """Return the fitted images as published protocols score them."""
        result, rows = [], self._fitted_rows()
        for row, end in zip(rows, posed(self.body, self.result.params, self.observed.names, rows)):
            mask, camera = self._mask(row), _single(self.fitted_cameras, row)
            projected, _, valid = camera.project(end[1].double())
            sample = int(self.dataset.samples(self.session)[row])
            image = torch.from_numpy(self.dataset.image(sample, self.cameras.names[0])).permute(2, 0, 1)
            result.append(
                ImageAnswer(
                    predicted=torch.where(valid.unsqueeze(-1), projected, torch.nan)[0].numpy(),
                    truth=np.nan_to_num(self._annotated(row)),
                    weight=self.observed.confidence[row, 0].double().numpy(),
                    side=float(camera.size[0, 0]),
                    mask=mask,
                    silhouette=None if mask is None else self._covered(end[0], camera),
                    inside=None if mask is None else inside_of(image.float(), len(mask)),
                    # Numbers of single images are no moments.
                    frame=row * (1 if self.dataset.temporal(self.session) else 2),
                )
            )
        return result

    def _mask(self, row: int) -> np.ndarray | None:
        sample = int(self.dataset.samples(self.session)[row])
        mask = self.dataset.mask(sample, self.cameras.names[0])
        return None if mask is None or not mask.any() else mask > 0

    def _annotated(self, row: int) -> np.ndarray:
        """Return an image's annotated keypoints, px of the crop; NaN where there is none."""
        valid = self.observed.confidence[row, 0] > 0
        return torch.where(valid.unsqueeze(-1), self.observed.xy[row, 0], torch.nan).double().numpy()

    def draw(self, shown: FittedImage) -> np.ndarray:
        """Draw one image: what was annotated, the start, the fit."""
        bare = enlarge(shown.image, shown.end.camera, self.window_px)
        panels = [Panel('annotated', bare, shown.xy, shown.mask)]
        if shown.start is not None:
            panels.append(self._panel('start', shown, shown.start, START_BODY))
        word = f'fit: {self.words[shown.row]} ' if self.words else 'fit'
        panels.append(self._panel(word, shown, shown.end, BODY))
        return self.painter.draw(panels, columns=len(panels))

    def _panel(self, word: str, shown: FittedImage, body: BodyInImage, surface: Surface) -> Panel:
        view = enlarge(shown.image, body.camera, self.window_px)
        drawn = ShownBody(body.vertices, body.keypoints, surface)
        return Panel(f'{word} {_caption(body.fit)}', view, shown.xy, body=drawn)

    def write(self, folder: Path, step: Callable[[], None] = lambda: None) -> list[ImageFigures]:
        """Write every image's overlay, and the tables `images.csv` and `images.json`."""
        done: list[ImageFigures] = []
        for shown in self.images():
            write_image(folder / 'overlays' / f'{shown.name}.jpg', self.draw(shown))
            start = None if shown.start is None else shown.start.fit
            judged = (self.words[shown.row], self.reasons[shown.row]) if self.words else ('', '')
            done.append(ImageFigures(shown.name, shown.end.fit, start, self.entries[shown.row], *judged))
            step()
        write_figures(folder, done)
        return done

    def write_meshes(self, folder: Path, mesh_format: str) -> None:
        """Write every image's mesh."""
        faces = self.body.faces.cpu().numpy()
        rows = self._fitted_rows()
        for row, (vertices, _) in zip(rows, posed(self.body, self.result.params, rows=rows)):
            path = folder / 'meshes' / f'{self._name(row)}.{mesh_format}'
            write_mesh(path, vertices.double().numpy(), faces)

    def _name(self, row: int) -> str:
        return f'{row:06d}_{file_stem(self.labels[row])}'


def _single(cameras: Cameras, row: int) -> Cameras:
    return cameras[torch.tensor([row])].map(lambda x: x[0].cpu().double())


def _caption(fit: ImageFit) -> str:
    parts = [] if fit.iou is None else [f'IoU {fit.iou:.2f}']
    return '  '.join(parts + ([] if fit.pck_5px is None else [f'PCK {fit.pck_5px:.2f}']))


class ImageOutputs(SessionOutputs):
    """Outputs of images with cameras of their own: measured, judged and drawn one by one."""

    @cached_property
    def figures(self) -> list[ImageFigures] | None:
        """The fit measured image by image."""
        return read_figures(self.folder.folder)

    def _drawing(self) -> ImageDrawing:
        fits = self.fits
        return ImageDrawing(
            fits.body, fits.dataset, self.session, self.result, fits.options.window_px, *self.frame_words()
        )

    def _numbers(self, inputs: list[BaseInput]) -> SessionNumbers:
        fits, optional = self.fits, self.fits.registrant.optional_handlers
        # Rendering masks takes most of the time, and whether a map of keypoints is right shows in keypoints.
        needed = [i for i in inputs if isinstance(i, KeypointInput) or i.handler_key not in optional]
        fit = self._fit_by(fits.cfg) if any(isinstance(i, KeypointInput) for i in needed) else None
        with self._judging(_JUDGING_STEPS) as step:
            drawing = ImageDrawing(fits.body, fits.dataset, self.session, self.result)
            covered = {row: (body, mask) for row, body, mask in drawing.silhouettes()}
            observed = replace(drawing.observed, cameras=drawing.fitted_cameras)
            ambiguity = self._ambiguity(observed)
            return image_numbers(fits.body, self.result, observed, needed, fit, covered, ambiguity, step)

    def _write_parts(self) -> None:
        options, drawing = self.fits.options, self._drawing()
        kind = options.meshes or 'obj'
        self._part(
            'meshes', kind != NO_MESHES, {'format': kind}, lambda folder: drawing.write_meshes(folder, kind)
        )

        def draw(folder: Path) -> None:
            count = int(self.result.fitted.sum())
            with steps(f'{self.session}: drawing', count, self.fits.progress) as step:
                drawing.write(folder, step)

        self._part('pictures', True, {'window_px': options.window_px}, draw)
        wanted = options.video and self.data.temporal and bool(self.figures)
        drawn_with = {'window_px': options.window_px, **options.video_choice.record()}
        self._part('overlay', wanted, drawn_with, self._write_video)

    def _write_video(self, folder: Path) -> None:
        """Put the overlays of a sequence together as a video."""
        rows = set(self.fits.options.video_choice.rows(self.session, self.frames))
        shown = [one for one in self.figures or () if int(one.name.split('_', 1)[0]) in rows]
        drawn = (_read_image(self.folder.folder / 'overlays' / f'{one.name}.jpg') for one in shown)
        fps = self.fits.dataset.fps(self.session) or USUAL_FPS
        write_video(folder / OVERLAY, drawn, fps, n_frames=len(shown))

    def _add_results(self, section: Report, words: Sequence[str], video: Path | None, title: str) -> None:
        overlays = self.folder.folder / 'overlays'
        history, notes = self.result.history, self.result.report
        add_image_sections(section, self.figures or [], overlays, history, notes, video)


def _read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise OSError(f'{path}: must be an image; it does not decode. Remove the folder and fit again.')
    return image[..., ::-1]
