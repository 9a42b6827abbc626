"""Prepared frames through a regressor, batch by batch."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from smilfit.datasets.crops import apply_affine, invert_affine
from smilfit.networks.calibration import Calibration
from smilfit.networks.engine.trained_model import TrainedRegressor
from smilfit.networks.inference.frame_cutter import PreparedFrame
from smilfit.networks.inference.predictions import FURTHER, Predictions, with_confidences
from smilfit.networks.regressors.modal_regressor import PredictedSample
from smilfit.structures import Cameras

NO_VIEW = 'no view has an image'
NOT_FINITE = 'the network gave numbers that are not finite'


class FramePredictor:
    """Runs a regressor over frames and brings what it says to px of the recorded images.

    Args:
        trained: the regressor.
        cameras: of the recorded images; None where each frame has its own.
        undistorted: whether the crops were freed of the cameras' lenses.
        batch_size: frames at once.
    """

    # How many rows of predictions a frame has.
    rows = 1

    def __init__(
        self, trained: TrainedRegressor, cameras: Cameras | None, undistorted: bool, batch_size: int
    ) -> None:
        self.trained, self.cameras, self.batch_size = trained, cameras, batch_size
        self.lenses = cameras if undistorted else None
        self.calibration = Calibration.of_record(str(trained.path), trained.model.statistics.calibration)

    def __call__(self, frames: Iterable[PreparedFrame]) -> Iterator[Predictions]:
        """Return predictions a batch, in the order of the frames."""
        batch: list[PreparedFrame] = []
        for frame in frames:
            batch.append(frame)
            if len(batch) == self.batch_size:
                yield self._batch(batch)
                batch = []
        if batch:
            yield self._batch(batch)

    @torch.no_grad()
    def _batch(self, frames: Sequence[PreparedFrame]) -> Predictions:
        shown = [frame for frame in frames if frame.view_mask.any()]
        result: dict[int, Sequence[PredictedSample]] = {}
        if shown:
            data = {
                'inputs': default_collate([frame.inputs() for frame in shown]),
                'data_samples': default_collate([frame.data_samples() for frame in shown]),
            }
            samples = self._samples(data)
            self._check_body([sample for each in samples for sample in each])
            result = {frame.number: each for frame, each in zip(shown, samples)}
        rows = []
        for frame in frames:
            each = result.get(frame.number, ())
            rows += [self._row(frame, sample) for sample in (*each, *[None] * (self.rows - len(each)))]
        return with_confidences(Predictions.cat(rows), self.calibration, self.cameras)

    def _samples(self, data: dict[str, dict]) -> Sequence[Sequence[PredictedSample]]:
        """Predict a batch: of each frame `rows` samples at most."""
        return [[sample] for sample in self.trained.model.test_step(data)]

    def _check_body(self, samples: Sequence[PredictedSample]) -> None:
        if samples and 'params' not in samples[0]:
            raise ValueError(
                f'{self.trained.path}: the model must predict a body; this {self.trained.cfg["type"]} predicts '
                'keypoints alone. Train it with a lifter.'
            )

    def _row(self, frame: PreparedFrame, sample: PredictedSample | None) -> Predictions:
        reason = '' if sample is not None else _why_no_view(frame)
        arrays = None if sample is None else self._arrays(frame, sample)
        if arrays is not None and not all(np.isfinite(value).all() for value in arrays.values()):
            arrays, reason = None, NOT_FINITE
        if arrays is None:
            arrays = self._nothing(frame)
        params = {n.removeprefix('params/'): v[None] for n, v in arrays.items() if n.startswith('params/')}
        further = {n.removeprefix('further/'): v[None] for n, v in arrays.items() if n.startswith('further/')}
        plain = {n: v[None] for n, v in arrays.items() if '/' not in n}
        return Predictions(
            frames=np.array([frame.number], np.int64),
            valid=np.array([not reason]),
            reasons=(reason,),
            params=params,
            further=further,
            view_mask=frame.view_mask[None],
            **plain,
        )

    def _arrays(self, frame: PreparedFrame, sample: PredictedSample) -> dict[str, np.ndarray]:
        """Return what is said of a frame, in px of the recorded images."""
        mask = frame.view_mask
        back = invert_affine(np.where(mask[:, None, None], frame.affine, np.eye(2, 3)))
        pixels = self._recorded(_numpy(sample['keypoints2d']), back) * mask[:, None, None]
        points = _numpy(sample['keypoints3d'])
        cameras = {name: _numpy(value) for name, value in sample['cameras'].items()}
        bottom = np.broadcast_to([0.0, 0.0, 1.0], (len(mask), 1, 3))
        K = np.concatenate((back, bottom), 1) @ cameras['K']
        # What no image can hold is finite here, and has no confidence later.
        shown = np.isfinite(pixels).all(-1)
        result = {
            'keypoints3d': points,
            'confidence3d': np.ones(points.shape[:-1]),
            'keypoints2d': np.where(shown[..., None], pixels, 0.0),
            'confidence2d': (shown & mask[:, None]).astype(np.float64),
            'camera_K': np.where(mask[:, None, None], K, np.eye(3)),
            'camera_R': np.where(mask[:, None, None], cameras['R'], np.eye(3)),
            'camera_t': cameras['t'] * mask[:, None],
        }
        result |= {f'params/{n}': _numpy(v).astype(np.float32) for n, v in sample['params'].items()}
        for name, key in FURTHER.items():
            if sample.get(key) is not None:
                value = _numpy(sample[key])
                result[f'further/{name}'] = self._recorded(value, back) if name == 'seen2d' else value
        return result

    def _recorded(self, pixels: np.ndarray, back: np.ndarray) -> np.ndarray:
        """Bring px of the crops (C, K, 2) to px of the recorded images."""
        moved = apply_affine(back, pixels)
        if self.lenses is None or self.lenses.dist is None:
            return moved
        return self.lenses.distort(torch.from_numpy(moved)).numpy()

    def _nothing(self, frame: PreparedFrame) -> dict[str, np.ndarray]:
        """Fill the place of a frame of which nothing is known."""
        body, C = self.trained.body, len(frame.view_mask)
        count = len(self.trained.model.keypoint_names)
        rest = body.zero_params().as_axis_angle().as_dict()
        eye = np.tile(np.eye(3), (C, 1, 1))
        return {
            'keypoints3d': np.zeros((count, 3)),
            'confidence3d': np.zeros(count),
            'keypoints2d': np.zeros((C, count, 2)),
            'confidence2d': np.zeros((C, count)),
            'camera_K': eye,
            'camera_R': eye,
            'camera_t': np.zeros((C, 3)),
            **{f'params/{n}': _numpy(v[0]).astype(np.float32) for n, v in rest.items()},
        }


def _why_no_view(frame: PreparedFrame) -> str:
    """Return why a frame has no view: the one reason that all its cameras have, else that there is none."""
    reasons = set(frame.faults.values())
    return f'{NO_VIEW} ({reasons.pop()})' if len(reasons) == 1 else NO_VIEW


def _numpy(value: Tensor) -> np.ndarray:
    return np.asarray(value.detach().cpu().double().numpy())
