"""Samples of unlabelled frames get the bodies that a fit found in them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from smilfit.datasets.pseudo_labels import PseudoLabels
from smilfit.datasets.transforms import Sample
from smilfit.registry import TRANSFORMS
from smilfit.structures import RecordedData


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
