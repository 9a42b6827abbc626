"""Annotated images: the one form that all annotation formats are read into."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from smilfit.structures.cameras import Cameras


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video file, counted from 0."""

    video: Path
    index: int

    def __str__(self) -> str:
        return f'{self.video}, frame {self.index}'


class MaskSource(ABC):
    """A silhouette that is decoded when it is asked for: thousands of them fit into memory undecoded."""

    @abstractmethod
    def read(self) -> Bool[np.ndarray, 'H W']:
        """Decode it, in px of the whole image.

        Raises:
            ValueError: it cannot be decoded.
            OSError: its file cannot be read.
        """


@dataclass(frozen=True)
class AnnotatedImage:
    """One animal in one image.

    Keypoints are (x, y) in px of the whole image with pixel centres at integers; what was not annotated has
    confidence 0 and coordinates 0. `where` names file and entry for messages. `size` is (width, height) as the
    annotation states it, `box` is (x, y, width, height) px, `camera` one camera where its calibration is known,
    `keypoints3d` are in that camera's world unit, `params` are known body parameters by their field names of
    `BodyParams`. Images of one `sequence` show one animal; `frame` is an image's time in it.
    """

    where: str
    image: Path | VideoFrame
    keypoints: Float[np.ndarray, 'K 2']
    confidence: Float[np.ndarray, 'K']
    size: tuple[int, int] | None = None
    box: Float[np.ndarray, '4'] | None = None
    mask: MaskSource | None = None
    camera: Cameras | None = None
    keypoints3d: Float[np.ndarray, 'K 3'] | None = None
    confidence3d: Float[np.ndarray, 'K'] | None = None
    params: Mapping[str, np.ndarray] | None = None
    sequence: str = ''
    frame: int = 0
    category: str = ''


@dataclass(frozen=True)
class SkippedAnnotation:
    """An entry that is left out, and why: file and entry, the rule that it breaks, what to do."""

    where: str
    reason: str


@dataclass(frozen=True)
class AnnotationSet:
    """What an annotation file (or folder) says.

    `temporal` says whether the images of a sequence follow one another in time; stills have one sequence for
    all, or none. `fps` is by sequence, where known. `flip` pairs keypoints that a mirror exchanges, by name.
    `confidence_threshold` is what the format's scores are customarily held against: labels below it count as missing
    where nobody asks otherwise.
    """

    name: str
    keypoint_names: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    skipped: tuple[SkippedAnnotation, ...] = ()
    temporal: bool = False
    unit: str | None = None
    fps: Mapping[str, float] = field(default_factory=dict)
    flip: tuple[tuple[str, str], ...] = ()
    confidence_threshold: float = 0.5

    def __post_init__(self) -> None:
        """Check that every image has as many keypoints as there are names."""
        count = len(self.keypoint_names)
        for image in self.images:
            if len(image.keypoints) != count or len(image.confidence) != count:
                raise ValueError(
                    f'{image.where}: keypoints must be as many as the names, {count}; got {len(image.keypoints)} '
                    f'with {len(image.confidence)} confidences.'
                )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class AnimalCentres:
    """The centres of A animals in T frames of C views: the mean of an animal's keypoints, or the middle of its box.

    Args:
        xy: px of the original image; zeros where there is none.
        known: whether the animal is labelled there.
        complete: whether these are all animals that the view shows. Where they are not, nothing is said of the rest
            of the image.
    """

    xy: Float[np.ndarray, 'T C A 2']
    known: Bool[np.ndarray, 'T C A']
    complete: Bool[np.ndarray, 'T C']

    @classmethod
    def of_keypoints(
        cls, points: Sequence[Float[np.ndarray, 'T C K 2']], n_animals: int | None = None
    ) -> 'AnimalCentres':
        """Take the mean of each animal's labelled points; NaN is no label.

        A view is complete if as many animals are labelled in it as there are: `n_animals`, or those that are given.
        """
        xy = np.stack(points, 2)
        valid = np.isfinite(xy).all(-1)
        count = valid.sum(-1, keepdims=True)
        mean = np.where(valid[..., None], xy, 0.0).sum(-2) / np.maximum(count, 1)
        known = count[..., 0] > 0
        return cls(mean, known, known.sum(-1) >= (n_animals or len(points)))
