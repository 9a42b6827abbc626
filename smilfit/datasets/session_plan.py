"""The plan of a session: what will be stored of it; and what plans share, scores and animals' centres."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.datasets.store.store_layout import EncodedSample, ImageTable, SampleLabels, StoreHeader
from smilfit.io.points import PointSession
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.structures import AnimalCentres, CameraReport, Cameras, Keypoints2d, Keypoints3d

logger = logging.getLogger('smilfit')

# For sessions that state none: scores that are probabilities.
USUAL_THRESHOLD = 0.5
# A camera that loses more than this share of its labels is named.
LARGE_SHARE = 0.2


Counts: TypeAlias = dict[str, Any]


@runtime_checkable
class NamedSession(Protocol):
    """What every session states of itself."""

    name: str
    unit: str | None

    @property
    def fps(self) -> float | None:
        """Frames per second; None if unknown."""

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints."""


@runtime_checkable
class Session(NamedSession, Protocol):
    """What preprocessing asks of a session; `SleapSession` is one."""

    @property
    def cameras(self) -> Cameras | None:
        """The cameras, for all frames or a row each; None if unknown."""

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return labels of all frames, original px."""

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return 3D points of all frames, if there are any."""

    def frames(self, indices: Sequence[int] | None = None) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Decode images in order."""


AnySession: TypeAlias = Session | PointSession


@dataclass(frozen=True, kw_only=True)
class SessionPlan(SampleLabels, ABC):
    """What will be stored of one session: n frames, its C kept cameras, its K keypoints. A class a kind of session.

    Keypoints are px of the image that is cut: undistorted if `undistorted`. `counts` are what was kept and what was
    left out, with the reason. Of images with cameras of their own there are `images`, `cameras` has a row a frame,
    `numbers` are the frames' times, and crops go round `boxes` (x0, y0, x1, y1: first and last pixel; NaN where the
    keypoints state it). `centres` are those of all animals, where there are several, px of the image that is cut.
    `camera_report` is what the cameras were judged to be by the whole recording, where they could be.
    """

    # Points in space have none.
    has_images: ClassVar[bool] = True

    session: NamedSession
    cameras: Cameras
    frames: Int[np.ndarray, ' n']
    names: tuple[str, ...]
    undistorted: bool
    counts: Counts = field(default_factory=dict)
    numbers: Int[np.ndarray, ' n'] | None = None
    boxes: Float[np.ndarray, 'n C 4'] | None = None
    images: ImageTable | None = None
    centres: AnimalCentres | None = None
    camera_report: CameraReport | None = None

    @abstractmethod
    def encode(
        self, index: int, header: StoreHeader, options: PreprocessOptions, skip: int
    ) -> Iterator[EncodedSample]:
        """Return the planned samples in order, but for the first `skip`.

        Args:
            index: the session's number in the file.
            header: of the file.
            options: how images are stored.
            skip: how many are in the file already.
        """

    def deciding(self) -> list[object]:
        """Return what the file depends on beside what every plan has."""
        return []

    def where(self, n: int) -> str:
        """Name the n-th frame in messages."""
        return f'{self.session.name}, frame {int(self.frames[n])}'

    def frame_number(self, n: int) -> int:
        """Return the stored number of the n-th frame."""
        return int((self.frames if self.numbers is None else self.numbers)[n])

    def crop_points(self, n: int, c: int) -> Float[np.ndarray, 'p 2']:
        """Return the points that a bbox crop goes round: corners of the box, else the keypoints."""
        if self.boxes is not None and not np.isnan(self.boxes[n, c]).any():
            return self.boxes[n, c].reshape(2, 2)
        return self.keypoints2d[n, c][self.confidence2d[n, c] > 0]


def thresholds_of(session: object, cameras: Sequence[str], asked: float | None) -> Float[Tensor, ' C']:
    """Return the score that each camera's labels must reach: the one asked for, else what the session states.

    A session states them as `confidence_thresholds`, camera -> score, as its labels' kind of score asks for.
    """
    own = getattr(session, 'confidence_thresholds', {})
    values = [own.get(name, USUAL_THRESHOLD) if asked is None else asked for name in cameras]
    return torch.tensor(values, dtype=torch.float64)


def counting_scores(
    confidence: Float[Tensor, 'B C K'], thresholds: Float[Tensor, ' C']
) -> Float[Tensor, 'B C K']:
    """Return labels below their camera's threshold confidence 0."""
    return torch.where(confidence >= thresholds[:, None], confidence, torch.zeros_like(confidence))


def camera_counts(
    cameras: Sequence[str],
    present: Bool[Tensor, 'n C K'],
    below: Bool[Tensor, 'n C K'],
    thresholds: Float[Tensor, ' C'],
) -> dict[str, dict[str, int | float]]:
    """Count each camera's labels and those below its threshold."""
    return {
        name: {
            'labels': int(present[:, c].sum()),
            'labels_below_threshold': int(below[:, c].sum()),
            'confidence_threshold': round(float(thresholds[c]), 6),
        }
        for c, name in enumerate(cameras)
    }


def warn_of_large_losses(session: str, counts: dict[str, dict[str, int | float]]) -> None:
    """Name cameras that lose many labels to the threshold."""
    for name, row in counts.items():
        lost, labels = row['labels_below_threshold'], row['labels']
        if lost > LARGE_SHARE * labels:
            logger.warning(
                '%s: camera %s loses %d of its %d labels to the confidence threshold %g. Where these labels are '
                'right (somebody looked at them), lower it: --confidence-threshold 0.',
                session,
                name,
                lost,
                labels,
                row['confidence_threshold'],
            )


def plan_centres(
    session: Session,
    cameras: Cameras,
    chosen: Int[torch.Tensor, ' n'],
    n_animals: int | None,
    undistort: bool,
) -> AnimalCentres | None:
    """Return all animals' centres in the chosen frames and cameras; None where there is one animal.

    Args:
        session: a reader; one that knows of several animals has `centres2d`.
        cameras: the kept ones.
        chosen: the frames.
        n_animals: how many there are; None takes the most that are labelled in an image.
        undistort: whether images will be undistorted.

    Raises:
        ValueError: more animals in an image than `n_animals`.
    """
    result = session.centres2d() if hasattr(session, 'centres2d') else None
    if result is None and (n_animals or 1) > 1:
        observed = session.keypoints2d()
        own_points = np.where(observed.visible.numpy()[..., None], observed.xy.numpy(), np.nan)
        result = AnimalCentres.of_keypoints([own_points], n_animals)
    if result is None:
        return None
    rows, names = chosen.numpy(), (cameras if session.cameras is None else session.cameras).names
    keep = [names.index(name) for name in cameras.names]
    result = AnimalCentres(*(x[rows][:, keep] for x in (result.xy, result.known, result.complete)))
    count = result.known.sum(-1)
    if n_animals is not None and count.max(initial=0) > n_animals:
        first = rows[int((count > n_animals).any(1).argmax())]
        raise ValueError(
            f'{session.name}: an image must show at most the {n_animals} animals of --n-animals; frame {first} has '
            f'{count.max()} labelled ones. Say how many there are.'
        )
    xy, inside = torch.from_numpy(result.xy), torch.ones(result.known.shape, dtype=torch.bool)
    if undistort:
        own = cameras if cameras.K.ndim == 3 else cameras[chosen]
        xy, inside = own.undistort(xy)
    known = result.known & inside.numpy()
    complete = result.complete if n_animals is None else count >= n_animals
    return AnimalCentres(np.where(known[..., None], xy.numpy(), 0.0), known, complete)
