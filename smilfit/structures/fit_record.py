"""What a fit's file tells of the fit: of which body, seen by which cameras, and where its keypoints are."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smilfit.files import read_json, reading
from smilfit.structures.cameras import Cameras
from smilfit.structures.keypoints import Keypoints3d

if TYPE_CHECKING:
    from smilfit.structures.recorded_data import RecordedData

_CAMERA_TENSORS = ('K', 'R', 't', 'size', 'dist')
# Arrays by name, or by the beginning of it; others are parameters.
_MEANINGS = {
    'start_': 'where the first stage began',
    'recorded_camera_': 'the cameras as they were calibrated, with their lenses, px of the annotated images',
    'camera_': 'the cameras as the fit corrected them',
    'keypoints3d': 'the fitted keypoints, world unit; confidence 0 where a frame was not fitted',
    'keypoint_covariance': 'covariance of the keypoints of keypoint_names, world unit squared',
    'keypoint_names': 'names of keypoint_covariance',
    'parameter_': 'standard deviations and their columns',
    'shared_': 'how well what all frames share is known: parameters with their sizes, and their covariance',
    'noise': 'of the covariance',
    'per_frame_loss': 'the loss of every frame after the last stage',
    'converged': 'whether every frame converged',
    'packed_body_model': 'the body model itself: its *.smil.json, deflated by zlib',
    'frames': 'numbers of the frames in the recording',
    'joint_names': 'joints of the body model: body_pose leaves out the first',
}


@dataclass(frozen=True)
class FittedModel:
    """The body model of a fit.

    Args:
        name: its name.
        content_hash: hash of its content without landmarks: a session adds some of its own.
        unit: of its lengths.
        landmarks: those that the fit was made with, by name, as JSON has them.
    """

    name: str
    content_hash: str
    unit: str | None = None
    landmarks: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any) -> 'FittedModel':
        """Describe a `BodyModelData`."""
        return cls(data.name, data.hash_without_landmarks(), data.unit, data.landmark_records())

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def contents(arrays: Mapping[str, np.ndarray], units: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """List the arrays of a file: shape, kind, and what each means or its unit.

    Args:
        arrays: by name.
        units: parameters' units by name.
    """
    result = {}
    for name, array in arrays.items():
        meaning = next((text for start, text in _MEANINGS.items() if name.startswith(start)), None)
        about = {'unit': units[name]} if name in units else {'meaning': meaning or 'given by the caller'}
        result[name] = {'shape': list(np.shape(array)), 'dtype': str(np.asarray(array).dtype), **about}
    return result


def camera_arrays(cameras: Cameras | None, prefix: str = 'camera') -> dict[str, np.ndarray]:
    """Return cameras as arrays; none where there are none."""
    if cameras is None:
        return {}
    tensors = {n: getattr(cameras, n) for n in _CAMERA_TENSORS}
    arrays = {f'{prefix}_{n}': value.cpu().numpy() for n, value in tensors.items() if value is not None}
    return arrays | {
        f'{prefix}_names': np.array(cameras.names),
        f'{prefix}_unit': np.array(cameras.unit or ''),
    }


def cameras_of_arrays(arrays: Mapping[str, np.ndarray], prefix: str = 'camera') -> Cameras | None:
    """Read what `camera_arrays` gave."""
    # Files of the first version state no names.
    if f'{prefix}_names' not in arrays:
        return None
    stored = {n: f'{prefix}_{n}' for n in _CAMERA_TENSORS}
    tensors = {n: torch.from_numpy(arrays[key]) for n, key in stored.items() if key in arrays}
    names, unit = tuple(arrays[f'{prefix}_names'].tolist()), str(arrays[f'{prefix}_unit']) or None
    return Cameras(names=names, unit=unit, **tensors)


def keypoint_arrays(points: Keypoints3d | None) -> dict[str, np.ndarray]:
    """Return 3D keypoints as arrays; none where there are none."""
    if points is None:
        return {}
    return {
        'keypoints3d': points.xyz.cpu().numpy(),
        'keypoints3d_confidence': points.confidence.cpu().numpy(),
        'keypoints3d_names': np.array(points.names, dtype=np.str_),
        'keypoints3d_unit': np.array(points.unit or ''),
    }


def keypoints_of_arrays(arrays: Mapping[str, np.ndarray]) -> Keypoints3d | None:
    """Read what `keypoint_arrays` gave."""
    if 'keypoints3d' not in arrays:
        return None
    return Keypoints3d(
        xyz=torch.from_numpy(arrays['keypoints3d']),
        confidence=torch.from_numpy(arrays['keypoints3d_confidence']),
        names=tuple(arrays['keypoints3d_names'].tolist()),
        unit=str(arrays['keypoints3d_unit']) or None,
    )


@dataclass(frozen=True)
class ModelReference:
    """A body model as a dataset, a fit or a checkpoint names it; `body_models.find_model` finds it.

    Args:
        given: its path as somebody gave it, or a shipped model's name.
        content_hash: of its content without landmarks; None where nobody knows it, so that any will do.
        absolute: its whole path; '' where it was no file.
        relative: its path from the folder of the file that names it, with `/`; '' where there is none.
        packed: the model itself, as `body_models.pack_model` gives it; None where it is not in the file.
    """

    given: str = ''
    content_hash: str | None = None
    absolute: str = ''
    relative: str = ''
    packed: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], packed: bytes | None = None) -> 'ModelReference':
        """Read what `record` gave; what a later version adds is passed over.

        Raises:
            TypeError: a value that is no text.
        """
        names = ('given', 'content_hash', 'absolute', 'relative')
        result = {name: record[name] for name in names if record.get(name) is not None}
        for name, value in result.items():
            if not isinstance(value, str):
                raise TypeError(f'{name} of a body model must be text; got {type(value).__name__}')
        return cls(**result, packed=packed)

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it, without the model itself."""
        result = asdict(replace(self, packed=None))
        del result['packed']
        return result

    def relative_to_folder(self, folder: str | Path) -> 'ModelReference':
        """Name the model for a file in another folder."""
        if not self.absolute:
            return replace(self, relative='')
        try:
            relative = Path(os.path.relpath(self.absolute, Path(folder).resolve())).as_posix()
        except ValueError:
            # On another drive.
            relative = ''
        return replace(self, relative=relative)

    def places(self, folder: str | Path | None = None) -> Iterator[Path]:
        """List where the model's file may be, the likeliest first.

        Args:
            folder: of the file that names the model.
        """
        named = [Path(self.absolute)] if self.absolute else []
        if folder is not None and self.relative:
            named.append(Path(folder) / self.relative)
        if self.given:
            named.append(Path(self.given).expanduser())
        yield from dict.fromkeys(Path(os.path.abspath(place)) for place in named)


