"""Parameters that a model and a fit found for unlabelled frames: their file, and samples that get them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.datasets.store_layout import PARAM_NAMES
from smilfit.files import BadFileError, read_npz, replacing
from smilfit.registry import TRANSFORMS

FORMAT = 'smilfit-pseudo-labels'
_WHAT = 'a file of pseudo-labels'
_OWN = ('format', 'sessions', 'session', 'frame', 'weight', 'body_model_hash')


@dataclass(frozen=True)
class PseudoLabels:
    """Parameters of N frames of a dataset file.

    Args:
        params: by name, N rows each; rotations as axis-angle.
        session: (N,) numbers of the frames' sessions in the dataset file.
        frame: (N,) their numbers there.
        weight: (N,) how much each counts, in (0, 1].
        sessions: names of the dataset file's sessions.
        body_model_hash: of the body, without landmarks.
    """

    params: Mapping[str, np.ndarray]
    session: np.ndarray
    frame: np.ndarray
    weight: np.ndarray
    sessions: tuple[str, ...] = ()
    body_model_hash: str = ''
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

    def check(self, sessions: tuple[str, ...], body_model_hash: str, where: str) -> None:
        """Check that these are labels of a dataset file.

        Raises:
            ValueError: they are of other sessions, or of another body model.
        """
        for what, own, other in (
            ('sessions', self.sessions, tuple(sessions)),
            ('body model', self.body_model_hash, body_model_hash),
        ):
            if own != other:
                raise ValueError(
                    f'{where}: pseudo-labels must be of the {what} of the training, {str(other)[:200]}; got '
                    f'{str(own)[:200]}. Make them again from this dataset file.'
                )

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
        lengths = {len(v) for v in (*params.values(), *(arrays[n] for n in ('session', 'frame', 'weight')))}
        numbers = [*params.values(), arrays['weight']]
        if len(lengths) != 1 or not all(np.isfinite(v).all() for v in numbers):
            raise BadFileError(f'{path}: all rows must be there and finite; some are not. Make it again.')
        sessions = tuple(str(name) for name in arrays['sessions'])
        return cls(
            *(params, arrays['session'], arrays['frame'], arrays['weight'], sessions),
            str(arrays['body_model_hash']),
        )


@TRANSFORMS.register_module()
class AddPseudoLabels:
    """Give samples without parameters those of a file, with a weight of their own.

    Every sample gets `params_weight`: 1 where its parameters are the recording's own, the label's weight times
    `weight` where they are found ones, 0 where there are none. `has_params` and `has_betas` say that they are there.

    Args:
        labels: the labels or their file.
        weight: how much a found body counts beside a known one.
    """

    def __init__(self, labels: PseudoLabels | str | Path, weight: float = 0.3) -> None:
        if not 0 < weight <= 1:
            raise ValueError(f'AddPseudoLabels: weight must be above 0, and at most 1; got {weight}.')
        self.labels = labels if isinstance(labels, PseudoLabels) else PseudoLabels.load(labels)
        self.weight = weight

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Add what is known of the sample's frame."""
        truth = sample['data_samples']
        row = self.labels.row(int(truth['session']), int(truth['frame']))
        if bool(truth['has_params']) or row is None:
            return {**sample, 'data_samples': {**truth, 'params_weight': truth['has_params'].float()}}
        found = {n: torch.as_tensor(self.labels.params[n][row]).float() for n in truth['params']}
        for name, value in truth['params'].items():
            if found[name].shape != value.shape:
                raise ValueError(
                    f'AddPseudoLabels: {name} must be {tuple(value.shape)} as in the dataset; got '
                    f'{tuple(found[name].shape)}. Make the pseudo-labels again with the body model of the dataset.'
                )
        weight = torch.tensor(self.weight * float(self.labels.weight[row]))
        there = torch.tensor(True)
        added = {'params': found, 'has_params': there, 'has_betas': there, 'params_weight': weight}
        return {**sample, 'data_samples': {**truth, **added}}
