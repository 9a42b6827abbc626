"""Windows of a fit kept in files, so that one that was stopped goes on."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smilfit.files import BadFileError, read_npz, reading, replacing
from smilfit.registrants.clip_fit import Part
from smilfit.registrants.stage import ReportView
from smilfit.registrants.stage_task import FitState, StageRun
from smilfit.structures import BodyParams, FitCovariance, SharedUncertainty
from smilfit.structures.fit_covariance import SHARED_ARRAYS

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
        metadata: dict[str, object] = {
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
                tensors |= {f'shared/{name}': getattr(known.shared, name) for name in SHARED_ARRAYS}
                metadata['shared'] = known.shared.names
        arrays = {n: v.detach().cpu().numpy() for n, v in tensors.items() if v is not None}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f'{name}.npz') as temporary, temporary.open('wb') as file:
            # Parts of earlier runs have this key.
            arrays['told'] = np.array(json.dumps(metadata, default=float))
            # By numpy's stub one of the arrays might be `allow_pickle`.
            np.savez(file, **arrays)  # type: ignore[arg-type]

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


def _params(stored: dict[str, Tensor], prefix: str) -> BodyParams:
    return BodyParams.of({n.removeprefix(prefix): v for n, v in stored.items() if n.startswith(prefix)})


def _covariance(stored: dict[str, Tensor], metadata: ReportView) -> FitCovariance | None:
    if 'covariance' not in metadata:
        return None
    columns, names, noise = metadata['covariance']
    keypoints, sd = stored['covariance/keypoints'], stored['covariance/sd']
    shared = None
    if 'shared' in metadata:
        tensors = {name: stored[f'shared/{name}'] for name in SHARED_ARRAYS}
        shared = SharedUncertainty(tuple((name, size) for name, size in metadata['shared']), **tensors)
    return FitCovariance(None, tuple(columns), keypoints, tuple(names), noise, sd, shared=shared)
