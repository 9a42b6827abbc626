"""What a session's fit leaves beside its parameters: a verdict, drawings, numbers and a part of the page."""

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from smilfit.apis.fitting.fit_overlays import (
    STILLS,
    draw_free_views,
    report_images,
    still_images,
    write_meshes,
    write_overlay,
)
from smilfit.apis.fitting.overlay_scene import OverlayScene
from smilfit.apis.fitting.verdict_file import VERDICT, CameraRow, read_verdict, write_verdict
from smilfit.apis.progress import steps
from smilfit.drawing.fit_page import add_fit_sections, add_verdict
from smilfit.drawing.report import Report
from smilfit.evaluation import FitBenchmark, ImageFigures, PointBenchmark, fit_benchmark
from smilfit.evaluation.fit_quality import keypoints_of
from smilfit.evaluation.verdict import (
    SessionNumbers,
    Verdict,
    judge,
    judged_by_failures,
    n_steps,
    point_numbers,
    session_numbers,
    stiffened,
    with_covariance,
    with_failed_frames,
)
from smilfit.evaluation.verdict.label_measures import extents_px
from smilfit.evaluation.verdict.point_measures import N_STEPS as N_POINT_STEPS
from smilfit.files import MadeOf, write_text
from smilfit.handlers import BaseInput
from smilfit.registrants import OneViewAmbiguity, one_view_ambiguity
from smilfit.registrants.swaps import input_as_fitted, labels_as_fitted
from smilfit.structures import BodyParams, FitResult, Keypoints2d, Keypoints3d

if TYPE_CHECKING:
    from smilfit.apis.fitting.fit_session import SessionFits

OVERLAY = 'overlay.mp4'
NO_MESHES = 'none'

# Fits inputs of some frames, whose rows are given.
FewFramesFit = Callable[[Sequence[BaseInput], torch.Tensor], FitResult]
Step = Callable[[str], None]


