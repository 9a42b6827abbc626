"""What every reader of dataset files can do."""

from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, UInt8

from smilfit.body_models import BodyModelData
from smilfit.datasets.store.store_layout import SampleRecord
from smilfit.structures import RecordedData


@runtime_checkable
class DatasetReader(RecordedData, Protocol):
    """Recorded data with images, sample by sample: what `open_dataset` gives of any format."""

    session_of: Int[np.ndarray, ' N']
    frame_of: Int[np.ndarray, ' N']
    view_mask_of: Bool[np.ndarray, 'N C']

    def __len__(self) -> int:
        """Count the samples."""
        ...

    def close(self) -> None:
        """Close the file; reading opens it again."""
        ...

    def record(self, sample: SupportsIndex) -> SampleRecord:
        """Read one sample without its images."""
        ...

    def image(self, sample: SupportsIndex, camera: str | SupportsIndex) -> UInt8[np.ndarray, 'H W 3']:
        """Decode a stored image, RGB."""
        ...

    def mask(self, sample: SupportsIndex, camera: str | SupportsIndex) -> UInt8[np.ndarray, 'H W'] | None:
        """Decode a stored silhouette; None where there is none."""
        ...

    def check_body_model(self, data: BodyModelData) -> None:
        """Refuse a body model that the file was not made with."""
        ...
