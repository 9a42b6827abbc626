"""How well a fit explains points in space: distances by keypoint and by frame, in the session's unit."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.evaluation.units import unit_suffix
from smilfit.structures import Keypoints3d


@dataclass(frozen=True)
class PointBenchmark:
    """Distances between the fitted keypoints and the given points, world unit; NaN where there is no point.

    `size` is the animal's: the 90th percentile over frames of the diagonal of its points' box.
    """

    names: tuple[str, ...]
    distances: Float[np.ndarray, 'B K']
    size: float
    unit: str | None = None

    @property
    def n_frames(self) -> int:
        """How many frames were fitted."""
        return len(self.distances)

    def median(self, keypoint: int | None = None) -> float:
        """Return the median of all points, or of one keypoint's; NaN without any."""
        return self.percentile(50, keypoint)

    def percentile(self, share: float, keypoint: int | None = None) -> float:
        """Return a percentile of all points, or of one keypoint's; NaN without any."""
        values = self.distances if keypoint is None else self.distances[:, keypoint]
        values = values[np.isfinite(values)]
        return float(np.percentile(values, share)) if len(values) else float('nan')

    def by_frame(self) -> Float[np.ndarray, ' B']:
        """Return each frame's median; NaN without a point."""
        some = np.isfinite(self.distances).any(1)
        result = np.full(self.n_frames, np.nan)
        result[some] = np.nanmedian(self.distances[some], 1)
        return result

    def metrics(self) -> dict[str, int | float]:
        """Return all scalars by name, each name with its unit."""
        unit = unit_suffix(self.unit)
        result: dict[str, int | float] = {
            'n_frames_with_points': int(np.isfinite(self.distances).any(1).sum()),
            f'points/median_{unit}': self.median(),
            f'points/p90_{unit}': self.percentile(90),
            f'points/size_{unit}': self.size,
        }
        for k, name in enumerate(self.names):
            if np.isfinite(self.distances[:, k]).any():
                result[f'points/{name}/median_{unit}'] = self.median(k)
        return result


def point_benchmark(given: Keypoints3d, fitted: Float[Tensor, 'B K 3']) -> PointBenchmark:
    """Hold fitted keypoints against given ones of the same names.

    Raises:
        ValueError: another count of frames or keypoints.
    """
    if fitted.shape != given.xyz.shape:
        raise ValueError(
            f'point_benchmark: fitted points must be {tuple(given.xyz.shape)}, as given; got {tuple(fitted.shape)}.'
        )
    distance = (fitted.detach().cpu().double() - given.xyz.cpu().double()).norm(dim=-1)
    valid = given.visible.cpu()
    distance = torch.where(valid, distance, torch.nan)
    return PointBenchmark(tuple(given.names), distance.numpy(), float(extent(given)), given.unit)


def extent(points: Keypoints3d) -> Tensor:
    """Measure an animal: the 90th percentile over frames of the diagonal of its points' box, world unit.

    NaN where no frame has a point.
    """
    hidden = ~points.visible.unsqueeze(-1)
    low = points.xyz.masked_fill(hidden, torch.inf).amin(1)
    high = points.xyz.masked_fill(hidden, -torch.inf).amax(1)
    size = (high - low).norm(dim=-1).double()
    return torch.where(points.visible.any(-1), size, torch.nan).nanquantile(0.9)
