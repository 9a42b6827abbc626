"""Frames of one fit distributed over processes: each solves for its own, all for what the frames share."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.files import BadFileError, read_npz, reading, replacing
from smilfit.handlers import BaseHandler
from smilfit.registrants.second_order import run_second_order
from smilfit.registrants.stage import Stage
from smilfit.registrants.stage_task import FitState, StageOutcome, StageRun, StageTask
from smilfit.registrants.variables import with_first_shape
from smilfit.registrants.windows import Part
from smilfit.solvers import Processes, SecondOrderSolver
from smilfit.structures import BodyParams, FitCovariance, SharedDoubt
from smilfit.structures.fit_covariance import SHARED_DOUBT


def unsupported_reason(stage: Stage, solver: Any, handlers: Mapping[str, BaseHandler]) -> str | None:
    """Return why the frames of a stage cannot be distributed over processes, and what to do; None if they can."""
    if not isinstance(solver, SecondOrderSolver):
        return (
            f'{stage.name}: the optimizer must be of second order; got {type(solver).__name__}, which looks at '
            'all frames at once. Use optimizer=dict(type="LevenbergMarquardt").'
        )
    for key, weight in stage.weights.items():
        if weight and handlers[key].frame_order:
            return (
                f'{stage.name}: no handler may tie frames to their neighbours; {type(handlers[key]).__name__} '
                f'{key!r} does. Leave out {key}_weight.'
            )
    return None


def run_distributed(
    task: StageTask, solver: SecondOrderSolver, start: FitState, processes: Processes
) -> StageOutcome:
    """Run a stage on this process's share of the frames, and join what all processes found.

    Args:
        task: the stage with all frames, alike in all processes, and at least one a process.
        solver: solves.
        start: of all frames, alike in all processes.
        processes: those that take part.

    Returns:
        The outcome of all frames, alike in all processes.
    """
    device = start.params.transl.device
    rows = torch.arange(start.params.batch_size, device=device)[processes.share(start.params.batch_size)]
    part = run_second_order(task.take(rows), solver, start.take(rows), processes)
    return StageOutcome(
        replace(_joined_state(part.state, task, processes), log_focal=start.log_focal),
        processes.gather(part.converged),
        part.result,
        None if part.covariance is None else _joined_covariance(part.covariance, processes),
        engine=part.engine,
        engine_reason=part.engine_reason,
    )


def _joined_state(part: FitState, task: StageTask, processes: Processes) -> FitState:
    params = part.params.map(processes.gather)
    if task.share_shape:
        params = with_first_shape(params, params)
    shift = part.camera_shift
    # Processes may differ by a rounding: the first one's word holds.
    return FitState(params, None if shift is None else processes.gather(shift)[: len(shift)])


def _joined_covariance(part: FitCovariance, processes: Processes) -> FitCovariance:
    # Matrices of all unknowns are computed by each process when asked for, of its own frames: they are not joined.
    keypoints, sd = processes.gather(part.keypoints), processes.gather(part.parameter_sd())
    return replace(part, whole=None, keypoints=keypoints, sd=sd)


logger = logging.getLogger('smilfit')


class PartFiles:
    """Keeps parts of one fit in a folder. Of covariances it keeps keypoints', sd, and what is shared.

    Args:
        folder: holds the files of one fit alone.
        fingerprint: names everything that the fit depends on; a part of another fingerprint is fitted again.
        device: where parts that were read go on.
    """

    def __init__(self, folder: Path, fingerprint: str, device: torch.device | str = 'cpu') -> None:
        self.folder, self.fingerprint, self.device = folder, fingerprint, device

    def get(self, name: str, fit: Callable[[], Part]) -> Part:
        """Read a part, or fit it and keep it."""
        known = self.read(name)
        if known is not None:
            return known
        part = fit()
        self.write(name, part)
        return part

    def write(self, name: str, part: Part) -> None:
        """Write a part; it appears whole or not at all."""
        run = part.run
        tensors: dict[str, Tensor | None] = {
            **{f'params/{n}': v for n, v in run.state.params.as_dict().items()},
            **{f'start/{n}': v for n, v in part.start.as_dict().items()},
            'log_focal': run.state.log_focal,
            'camera_shift': run.state.camera_shift,
            'per_frame': run.per_frame,
            'converged': run.converged,
            'choice': part.choice,
            'loss': part.loss,
            'orient': part.orient,
        }
        metadata = {
            'fingerprint': self.fingerprint,
            'history': run.history,
            'notes': part.notes,
            'report': run.report,
        }
        if run.covariance is not None:
            known = run.covariance
            tensors |= {'covariance/keypoints': known.keypoints, 'covariance/sd': known.parameter_sd()}
            metadata['covariance'] = [known.columns, known.keypoint_names, known.noise]
            if known.shared is not None:
                tensors |= {f'shared/{name}': getattr(known.shared, name) for name in SHARED_DOUBT}
                metadata['shared'] = known.shared.names
        arrays = {n: v.detach().cpu().numpy() for n, v in tensors.items() if v is not None}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f'{name}.npz') as temporary, temporary.open('wb') as file:
            # Parts of earlier runs have this key.
            np.savez(file, told=np.array(json.dumps(metadata, default=float)), **arrays)

    def read(self, name: str) -> Part | None:
        """Read a part; None where there is none, one of another fit, or a damaged one."""
        path = self.folder / f'{name}.npz'
        if not path.is_file():
            return None
        try:
            with reading(path, 'a window of a fit'):
                return self._part(read_npz(path))
        except BadFileError as error:
            logger.warning('%s The window is fitted again.', error)
            return None

    def _part(self, arrays: Mapping[str, np.ndarray]) -> Part | None:
        metadata = json.loads(str(arrays['told']))
        if metadata['fingerprint'] != self.fingerprint:
            return None
        result = {n: torch.from_numpy(value).to(self.device) for n, value in arrays.items() if n != 'told'}
        state = FitState(
            _params(result, 'params/'),
            camera_shift=result.get('camera_shift'),
            log_focal=result.get('log_focal'),
        )
        run = StageRun(
            state,
            tuple(metadata['history']),
            result['per_frame'],
            result['converged'],
            _covariance(result, metadata),
            metadata.get('report', {}),
        )
        if 'orient' not in result:
            return None
        tried = (result['choice'], result['loss'], result['orient'])
        return Part(_params(result, 'start/'), run, *tried, metadata['notes'])

    def clear(self) -> None:
        """Delete the files, and what a stopped fit left of them: the fit is whole."""
        for path in (*self.folder.glob('*.npz'), *self.folder.glob('*.npz.tmp')):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def _params(found: dict[str, Tensor], prefix: str) -> BodyParams:
    return BodyParams.of({n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)})


def _covariance(found: dict[str, Tensor], metadata: Mapping[str, Any]) -> FitCovariance | None:
    if 'covariance' not in metadata:
        return None
    columns, names, noise = metadata['covariance']
    keypoints, sd = found['covariance/keypoints'], found['covariance/sd']
    shared = None
    if 'shared' in metadata:
        tensors = {name: found[f'shared/{name}'] for name in SHARED_DOUBT}
        shared = SharedDoubt(tuple((name, size) for name, size in metadata['shared']), **tensors)
    return FitCovariance(None, tuple(columns), keypoints, tuple(names), noise, sd, shared=shared)
