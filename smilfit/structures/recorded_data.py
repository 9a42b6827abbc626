"""What fitting asks of recorded data, whatever file they come from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from smilfit.structures.body import BodyParams
from smilfit.structures.cameras import Cameras
from smilfit.structures.keypoints import Keypoints2d, Keypoints3d


@runtime_checkable
class RecordedData(Protocol):
    """Sessions by name or number: their cameras, keypoints, masks, and what is known of the animal.

    `datasets.open_dataset` gives one; images are what `datasets.DatasetReader` adds.
    """

    path: Path
    keypoint_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    camera_names: tuple[str, ...]
    session_names: tuple[str, ...]
    body_model_file: str
    body_model_hash: str
    crop_mode: str
    undistorted: bool
    target_resolution: int
    n_betas: int
    n_samples: int
    has_masks: bool

    @property
    def unit(self) -> str | None:
        """The world's unit; None where it is not known."""
        ...

    def session_index(self, session: str | SupportsIndex) -> int:
        """Return a session's number."""
        ...

    def samples(self, session: str | SupportsIndex) -> Int[np.ndarray, ' n']:
        """Return the numbers of a session's samples in the file."""
        ...

    def frame_indices(self, session: str | SupportsIndex) -> Int[np.ndarray, ' n']:
        """Return the numbers of a session's frames in the recording."""
        ...

    def labels(self, session: str | SupportsIndex) -> tuple[str, ...]:
        """Name a session's samples."""
        ...

    def temporal(self, session: str | SupportsIndex) -> bool:
        """Check whether samples follow one another in time."""
        ...

    def intrinsics_known(self, session: str | SupportsIndex) -> Bool[np.ndarray, ' n']:
        """Report on which samples the focal length is known."""
        ...

    def has_own_cameras(self, session: str | SupportsIndex) -> bool:
        """Check whether every sample has a camera of its own."""
        ...

    def cameras(self, session: str | SupportsIndex) -> Cameras:
        """Return the cameras of the original images."""
        ...

    def stored_cameras(self, session: str | SupportsIndex) -> Cameras:
        """Return the cameras of the stored crops."""
        ...

    def keypoints2d(
        self, session: str | SupportsIndex, names: Sequence[str] | None = None, stored: bool = False
    ) -> Keypoints2d:
        """Return keypoints in the original images, or in the stored crops, px."""
        ...

    def annotated_cameras(self, session: str | SupportsIndex) -> Cameras:
        """Return the cameras of the images that were annotated, with their lenses."""
        ...

    def annotated2d(self, session: str | SupportsIndex) -> Keypoints2d:
        """Return keypoints in px of the images that were annotated, with cameras that bend as their lenses do."""
        ...

    def keypoints3d(
        self, session: str | SupportsIndex, names: Sequence[str] | None = None
    ) -> Keypoints3d | None:
        """Return 3D keypoints, world unit; None without."""
        ...

    def masks(
        self, session: str | SupportsIndex
    ) -> tuple[UInt8[np.ndarray, 'n C H W'], Float[np.ndarray, 'n C']]:
        """Return masks in the stored crops (0 or 255) and the views' weights, 0 where there is none."""
        ...

    def true_params(self, session: str | SupportsIndex) -> BodyParams | None:
        """Return known parameters; None without."""
        ...

    def known_betas(self, session: str | SupportsIndex) -> Float[np.ndarray, ' S'] | None:
        """Return a known shape; None without."""
        ...
