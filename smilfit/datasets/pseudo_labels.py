"""Bodies that a model and a fit found in unlabelled frames, as labels: their file, and how samples get them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from smilfit.datasets.store.store_layout import PARAM_NAMES
from smilfit.datasets.transforms import Sample
from smilfit.files import BadFileError, read_npz, replacing
from smilfit.registry import TRANSFORMS
from smilfit.structures import RecordedData

FORMAT = 'smilfit-pseudo-labels'
_WHAT = 'a file of pseudo-labels'
_OWN = ('format', 'sessions', 'session', 'frame', 'weight', 'body_model_hash')


@dataclass(frozen=True)
class PseudoLabels:
    """Parameters, and keypoints in space, of N frames of recordings.

    Args:
        params: by name, N rows each; rotations as axis-angle.
        session: (N,) numbers of the frames' sessions among `sessions`.
        frame: (N,) their numbers in the recording.
        weight: (N,) how much each counts, in (0, 1].
        sessions: names of the sessions.
        body_model_hash: of the body, without landmarks.
        keypoints3d: (N, K, 3) of the whole fitted bodies, world unit, sizes of parts included, which samples have no
            parameters of; None in files of before.
        keypoint_names: their names.
        unit: the world's, where it is known.
    """

    params: Mapping[str, np.ndarray]
    session: np.ndarray
    frame: np.ndarray
    weight: np.ndarray
    sessions: tuple[str, ...] = ()
    body_model_hash: str = ''
    keypoints3d: np.ndarray | None = None
    keypoint_names: tuple[str, ...] = ()
    unit: str | None = None
    _rows: dict[tuple[int, int], int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the frames."""
        keys = zip(self.session.tolist(), self.frame.tolist())
        object.__setattr__(self, '_rows', {key: row for row, key in enumerate(keys)})

    def __len__(self) -> int:
        return len(self.frame)

    def row(self, session: int, frame: int) -> int | None:
        """Find a frame's row; None where there is none."""
        return self._rows.get((session, frame))

    def check(
        self, sessions: tuple[str, ...], body_model_hash: str, where: str, unit: str | None = None
    ) -> None:
        """Check that these are labels of a dataset file's recordings and body.

        Raises:
            ValueError: none is of its sessions, or they are of another body model, or in another unit.
        """
        own = {self.sessions[number] for number in np.unique(self.session).tolist()}
        if not own & set(sessions):
            raise ValueError(
                f'{where}: pseudo-labels must be of the sessions of the training, {_few(sessions)}; got '
                f'{_few(sorted(own))}. Preprocess these recordings into its dataset file (--unlabelled).'
            )
        for what, mine, other in (
            ('body model', self.body_model_hash, body_model_hash),
            ('unit', self.unit, unit),
        ):
            if mine != other and (what == 'body model' or (mine and other)):
                raise ValueError(
                    f'{where}: pseudo-labels must be of the {what} of the training, {other}; got {mine}. Make them '
                    'again with it.'
                )

    def of_sessions(self, sessions: tuple[str, ...]) -> 'PseudoLabels':
        """Return those of these sessions, numbered by their order here; others are left out."""
        place = {name: number for number, name in enumerate(sessions)}
        number = np.array([place.get(self.sessions[n], -1) for n in self.session.tolist()], np.int64)
        return replace(self[number >= 0], session=number[number >= 0], sessions=tuple(sessions))

    def __getitem__(self, rows: np.ndarray) -> 'PseudoLabels':
        """Choose rows."""
        return replace(
            self,
            params={name: value[rows] for name, value in self.params.items()},
            session=self.session[rows],
            frame=self.frame[rows],
            weight=self.weight[rows],
            keypoints3d=None if self.keypoints3d is None else self.keypoints3d[rows],
        )

    @classmethod
    def cat(cls, parts: Sequence['PseudoLabels']) -> 'PseudoLabels':
        """Join labels of one body; of a frame that is in several the first counts.

        Raises:
            ValueError: they are of several bodies, keypoints or units.
        """
        first = parts[0]
        for name in ('body_model_hash', 'keypoint_names', 'unit'):
            result = list(dict.fromkeys(getattr(part, name) for part in parts))
            if len(result) > 1:
                raise ValueError(
                    f'pseudo-labels: all must have one {name}; got {_few([str(v) for v in result])}. Give them to '
                    'trainings of their own.'
                )
        sessions = tuple(dict.fromkeys(name for part in parts for name in part.sessions))
        same = [part.of_sessions(sessions) for part in parts]
        keys = np.concatenate([np.stack((part.session, part.frame), 1) for part in same])
        _, rows = np.unique(keys, axis=0, return_index=True)
        points = [part.keypoints3d for part in same if part.keypoints3d is not None]
        return replace(
            first,
            params={n: np.concatenate([part.params[n] for part in same]) for n in first.params},
            session=keys[:, 0],
            frame=keys[:, 1],
            weight=np.concatenate([part.weight for part in same]),
            sessions=sessions,
            keypoints3d=np.concatenate(points) if len(points) == len(same) else None,
        )[np.sort(rows)]

    def save(self, path: str | Path) -> Path:
        """Write an .npz, whole or not at all."""
        path = Path(path).with_suffix('.npz')
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {
            'format': FORMAT,
            'sessions': np.array(self.sessions, dtype=np.str_),
            'body_model_hash': self.body_model_hash,
            'session': self.session,
            'frame': self.frame,
            'weight': self.weight,
            **{f'param_{name}': value for name, value in self.params.items()},
        }
        if self.keypoints3d is not None:
            arrays |= {
                'keypoints3d': self.keypoints3d,
                'keypoint_names': np.array(self.keypoint_names, dtype=np.str_),
                'unit': self.unit or '',
            }
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> 'PseudoLabels':
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            BadFileError: another kind of file, or one that is not whole.
        """
        path = Path(path)
        arrays = read_npz(path, None, _WHAT)
        params = {n.removeprefix('param_'): v for n, v in arrays.items() if n.startswith('param_')}
        missing = [n for n in (*_OWN, *(f'param_{n}' for n in PARAM_NAMES)) if n not in arrays]
        if missing or str(arrays.get('format')) != FORMAT:
            raise BadFileError(
                f'{path}: must be {_WHAT}; got format {str(arrays.get("format"))[:50]!r}, without '
                f'{", ".join(missing) or "nothing"}. Make it by apis.make_pseudo_labels.'
            )
        points = arrays.get('keypoints3d')
        numbers = [*params.values(), arrays['weight'], *([] if points is None else [points])]
        lengths = {len(v) for v in (*numbers, arrays['session'], arrays['frame'])}
        if len(lengths) != 1 or not all(np.isfinite(v).all() for v in numbers):
            raise BadFileError(f'{path}: all rows must be there and finite; some are not. Make it again.')
        sessions = tuple(str(name) for name in arrays['sessions'])
        labels = cls(
            *(params, arrays['session'], arrays['frame'], arrays['weight'], sessions),
            str(arrays['body_model_hash']),
        )
        if points is None:
            return labels
        names = tuple(str(name) for name in arrays['keypoint_names'])
        return replace(labels, keypoints3d=points, keypoint_names=names, unit=str(arrays['unit']) or None)


def _few(names: Sequence[str]) -> str:
    """Name a few of many."""
    text = ', '.join(names)
    return text if len(text) <= 200 else f'{text[:200]}…'


@TRANSFORMS.register_module()
class AddPseudoLabels:
    """Add to samples what nobody labelled: parameters, and keypoints in space, that a fit found.

    What a person or the recording's maker stated stays. Found parameters come with `has_params`, and with a
    `params_weight` of the label's weight times `weight`, which losses on parameters count them by; it is 1 for all
    others. Found keypoints have this as their confidence: they teach by the weights of 3D keypoints, and heat maps by
    where they appear in the image.

    Args:
        labels: the labels or their file.
        weight: how much a found body counts beside a known one.
        called: what messages call them.
    """

    def __init__(
        self, labels: PseudoLabels | str | Path, weight: float = 0.3, called: str = 'pseudo-labels'
    ) -> None:
        if not 0 < weight <= 1:
            raise ValueError(f'AddPseudoLabels: weight must be above 0, and at most 1; got {weight}.')
        self.labels = labels if isinstance(labels, PseudoLabels) else PseudoLabels.load(labels)
        self.weight, self.called = weight, called
        self._columns: np.ndarray | None = None

    def use_dataset(self, file: RecordedData, keypoint_names: tuple[str, ...]) -> None:
        """Take those that are of a dataset file's sessions, in the order of the samples' keypoints.

        Raises:
            ValueError: they are of other sessions, of another body model, or in another unit.
        """
        self.labels.check(file.session_names, file.body_model_hash, str(file.path), file.unit)
        self.labels = self.labels.of_sessions(file.session_names)
        own = {name: k for k, name in enumerate(self.labels.keypoint_names)}
        self._columns = np.array([own.get(name, -1) for name in keypoint_names])

    def count(self, session: Int[np.ndarray, ' n'], frame: Int[np.ndarray, ' n']) -> int:
        """Count the frames that there are labels of."""
        keys = zip(session.tolist(), frame.tolist())
        return sum(self.labels.row(*key) is not None for key in set(keys))

    def __call__(self, sample: Sample) -> Sample:
        """Add what is known of the sample's frame."""
        truth = sample['data_samples']
        row = self.labels.row(int(truth['session']), int(truth['frame']))
        if row is None:
            return {**sample, 'data_samples': {**truth, 'params_weight': torch.tensor(1.0)}}
        weight = self.weight * float(self.labels.weight[row])
        added = self._points(truth, row, weight) | self._params(truth, row, weight)
        return {**sample, 'data_samples': {**truth, **added}}

    def _params(self, truth: dict[str, Any], row: int, weight: float) -> dict[str, Any]:
        if bool(truth['has_params']):
            return {'params_weight': torch.tensor(1.0)}
        result = {n: torch.as_tensor(self.labels.params[n][row]).float() for n in truth['params']}
        for name, value in truth['params'].items():
            if result[name].shape != value.shape:
                raise ValueError(
                    f'AddPseudoLabels: {name} must be {tuple(value.shape)} as in the dataset; got '
                    f'{tuple(result[name].shape)}. Make the pseudo-labels again with the body model of the dataset.'
                )
        if bool(truth['has_betas']):
            result['betas'] = truth['params']['betas']
        valid = torch.tensor(True)
        return {
            'params': result, 'has_params': valid, 'has_betas': valid, 'params_weight': torch.tensor(weight)
        }  # fmt: skip

    def _points(self, truth: dict[str, Any], row: int, weight: float) -> dict[str, Any]:
        if self._columns is None or self.labels.keypoints3d is None:
            return {}
        known = truth['confidence3d'] > 0
        valid = torch.from_numpy(self._columns >= 0) & ~known
        result = torch.as_tensor(self.labels.keypoints3d[row][self._columns]).to(truth['keypoints3d'])
        return {
            'keypoints3d': torch.where(valid.unsqueeze(-1), result, truth['keypoints3d']),
            'confidence3d': torch.where(valid, weight, truth['confidence3d']),
        }
