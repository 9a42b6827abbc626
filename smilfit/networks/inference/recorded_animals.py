"""Several animals in a recording: found in every frame, told apart over time, each with a folder of its own."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from smilfit.drawing.marks import animal_surfaces
from smilfit.files import MadeOf, OutputFolder, real_folder, write_text
from smilfit.files.text_files import read_json
from smilfit.networks.animals.animal_tracks import Tracker, identify
from smilfit.networks.engine.trained_model import TrainedRegressor
from smilfit.networks.inference.frame_cutter import PreparedFrame
from smilfit.networks.inference.frame_predictor import NO_VIEW, FramePredictor
from smilfit.networks.inference.prediction_files import PredictedRecording, write_tracks_of
from smilfit.networks.inference.prediction_outputs import (
    LABELS,
    InferenceOutputs,
    chosen_video_views,
    write_videos,
)
from smilfit.networks.inference.predictions import Predictions
from smilfit.networks.regressors.modal_regressor import PredictedSample
from smilfit.networks.training_set import DataSamples
from smilfit.registry import did_you_mean
from smilfit.structures import Cameras
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

AUTO = 'auto'
# So many animals are looked for where nobody says how many there are.
MOST_AUTO = 6
# How far an animal may be from where it is expected, in its extent; in a single view, in the side of its box.
GATE = 0.5
# How long an animal may be unseen and still be followed, s.
PATIENCE_S = 0.33
NOT_FOUND = 'the animal was not found'
NO_ANIMAL = 'no animal was found'


@dataclass(frozen=True)
class AnimalCount:
    """How many animals a recording shows: a number, or None where it is to be found out."""

    number: int | None = None

    @classmethod
    def of(cls, stated: int | str) -> 'AnimalCount':
        """Read 'auto' or a number.

        Raises:
            ValueError: neither.
        """
        if stated == AUTO:
            return cls(None)
        try:
            number = int(stated)
        except ValueError:
            number = 0
        if number < 1:
            raise ValueError(
                f"--animals: must be a number from 1 on, or 'auto'; got {stated!r}. "
                f'{did_you_mean(str(stated), (AUTO,))}'
            )
        return cls(number)

    @property
    def most(self) -> int:
        """How many are looked for in a frame."""
        return MOST_AUTO if self.number is None else self.number


@runtime_checkable
class _FindsAnimals(Protocol):
    """A model that finds several animals, such as `KeypointRegressor`."""

    def predict_animals(
        self, inputs: Mapping[str, Tensor], data_samples: DataSamples | None = None, most: int = 2
    ) -> tuple[list[list[PredictedSample]], dict[str, int]]: ...


class AnimalsPredictor(FramePredictor):
    """Finds up to so many animals in every frame: as many rows a frame, in no order, not valid where there is none.

    `left_out` counts what was found and left out, by reason; it is of the frames that this object predicted.
    """

    def __init__(
        self,
        trained: TrainedRegressor,
        cameras: Cameras | None,
        undistorted: bool,
        batch_size: int,
        most: int,
    ) -> None:
        super().__init__(trained, cameras, undistorted, batch_size)
        if not isinstance(trained.model, _FindsAnimals):
            raise ValueError(
                f'{self.trained.path}: --animals needs a model that finds several; this {self.trained.cfg["type"]} '
                'does not. Train configs/train/keypoint_several.py.'
            )
        self._model = trained.model
        self.rows, self.left_out = most, dict[str, int]()

    def _samples(self, data: dict[str, dict]) -> Sequence[Sequence[PredictedSample]]:
        ready = self.trained.model.data_preprocessor(data, False)
        samples, counts = self._model.predict_animals(**ready, most=self.rows)
        for reason, count in counts.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + count
        return samples

    def _row(self, frame: PreparedFrame, sample: PredictedSample | None) -> Predictions:
        """Return a row, with another reason where its views had images but no animal."""
        row = super()._row(frame, sample)
        if row.valid[0] or not row.reasons[0].startswith(NO_VIEW) or not row.view_mask.any():
            return row
        return replace(row, reasons=(NO_ANIMAL,))


@dataclass(frozen=True)
class Animals:
    """A recording's animals, each with predictions of all its frames, and what is told of their identities."""

    predictions: list[Predictions]
    report: dict[str, object]


