"""One session of a dataset file: fitted or read, measured, and its files written."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.apis.fit_options import FitOptions
from smilfit.apis.fitting.fit_config import FitConfig, without_masks
from smilfit.apis.fitting.image_outputs import ImageOutputs
from smilfit.apis.fitting.point_outputs import PointOutputs
from smilfit.apis.fitting.session_landmarks import LANDMARKS, fitted_landmarks, warn_of_unfitted
from smilfit.apis.fitting.session_outputs import RecordingOutputs, SessionOutputs
from smilfit.apis.preprocessing.recordings import open_recording
from smilfit.apis.progress import Progress, ProgressCallback, ignore
from smilfit.body_models import SMIL
from smilfit.body_models.files.landmark_file import write_landmark_file
from smilfit.datasets import DatasetFile
from smilfit.evaluation.verdict import load_thresholds
from smilfit.files import MadeOf, OutputFolder, folder_name, real_folder
from smilfit.handlers import BaseInput, MissingObservationError
from smilfit.registrants import PartFiles, SMPLify, Stage
from smilfit.registrants.input_matching import observed_frames
from smilfit.registrants.segmentation import MaskSMPLify
from smilfit.registry import build_registrant
from smilfit.solvers import Processes
from smilfit.structures import FitOrigin, FitResult, ModelReference, SessionKind
from smilfit.version import __version__


class FitProgress:
    """A registrant's hook that reports its steps; a stage that ends early counts as whole.

    Args:
        report: takes the reports.
    """

    def __init__(self, report: ProgressCallback) -> None:
        self.report = report
        self._task, self._total, self._before = '', 0, 0
        self._last: tuple[Stage | None, int] = (None, 0)

    def __call__(self, stage: Stage, step: int, loss: float) -> bool:
        """Take note of a step; never stops a stage."""
        last, last_step = self._last
        # A stage that begins again is the next window's.
        if last is not None and (stage is not last or step <= last_step):
            self._before += last.n_iter
        self._last = (stage, step)
        done = min(self._before + step, self._total)
        self.report(Progress(self._task, done, self._total, f'{stage.name}: loss {loss:.4g}'))
        return False

    @contextmanager
    def running(self, task: str, registrant: SMPLify, n_frames: int) -> Iterator[None]:
        """Report a fit of so many frames that runs in this context."""
        self._task, self._total = task, registrant.n_steps * registrant.n_parts(n_frames)
        self._before, self._last = 0, (None, 0)
        self.report(Progress(task, 0, self._total))
        yield
        self.report(Progress(task, self._total, self._total))


logger = logging.getLogger('smilfit')

FIT = 'fit.npz'
_OUTPUTS: dict[SessionKind, type[SessionOutputs]] = {
    'recording': RecordingOutputs,
    'images': ImageOutputs,
    'points': PointOutputs,
}


class SessionFits:
    """Fits the sessions of a dataset file one by one, each into its own folder.

    Args:
        cfg: the registrant's config, without a body model.
        body: the body.
        dataset: an open dataset file.
        out: holds a folder a session.
        options: drawing, progress, whether to fit again.
        reference: names the body's model in the fits' files.
    """

    def __init__(
        self,
        cfg: FitConfig,
        body: SMIL,
        dataset: DatasetFile,
        out: Path,
        options: FitOptions,
        reference: ModelReference | None = None,
    ) -> None:
        self.reference = reference
        self.cfg, self.body, self.dataset, self.out, self.options = cfg, body, dataset, out, options
        self.progress = options.progress or ignore
        self.steps = FitProgress(self.progress)
        self.registrant = self._registrant(Processes())
        # What was written of which fit, by session: a folder's files and the page show the same.
        self._outputs: dict[str, SessionOutputs] = {}
        # Read at once: a file that is wrong is reported before the first fit.
        self.thresholds = load_thresholds(options.verdict_thresholds)
        warn_of_unfitted(body, self.registrant.stages)

    def _registrant(self, processes: Processes) -> SMPLify:
        overrides = {'hooks': [*self.cfg.get('hooks', ()), self.steps], 'processes': processes}
        if processes.rank:
            # What all processes do together is reported once.
            overrides['verbose'] = False
        return build_registrant({**self.cfg, 'body_model': self.body, **overrides})

    def inputs(self, session: str) -> list[BaseInput]:
        """Return what a session is fitted to: an Input of each weighted handler that needs one."""
        stages, handlers = self.registrant.stages, self.registrant.handlers
        weighted = {key for stage in stages for key, weight in stage.weights.items() if weight}
        optional = self.registrant.optional_handlers
        result = []
        for key, handler in handlers.items():
            if key not in weighted or handler.input_type is None or not handler.requires_input():
                continue
            try:
                given = handler.input_type.from_dataset(self.dataset, session, key)
            except MissingObservationError:
                if key not in optional:
                    raise
                continue
            if key not in optional or bool(given.observed().any()):
                result.append(given)
        return result

    def probe(self, cfg: Mapping[str, object] | None = None) -> SMPLify:
        """Build the registrant anew, for fits of few frames to keypoints alone that nobody hears of.

        Args:
            cfg: instead of its own.
        """
        cfg = dict(self.cfg if cfg is None else cfg)
        silent = logging.Logger('smilfit.verdict', logging.CRITICAL)
        quiet = {'body_model': self.body, 'hooks': (), 'verbose': False, 'logger': silent}
        # Few frames show little of sides; the labels are given as the fit took them.
        quiet |= {'unswap': None} if 'unswap' in cfg else {}
        return build_registrant({**without_masks(cfg), **quiet})

    def together(self, sessions: Sequence[str], processes: Processes) -> list[str]:
        """Choose the sessions that processes fit together, frames distributed over them.

        Whole sessions need no talk between processes, so none is spread where there is one for everybody.
        """
        if len(sessions) >= processes.count:
            return []
        result = []
        for session in sessions:
            inputs = {i.handler_key: i.resolve(self.body.data) for i in self.inputs(session)}
            count = int(observed_frames(inputs).sum())
            reason = self.registrant.why_not_distributed(count, processes.count)
            if reason is None:
                result.append(session)
            elif processes.rank == 0:
                logger.warning('%s: fitted by one process alone. %s', session, reason)
        return result

    def fit(self, session: str, processes: Processes) -> FitResult:
        """Fit a session, or read what an equal fit wrote before; the first process writes all its files."""
        folder = self.folder(session)
        made_of = self._made_of(session)
        # The first process has the word: folders may look different from another machine.
        holds = not self.options.overwrite and folder.holds('fit', made_of)
        known = bool(processes.gather(torch.tensor([holds]))[0])
        if known:
            logger.info('%s: already fitted, %s', session, folder.folder / FIT)
            result = FitResult.load(folder.folder / FIT, body=self.body)
        else:
            with self._naming(session):
                result = self._fitted(session, processes, self._fingerprint(made_of))
        if processes.rank == 0:
            if not known:
                names = np.array(self.body.joint_names)
                reference = (
                    None if self.reference is None else self.reference.relative_to_folder(folder.folder)
                )
                result = replace(result, origin=FitOrigin.of(self.dataset, session, reference))
                result = replace(result, recorded_cameras=self.dataset.session(session).cameras)
                with folder.make('fit', made_of) as staging:
                    result.save(staging / FIT, frames=self.dataset.frame_indices(session), joint_names=names)
                    landmarks = fitted_landmarks(self.body, result, session)
                    if landmarks is not None:
                        write_landmark_file(staging / LANDMARKS, landmarks)
                # What a stopped fit would have gone on from.
                self._parts(session, self._fingerprint(made_of)).clear()
            self.outputs(session, result).write()
        return result

    @contextmanager
    def _naming(self, session: str) -> Iterator[None]:
        """Name the session among several that cannot be fitted."""
        try:
            yield
        except ValueError as error:
            others = [name for name in self.dataset.session_names if name != session]
            if type(error) is not ValueError or not others:
                raise
            raise ValueError(
                f'session {session}: {error} Or fit the others: --sessions {" ".join(others)}.'
            ) from error

    def folder(self, session: str) -> OutputFolder:
        """Return the folder of a session's results; whatever its name, it lies in `out`."""
        return OutputFolder(real_folder(self.out, folder_name(session)))

    def outputs(self, session: str, result: FitResult | None = None) -> SessionOutputs:
        """Return the outputs of a session's fit by its kind; of the fit in its folder where none is given."""
        known = self._outputs.get(session)
        if known is None or (result is not None and result is not known.result):
            result = result or FitResult.load(self.folder(session).folder / FIT, body=self.body)
            kind = _OUTPUTS[self.dataset.session(session).kind]
            known = self._outputs[session] = kind(self, session, result)
        return known

    def _fitted(self, session: str, processes: Processes, fingerprint: str) -> FitResult:
        # As the registrant takes them: it then makes no copy.
        inputs = [item.to(self.body.v_template.dtype) for item in self.inputs(session)]
        logger.info('%s: fitting %d frames', session, inputs[0].batch_size if inputs else 0)
        registrant = self.registrant if processes.count == 1 else self._registrant(processes)
        parts = self._parts(session, fingerprint)
        if self.options.overwrite:
            parts.clear()
        registrant.keep_parts(parts)
        frames = self.dataset.frame_indices(session)
        further = self._recorded(session) if registrant.needs_recording else {}
        with self.steps.running(session, registrant, len(frames)):
            result = registrant(inputs, frames=frames, **further)
        finite = [v.unsqueeze(-1).flatten(1).isfinite().all(1) for v in result.params.as_dict().values()]
        broken = int((~torch.stack(finite).all(0)).sum()) - result.report['frames_not_observed']
        notes = {'fingerprint': fingerprint, 'smilfit': __version__, 'frames_not_finite': broken}
        return replace(result, report=result.report | notes | self._exchanged_tracks(session))

    def _exchanged_tracks(self, session: str) -> dict[str, object]:
        """Report in how many frames of each camera preprocessing took the labels of another animal's track."""
        counts = self.dataset.report.get('sessions', {}).get(session, {})
        result = counts.get('reader', {}).get('identities', {}).get('frames_of_other_tracks')
        return {'frames_of_other_tracks': result} if result else {}

    def _recorded(self, session: str) -> dict[str, Any]:
        """Return what a fit to the images themselves takes.

        Raises:
            FileNotFoundError: the recording is not there any more.
        """
        try:
            recording = open_recording(self.dataset, session)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{session}: masks are found in the recording, which must be where it was preprocessed; {error}, or '
                'take a config without masks.'
            ) from None
        return {'recording': recording, 'session': session}

    def _parts(self, session: str, fingerprint: str) -> PartFiles:
        return PartFiles(real_folder(self.folder(session).folder, 'parts'), fingerprint, self.options.device)

    def _made_of(self, session: str) -> MadeOf:
        inputs = {
            'dataset': self.dataset.fingerprint,
            'session': session,
            'body_model': self.body.data.content_hash(),
            'smilfit': __version__,
        }
        if isinstance(self.registrant, MaskSMPLify):
            inputs['masks'] = self.registrant.segmenter.fingerprint()
        return MadeOf(inputs, {key: self.cfg[key] for key in sorted(self.cfg)})

    def _fingerprint(self, made_of: MadeOf) -> str:
        return hashlib.sha256(json.dumps(made_of.record(), sort_keys=True).encode()).hexdigest()[:16]
