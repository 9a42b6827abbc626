"""Sessions whose images are cut already: their bytes go into the dataset file as they are."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from smilfit.datasets.crops import Crop, cut, encode_jpeg
from smilfit.datasets.frame_plan import plan_session
from smilfit.datasets.session_plan import Counts, SessionPlan
from smilfit.datasets.store.sample_encoder import Placer
from smilfit.datasets.store.store_layout import EncodedSample, StoreHeader
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d, SkippedAnnotation


class StoredSession(ABC):
    """A session of stored images, with what preprocessing asks of any session.

    `affine` (N, C, 2, 3) maps source px, in which cameras and keypoints are, to px of the stored squares of
    `side`; `has_view` (N, C) marks where there is an image; `frame_numbers` (N,) are the samples' times.
    """

    name: str
    cameras: Cameras
    unit: str | None
    fps: float | None
    keypoint_names: tuple[str, ...]
    report: Counts
    side: int
    affine: Float[np.ndarray, 'N C 2 3']
    has_view: Bool[np.ndarray, 'N C']
    frame_numbers: Int[np.ndarray, ' N']

    @abstractmethod
    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return labels of all samples, source px."""

    @abstractmethod
    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return 3D points of all samples, if there are any."""

    @abstractmethod
    def encoded(self, sample: int, camera: int) -> UInt8[np.ndarray, ' n']:
        """Return the bytes of an image, looked through: they decode to a square of `side`."""

    @abstractmethod
    def decoded(self, sample: int, camera: int) -> UInt8[np.ndarray, 'H W 3']:
        """Decode an image, RGB."""

    def frames(
        self, indices: Sequence[int] | None = None
    ) -> Iterator[tuple[int, dict[str, UInt8[np.ndarray, 'H W 3']]]]:
        """Decode the stored images of samples in order."""
        names = self.cameras.names
        for i in range(len(self.frame_numbers)) if indices is None else indices:
            yield i, {name: self.decoded(i, c) for c, name in enumerate(names) if self.has_view[i, c]}

    def plan(
        self, names: Sequence[str], options: PreprocessOptions
    ) -> tuple[SessionPlan, tuple[SkippedAnnotation, ...]]:
        """Choose samples and views by the same rules and checks as of recorded sessions."""
        plan = plan_session(self, names, options)
        return StoredPlan(**{**vars(plan), 'numbers': self.frame_numbers[plan.frames]}), ()


class StoredPlan(SessionPlan):
    """What will be stored of images that are cut already."""

    session: 'StoredSession'

    def encode(
        self, index: int, header: StoreHeader, options: PreprocessOptions, skip: int
    ) -> Iterator[EncodedSample]:
        """Return the samples; images are encoded anew only where another side is asked for."""
        stored = self.session
        place = Placer(index, self, header, options)
        names = stored.cameras.names
        cameras = [names.index(name) for name in self.cameras.names]
        resize = Crop(0, 0, stored.side, stored.side, header.target_resolution)
        for n in range(skip, len(self.frames)):
            sample = int(self.frames[n])
            affines: list[np.ndarray | None] = [None] * len(cameras)
            images = {}
            for k, c in enumerate(cameras):
                if not self.view_mask[n, k]:
                    continue
                matrix = stored.affine[sample, c]
                if stored.side == header.target_resolution:
                    images[place.columns[k]] = stored.encoded(sample, c)
                else:
                    shrunk = cut(stored.decoded(sample, c), resize)
                    images[place.columns[k]] = encode_jpeg(shrunk, options.jpeg_quality)
                    matrix = resize.affine() @ np.vstack((matrix, (0.0, 0.0, 1.0)))
                affines[k] = matrix
            yield place.sample(n, affines, images, {}, '')

    def deciding(self) -> list[object]:
        """Return where the images were cut, and their times."""
        return [self.session.affine[self.frames], self.numbers]