def parted(
    predictions: Predictions, rows: int, count: AnimalCount, extent: float, fps: float, in_space: bool
) -> Animals:
    """Part what was found in every frame into animals.

    Args:
        predictions: `rows` rows a frame.
        rows: of a frame.
        count: how many animals there are.
        extent: an animal's, world unit.
        fps: frames a second of the predictions.
        in_space: whether places in space are known, from several views; else the tracker follows px of the one view.

    Raises:
        ValueError: nothing was found in any frame.
    """
    T = len(predictions) // rows
    valid = predictions.valid.reshape(T, rows)
    if not valid.any():
        reasons = predictions.reasons_text()
        raise ValueError(f'infer: one animal at least must be found; none is in {T} frames: {reasons}.')
    places, gate = _places(predictions, extent, in_space)
    tracker = Tracker(gate=gate, max_missed=max(1, round(PATIENCE_S * fps)))
    who = identify(places.reshape(T, rows, -1), valid, tracker, count.number)
    animals = [_of_animal(predictions, rows, slot) for slot in who.slot]
    numbers = predictions.frames[::rows]
    notes = []
    for i, slot in enumerate(who.slot):
        unsure = (slot >= 0) & ~(who.sure[i] & _sure(predictions, rows, slot))
        notes.append(
            {
                'frames': int((slot >= 0).sum()),
                'lost': int((slot < 0).sum()),
                'taken_up_again': int(who.joined[i]),
                'taken_up_by_guess': int(who.guessed[i]),
                'frames_unsure': numbers[unsure].tolist(),
            }
        )
    report: dict[str, object] = {
        'asked': AUTO if count.number is None else count.number,
        'animals': notes,
        'detections_of_no_animal': who.surplus,
        'frames_of_fewer_animals': int((who.slot < 0).any(0).sum()),
    }
    if count.number is not None and len(animals) < count.number:
        logger.warning('infer: --animals %d: no more than %d found.', count.number, len(animals))
    return Animals(animals, report)


def _places(predictions: Predictions, extent: float, in_space: bool) -> tuple[np.ndarray, float]:
    """Return what the tracker follows, the centre of each row's keypoints, and its gate."""
    if in_space:
        return predictions.keypoints3d.mean(1), GATE * extent
    # Depth from one view is uncertain: the image says more.
    weight = predictions.confidence2d.max(1, initial=0.0)[..., None]
    points = np.where(predictions.view_mask[..., None, None], predictions.keypoints2d, 0.0).sum(1)
    centre = (weight * points).sum(1) / np.maximum(weight.sum(1), 1e-9)
    spread = np.where(weight > 0, np.abs(points - centre[:, None]), 0.0).max((1, 2))
    return centre, GATE * 2 * float(np.median(spread[predictions.valid]))


def _sure(predictions: Predictions, rows: int, slot: np.ndarray) -> np.ndarray:
    sure = predictions.further['sure'].reshape(-1, rows) > 0
    return sure[np.arange(len(slot)), slot.clip(0)] | (slot < 0)