class SessionOutputs(ABC):
    """Writes what is missing, of another fit, of other options or damaged; the rest stays. A class a kind of session.

    Args:
        fits: the body, the dataset and the options.
        session: one of the dataset's sessions.
        result: its fit, which lies in the session's folder.
    """

    # The file of the part 'overlay' that the page shows.
    video = OVERLAY

    def __init__(self, fits: 'SessionFits', session: str, result: FitResult) -> None:
        self.fits, self.session, self.result = fits, session, result
        self.folder, self.data = fits.folder(session), fits.dataset.session(session)
        self.frames = fits.dataset.frame_indices(session)
        self._inputs: dict[str, object] = {}

    @property
    def benchmark(self) -> FitBenchmark | None:
        """The fit measured by labels in a rig's images; None of other sessions."""
        return None

    @property
    def points(self) -> PointBenchmark | None:
        """The fit measured by points in space; None of sessions with images."""
        return None

    @property
    def figures(self) -> list[ImageFigures] | None:
        """The fit measured image by image; None of sessions whose images share cameras."""
        return None

    def write(self) -> None:
        """Write all parts that are asked for; parts of another fit that nobody asks for are removed."""
        fits = self.fits
        # All that is drawn and measured is of these parameters: where they change, everything does.
        self._inputs = {'fit': self.folder.checksum('fit'), 'dataset': fits.dataset.fingerprint}
        thresholds = {name: asdict(threshold) for name, threshold in fits.thresholds.items()}
        self._part(
            'verdict',
            fits.options.verdict,
            {'thresholds': thresholds},
            lambda folder: write_verdict(folder, *self.judge()),
        )
        if fits.options.verdict:
            # Drawings state what each frame was judged to be.
            self._inputs = {**self._inputs, 'verdict': self.folder.checksum('verdict')}
        self._write_parts()

    @abstractmethod
    def _write_parts(self) -> None:
        """Write drawings, meshes and numbers."""

    def _part(
        self, name: str, wanted: bool, options: Mapping[str, object], make: Callable[[Path], object]
    ) -> None:
        self.folder.part(name, MadeOf(self._inputs, options), wanted, make)

    def verdict(self) -> tuple[Verdict, list[CameraRow]] | None:
        """Read the verdict on the fit and the table of its cameras; None where it was not judged."""
        valid = self.fits.options.verdict and VERDICT in self.folder.files('verdict')
        return read_verdict(self.folder.folder) if valid else None

    def frame_words(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return each frame's word and reason; empty where nothing is judged."""
        result = self.verdict()
        return ((), ()) if result is None else (result[0].frame_words, result[0].frame_reasons)

    def judge(self) -> tuple[Verdict, list[CameraRow]]:
        """Judge the fit by fits of few of its frames, its labels and its mesh.

        Returns:
            The verdict, and the table of a calibrated session's cameras.
        """
        lost = None
        if not bool(self.result.fitted.any()):
            lost = judged_by_failures(self.result, self.fits.thresholds)
        if lost is not None:
            return lost, []
        body = self.fits.body
        given = (i.resolve(body.data).to(body.v_template.dtype) for i in self.fits.inputs(self.session))
        numbers = self._numbers([input_as_fitted(i, self.result.report, self.frames) for i in given])
        numbers = with_failed_frames(numbers, self.result)
        thresholds, keypoints = self.fits.thresholds, numbers.keypoints
        verdict = judge(numbers.values, thresholds, numbers.frames, numbers.notes, keypoints)
        return verdict, [asdict(row) for row in numbers.cameras]

    @abstractmethod
    def _numbers(self, inputs: list[BaseInput]) -> SessionNumbers:
        """Measure all that the fit is judged by, with the inputs as it took them."""

    @contextmanager
    def _judging(self, count: int) -> Iterator[Step]:
        with steps(f'{self.session}: judging', count, self.fits.progress) as step:
            yield lambda what: step()

    def _fit_by(self, cfg: Mapping[str, object]) -> FewFramesFit:
        registrant = self.fits.probe(cfg)
        return lambda inputs, rows: registrant(inputs, frames=self.frames[rows.numpy()])

    def _ambiguity(self, observed: Keypoints2d) -> OneViewAmbiguity | None:
        """Compare the starts of each frame, where its config states how; of several cameras nothing is ambiguous."""
        thresholds = getattr(self.fits.registrant, 'doubt', None)
        tried = self.result.start_losses
        if thresholds is None or tried is None or tried.shape[1] < 2 or len(observed.rig) > 1:
            return None
        return one_view_ambiguity(self.result, self.fits.body.data, observed.rig, observed, thresholds)

    def add_to_page(self, page: Report, several: bool) -> None:
        """Add the session's section to the page of all.

        Args:
            page: the page.
            several: whether it has other sessions.
        """
        section = page.add_section(f'Session {self.session}')
        verdict, cameras = self.verdict() or (None, [])
        words, labels = verdict.frame_words if verdict else (), self.data.captions()
        add_verdict(section, verdict, cameras, labels)
        section.add_images(*draw_free_views(self.fits.body, self.result, labels, words))
        video = self.folder.folder / self.video if self.video in self.folder.files('overlay') else None
        self._add_results(section, words, video, self.session if several else '')

    @abstractmethod
    def _add_results(self, section: Report, words: Sequence[str], video: Path | None, title: str) -> None:
        """Add numbers and drawings to the page; `title` is the session's name where the page has several."""


class RecordingOutputs(SessionOutputs):
    """Outputs of a recording: measured, judged and drawn by the cameras of its rig."""

    @cached_property
    def benchmark(self) -> FitBenchmark | None:
        """Measure the fit by labels: frames that were not fitted do not count, unless none was."""
        observed, given = self.annotated(), self.fits.dataset.keypoints3d(self.session)
        if observed is None:
            return None
        body, dataset, rows = self.fits.body, self.fits.dataset, self.result.fitted.cpu()
        some = bool(rows.any())
        rows = rows if some else torch.ones_like(rows)
        # A long recording's labels are large: copied only where frames are left out.
        observed = observed if bool(rows.all()) else observed[rows]
        truth, true_vertices, vertices = None, None, None
        true_params = dataset.true_params(self.session) if some else None
        params = self.result.params[rows.to(self.result.params.transl.device)]
        if true_params is not None:
            true_params = true_params[rows].to(body.v_template)
            xyz = keypoints_of(body, true_params, observed.names)
            truth = Keypoints3d(xyz, torch.ones_like(xyz[..., 0]), observed.names, dataset.unit)
            true_vertices, vertices = self._vertices(true_params), self._vertices(params.to(body.v_template))
        fitted = keypoints_of(body, params, observed.names)
        return fit_benchmark(
            observed, fitted, None if given is None else given[rows], truth, vertices, true_vertices
        )

    @torch.no_grad()
    def _vertices(self, params: BodyParams) -> torch.Tensor:
        return self.fits.body(params, ('vertices',)).vertices.cpu()

    def annotated(self) -> Keypoints2d | None:
        """Return the keypoints in px of the annotated images as the fit took them, under the cameras as corrected."""
        observed = self.data.annotated2d()
        if observed is None:
            return None
        observed = labels_as_fitted(observed, self.result.report, self.frames)
        if self.result.cameras is None:
            return observed
        corrected = self.result.cameras.to(observed.rig.K)
        return replace(observed, cameras=replace(corrected, dist=observed.rig.dist, fold=observed.rig.fold))

    def scene(self, words: Sequence[str] = ()) -> OverlayScene:
        """Return what overlays are drawn of, with what each frame was judged to be."""
        fits, dataset = self.fits, self.fits.dataset
        observed = labels_as_fitted(dataset.keypoints2d(self.session), self.result.report, self.frames)
        if self.result.cameras is not None:
            observed = replace(observed, cameras=self.result.cameras.to(observed.rig.K))
        # Drawn on the CPU, whatever the fit is computed on.
        body = fits.body if fits.body.v_template.device.type == 'cpu' else copy.deepcopy(fits.body).cpu()
        return OverlayScene.of_fit(
            body, self.result, dataset, self.session, observed, fits.options.window_px, words
        )

    def _numbers(self, inputs: list[BaseInput]) -> SessionNumbers:
        fits, observed = self.fits, self.annotated()
        if observed is None:
            return self._numbers_of_points(inputs)
        extent_px = float(extents_px(fits.dataset.keypoints2d(self.session))[0].nanmedian())
        # How sure a fit is predicts something of cameras that are left out.
        fit = self._fit_by(with_covariance(fits.cfg))
        stiff = self._fit_by(stiffened(fits.cfg, fits.registrant.handlers, extent_px))
        with self._judging(n_steps(len(observed.rig))) as step:
            ambiguity = self._ambiguity(observed)
            return session_numbers(fits.body, self.result, observed, inputs, fit, stiff, ambiguity, step)

    def _numbers_of_points(self, inputs: list[BaseInput]) -> SessionNumbers:
        fits, given = self.fits, self.fits.dataset.keypoints3d(self.session)
        assert given is not None
        fit, stiff = self._fit_by(fits.cfg), self._fit_by(stiffened(fits.cfg, fits.registrant.handlers, None))
        with self._judging(N_POINT_STEPS) as step:
            return point_numbers(fits.body, self.result, given, inputs, fit, stiff, step)

    def _write_parts(self) -> None:
        options = self.fits.options
        drawn_with = {'window_px': options.window_px, **options.video_choice.record()}
        self._part('overlay', options.video and self._has_video(), drawn_with, self._draw)
        kind = options.meshes or NO_MESHES
        self._part(
            'meshes',
            kind != NO_MESHES,
            {'format': kind},
            lambda folder: write_meshes(self.fits.body, self.result, folder / 'meshes', kind),
        )
        measured = [part for part in (self.benchmark, self.points) if part is not None]
        numbers = {name: value for part in measured for name, value in part.metrics().items()}
        numbers['n_frames_not_fitted'] = int((~self.result.fitted).sum())
        text = json.dumps(numbers, indent=1)
        self._part('benchmark', True, {}, lambda folder: write_text(folder / 'benchmark.json', text))

    def _has_video(self) -> bool:
        return True

    def _draw(self, folder: Path) -> None:
        options, scene = self.fits.options, self.scene(self.frame_words()[0])
        rows = options.video_choice.rows(self.session, scene.frames)
        with steps(f'{self.session}: overlay', len(rows), self.fits.progress) as step:
            write_overlay(scene, rows, folder / OVERLAY, step, folder / STILLS, options.video_workers)

    def _images(self, words: Sequence[str]) -> Mapping[str, np.ndarray | Path]:
        """Return a few frames for the page, with what each was judged to be: of the video where there is one."""
        stills = still_images(self.folder.folder, self.folder.files('overlay'))
        return stills or report_images(self.scene(words))

    def _add_results(self, section: Report, words: Sequence[str], video: Path | None, title: str) -> None:
        images, history, notes = self._images(words), self.result.history, self.result.report
        if self.benchmark is not None:
            add_fit_sections(section, self.benchmark, history, notes, images, video, title)