VERDICT_FILE = 'verdict.json'
# Fits that a verdict beside them is of; predictions lie beside the verdict on what was refined of them.
_JUDGED_FILES = ('fit.npz', 'refined.npz')


@dataclass(frozen=True)
class FitOrigin:
    """The recording of a fit, as its file keeps it.

    Args:
        session: its name.
        dataset: the dataset file, by its whole path; it may be gone.
        fingerprint: of that file.
        body_model_file: the body model of the fit, where it was; `body_model` says more.
        body_model: the body model of the fit, and where it is found again; None in older files.
        source: where the session came from, such as its folder.
        fps: frames per second of the recording; None where unknown.
        unit: of the world.
        labels: names of single images; none of a recording, whose frames have numbers.
        videos: by camera, where they are known.
    """

    session: str
    dataset: str | None = None
    fingerprint: str | None = None
    body_model_file: str | None = None
    source: str = ''
    fps: float | None = None
    unit: str | None = None
    labels: tuple[str, ...] = ()
    videos: dict[str, str] = field(default_factory=dict)
    body_model: ModelReference | None = None

    @property
    def reference(self) -> ModelReference:
        """What names the body model of the fit; in older files that of the dataset."""
        if self.body_model is not None:
            return self.body_model
        given = self.body_model_file or ''
        # Seen from the file, too: a folder that was moved as a whole.
        return ModelReference(given, relative=given)

    @classmethod
    def of(
        cls, dataset: 'RecordedData', session: str, body_model: ModelReference | None = None
    ) -> 'FitOrigin':
        """Describe a session of an open dataset file, fitted with a body model: the dataset's own if None."""
        data = dataset.session(session)
        return cls(
            session,
            str(Path(dataset.path).resolve()),
            dataset.fingerprint,
            str(dataset.body_model_file) if body_model is None else body_model.absolute or body_model.given,
            str(dataset.source(session)),
            dataset.fps(session),
            dataset.unit,
            () if data.temporal else data.labels(),
            body_model=body_model,
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any], packed_model: bytes | None = None) -> 'FitOrigin':
        """Read what `record` gave; what a later version adds is passed over.

        Args:
            record: as JSON has it.
            packed_model: the body model itself, where the file holds it.
        """
        known = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        if known.get('body_model') is not None:
            known['body_model'] = ModelReference.from_record(known['body_model'], packed_model)
        return cls(**known | {'labels': tuple(known.get('labels', ()))})

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it; without the body model itself."""
        result = asdict(replace(self, body_model=None))
        return result | {'body_model': None if self.body_model is None else self.body_model.record()}


@dataclass(frozen=True)
class FitVerdict:
    """What a fit was judged to be: in a word, with reasons, and by frame; its measures stand in the file.

    `frame_keypoints` are those that are not good in a frame; empty where none is in any.
    """

    word: str
    reasons: tuple[str, ...]
    frame_words: tuple[str, ...]
    frame_reasons: tuple[str, ...]
    frame_keypoints: tuple[tuple[str, ...], ...] = ()


def verdict_beside(path: Path, n_frames: int) -> FitVerdict | None:
    """Read the verdict that lies beside a fit's file; None where there is none, or one of other frames."""
    file = path.parent / VERDICT_FILE
    if path.name not in _JUDGED_FILES or not file.is_file():
        return None
    document = read_json(file, 'a verdict', dict)
    with reading(file, 'a verdict'):
        frames = document['frames']
        words, reasons = (tuple(str(frame[k]) for frame in frames) for k in ('word', 'reason'))
        keypoints = tuple(tuple(map(str, frame.get('keypoints', ()))) for frame in frames)
        own = keypoints if any(keypoints) else ()
        result = FitVerdict(str(document['word']), tuple(map(str, document['reasons'])), words, reasons, own)
    return result if len(words) == n_frames else None