def _of_animal(predictions: Predictions, rows: int, slot: np.ndarray) -> Predictions:
    """Choose an animal's row of each frame; one of a frame without it is not valid, whatever its numbers."""
    chosen = np.arange(len(slot)) * rows + slot.clip(0)
    arrays = {name: value[chosen] for name, value in predictions.arrays().items()}
    missing = slot < 0
    # The views had images: what is missing is the animal. A frame without any view keeps its reason.
    reasons = [
        r if not gone else (NOT_FOUND if r in ('', NO_ANIMAL) else r)
        for r, gone in zip(arrays['reasons'].tolist(), missing)
    ]
    arrays['reasons'] = np.array(reasons, dtype=np.str_)
    arrays['valid'] = arrays['valid'] & ~missing
    for name, value in arrays.items():
        if name.startswith(('confidence', 'further/')):
            arrays[name] = np.where(missing.reshape(-1, *(1,) * (value.ndim - 1)), 0, value)
    return Predictions.of_arrays(arrays)


# What is told of the animals' identities.
IDENTITIES = 'animals.json'
_ANIMALS, _ALONE = 'animals', ('predictions', 'joint_angles', 'animation', 'meshes', 'refined', 'smoothed')
_MOST_BYTES = 1 << 26


class AnimalsFolder:
    """The results of a recording of several animals.

    `animal_0`, `animal_1`, ... hold what a recording of one animal would; `animals.json`, labels with a track an
    animal, and videos of all lie above them.

    Args:
        folder: where the results lie.
    """

    def __init__(self, folder: Path) -> None:
        self.outputs = OutputFolder(folder)

    def animal(self, place: int) -> OutputFolder:
        """Return the folder of an animal."""
        return OutputFolder(real_folder(self.outputs.folder, animal_name(place)))

    def animals(self) -> dict[str, OutputFolder]:
        """Return the folders of all animals that were kept, by name."""
        return {animal_name(i): self.animal(i) for i in range(len(self._report()['animals']))}

    def holds(self, made_of: MadeOf) -> bool:
        """Check whether all animals' predictions are there, whole and made of the same."""
        if not self.outputs.holds(_ANIMALS, made_of):
            return False
        return all(folder.holds('predictions', made_of) for folder in self.animals().values())

    def keep(self, made_of: MadeOf, report: dict[str, object], count: int) -> None:
        """Write what is told of the animals, after their predictions; those of a former run with more go."""
        for part in _ALONE:
            # Of a run that looked for one animal.
            self.outputs.drop(part)
        self.drop(count)
        with self.outputs.make(_ANIMALS, made_of) as staging:
            write_text(staging / IDENTITIES, json.dumps(report, indent=1))

    def drop(self, first: int = 0) -> None:
        """Delete what a former run left of animals from a number on; of all of them also what was told."""
        place = first
        while (outputs := self.animal(place)).marker.is_file():
            for part in (*_ALONE, LABELS, 'video', 'view_videos'):
                outputs.drop(part)
            outputs.marker.unlink()
            place += 1
        if not first:
            self.outputs.drop(_ANIMALS)

    def report(self, place: int) -> dict[str, object]:
        """Return what is told of one animal, and of all."""
        result = self._report()
        return {**{k: v for k, v in result.items() if k != 'animals'}, **result['animals'][place]}

    def show(
        self, made: Sequence[PredictedRecording], options: InferenceOutputs, inputs: Mapping[str, object]
    ) -> None:
        """Write what shows all animals: labels with a track each, and videos with a colour each.

        Args:
            made: what the animals' outputs show.
            options: what is written.
            inputs: what they were made of.
        """
        names = [animal_name(i) for i in range(len(made))]
        inputs = {**inputs, 'smilfit': __version__}
        self.outputs.part(
            LABELS,
            MadeOf(inputs, {}),
            options.labels,
            lambda folder: write_tracks_of(folder / LABELS, dict(zip(names, made))),
        )
        views = chosen_video_views(made[0].recording.camera_names, options.video_views)
        write_videos(self.outputs, inputs, options, views, made, animal_surfaces(names))

    def _report(self) -> dict[str, Any]:
        path = self.outputs.folder / IDENTITIES
        return read_json(path, 'what is told of the animals', dict, _MOST_BYTES)


def animal_name(place: int) -> str:
    """Name an animal by its number."""
    return f'animal_{place}'
