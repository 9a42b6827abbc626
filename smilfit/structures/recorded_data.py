"""What fitting asks of recorded data: the rooms below `datasets` know its files by these alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, SupportsIndex, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from smilfit.structures.cameras import Cameras
from smilfit.structures.fit_record import ModelReference
from smilfit.structures.keypoints import Keypoints2d, Keypoints3d

SessionKind: TypeAlias = Literal['recording', 'images', 'points']
# A session's name, or its number in the file.
SessionKey: TypeAlias = str | SupportsIndex


@runtime_checkable
class SessionData(Protocol):
    """One session of recorded data; what it has is answered by its kind, so that nobody else asks.

    `kind` is 'recording' (frames of a rig), 'images' (each with a camera of its own) or 'points' (in space, without
    images, under known cameras or none).
    """

    kind: SessionKind
    name: str

    @property
    def temporal(self) -> bool:
        """Whether samples follow one another in time."""
        ...

    @property
    def cameras(self) -> Cameras | None:
        """The cameras of the annotated images, with their lenses: for all frames or a row each; None if unknown."""
        ...

    @property
    def rig(self) -> Cameras | None:
        """The cameras that all frames share; None where each image has its own, or none is known."""
        ...

    def labels(self) -> tuple[str, ...]:
        """Name the samples."""
        ...

    def captions(self) -> tuple[str, ...]:
        """Name the samples where the session is named already, as on its page."""
        ...

    def fitted2d(self) -> Keypoints2d:
        """Return 2D keypoints as they are fitted: px of the original images, or of the crops of single images."""
        ...

    def annotated2d(self) -> Keypoints2d | None:
        """Return keypoints in px of the annotated images, with their lenses; None where no camera saw any."""
        ...


@runtime_checkable
class RecordedData(Protocol):
    """Sessions by name or number: their cameras, keypoints and masks.

    `datasets.open_dataset` gives one.
    """

    path: Path
    keypoint_names: tuple[str, ...]
    session_names: tuple[str, ...]
    body_model_file: str
    body_model_hash: str
    body_model: ModelReference
    fingerprint: str

    @property
    def unit(self) -> str | None:
        """The world's unit; None where it is not known."""
        ...

    def session(self, session: SessionKey) -> SessionData:
        """Return a session by its kind."""
        ...

    def samples(self, session: SessionKey) -> Int[np.ndarray, ' n']:
        """Return the numbers of a session's samples in the file."""
        ...

    def frame_indices(self, session: SessionKey) -> Int[np.ndarray, ' n']:
        """Return the numbers of a session's frames in the recording."""
        ...

    def fps(self, session: SessionKey) -> float | None:
        """Return a session's frames per second; None where unknown."""
        ...

    def source(self, session: SessionKey) -> str:
        """Return where a session came from, such as its folder."""
        ...

    def cameras(self, session: SessionKey) -> Cameras:
        """Return the cameras of the original images."""
        ...

    def stored_cameras(self, session: SessionKey) -> Cameras:
        """Return the cameras of the stored crops."""
        ...

    def keypoints2d(
        self, session: SessionKey, names: Sequence[str] | None = None, stored: bool = False
    ) -> Keypoints2d:
        """Return keypoints in the original images, or in the stored crops, px."""
        ...

    def keypoints3d(self, session: SessionKey, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return 3D keypoints, world unit; None without."""
        ...

    def masks(self, session: SessionKey) -> tuple[UInt8[np.ndarray, 'n C H W'], Float[np.ndarray, 'n C']]:
        """Return masks in the stored crops (0 or 255) and the views' weights, 0 where there is none."""
        ...
