"""What a session's fit leaves beside its parameters: video, meshes, numbers and images, each made once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smilfit.apis.fitting.fit_overlays import STILLS, write_meshes, write_overlay
from smilfit.apis.fitting.image_outputs import ImageOutputs, image_row
from smilfit.apis.fitting.judging import judge_session, write_verdict
from smilfit.apis.fitting.point_outputs import TURNTABLE, write_turntable
from smilfit.apis.progress import steps
from smilfit.evaluation import ImageFigures, read_figures
from smilfit.files import MadeOf, OutputFolder, write_text
from smilfit.structures import FitResult

if TYPE_CHECKING:
    from smilfit.apis.fitting.fit_session import SessionFits

OVERLAY = 'overlay.mp4'
NO_MESHES = 'none'


class SessionOutputs:
    """Writes what is missing, of another fit, of other options or damaged; the rest stays.

    Args:
        fits: the body, the dataset and the options.
        session: one of the dataset's sessions.
        result: its fit.
        outputs: the folder of its results, which holds the part 'fit'.
    """

    def __init__(self, fits: 'SessionFits', session: str, result: FitResult, outputs: OutputFolder) -> None:
        self.fits, self.session, self.result, self.outputs = fits, session, result, outputs
        # All that is drawn and measured is of these parameters: where they change, everything does.
        self.inputs = {'fit': outputs.checksum('fit'), 'dataset': fits.dataset.fingerprint}

    def write(self) -> None:
        """Write all parts that are asked for; parts of another fit that nobody asks for are removed."""
        self._verdict()
        if self.fits.dataset.has_own_cameras(self.session):
            self._images()
        else:
            self._recording()

    def _verdict(self) -> None:
        fits = self.fits
        options = {name: asdict(threshold) for name, threshold in fits.thresholds.items()}

        def judge(folder: Path) -> None:
            write_verdict(folder, *judge_session(fits, self.session, self.result, fits.thresholds))

        self._part('verdict', fits.options.verdict, {'thresholds': options}, judge)
        if fits.options.verdict:
            # Drawings say what each frame was judged to be.
            self.inputs = {**self.inputs, 'verdict': self.outputs.checksum('verdict')}

    @property
    def _words(self) -> tuple[str, ...]:
        return self._judged()[0]

    def _judged(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return each frame's word and reason; empty where nothing is judged."""
        result = self.fits.verdict(self.session)
        return ((), ()) if result is None else (result[0].frame_words, result[0].frame_reasons)

    @property
    def _drawn_with(self) -> dict[str, Any]:
        """State what a video depends on, beside the fit."""
        return {'window_px': self.fits.options.window_px, **self.fits.options.video_choice.record()}

    def _shown(self, figures: Sequence[ImageFigures]) -> list[ImageFigures]:
        """Choose those images of a sequence that its video shows."""
        frames = self.fits.dataset.frame_indices(self.session)
        rows = set(self.fits.options.video_choice.rows(self.session, frames))
        return [one for one in figures if image_row(one.name) in rows]

    def _recording(self) -> None:
        fits, options = self.fits, self.fits.options
        draw = self._overlay if fits.dataset.has_images(self.session) else self._turntable
        # A turntable shows bodies alone.
        shown = fits.dataset.has_images(self.session) or bool(self.result.fitted.any())
        self._part('overlay', options.video and shown, self._drawn_with, draw)
        kind = options.meshes or NO_MESHES
        self._part('meshes', kind != NO_MESHES, {'format': kind}, lambda folder: self._meshes(folder, kind))
        measured = fits.measured(self.session, self.result)
        numbers = {name: value for part in measured for name, value in part.metrics().items()}
        numbers['n_frames_not_fitted'] = int((~self.result.fitted).sum())
        text = json.dumps(numbers, indent=1)
        self._part('benchmark', True, {}, lambda folder: write_text(folder / 'benchmark.json', text))

    def _images(self) -> None:
        fits, options = self.fits, self.fits.options
        images = ImageOutputs(
            fits.body, fits.dataset, self.session, self.result, options.window_px, *self._judged()
        )
        kind = options.meshes or 'obj'
        self._part(
            'meshes', kind != NO_MESHES, {'format': kind}, lambda folder: images.write_meshes(folder, kind)
        )

        def draw(folder: Path) -> None:
            count = int(self.result.fitted.sum())
            with steps(f'{self.session}: drawing', count, options.progress) as step:
                images.write(folder, step)

        self._part('pictures', True, {'window_px': options.window_px}, draw)
        figures = read_figures(self.outputs.folder)
        wanted = options.video and fits.dataset.temporal(self.session) and bool(figures)
        drawn = self.outputs.folder / 'overlays'
        self._part(
            'overlay',
            wanted,
            self._drawn_with,
            lambda folder: images.write_video(folder / OVERLAY, drawn, self._shown(figures)),
        )

    def _part(self, name: str, wanted: bool, options: dict[str, Any], make: Callable[[Path], Any]) -> None:
        made_of = MadeOf(self.inputs, options)
        if not wanted:
            self.outputs.drop_stale(name, self.inputs)
        elif not self.outputs.holds(name, made_of):
            with self.outputs.make(name, made_of) as staging:
                make(staging)

    def _overlay(self, folder: Path) -> None:
        fits, options = self.fits, self.fits.options
        scene = fits.scene(self.session, self.result, self._words)
        rows = options.video_choice.rows(self.session, scene.frames)
        with steps(f'{self.session}: overlay', len(rows), options.progress) as step:
            write_overlay(scene, rows, folder / OVERLAY, step, folder / STILLS, options.video_workers)

    def _turntable(self, folder: Path) -> None:
        write_turntable(self.fits, self.session, self.result, folder / TURNTABLE, self._words)

    def _meshes(self, folder: Path, kind: str) -> None:
        write_meshes(self.fits.body, self.result, folder / 'meshes', kind)
