"""The unit of a SMILify file's lengths, by how large its animals are: few of its files state one."""

import numpy as np
from jaxtyping import Bool, Float

MILLIMETRES = {'mm': 1.0, 'cm': 10.0, 'm': 1000.0}
# Largest sides of animals: a fruit fly's leg to a horse, mm.
SMALLEST_MM, LARGEST_MM = 1.0, 5000.0


def animal_extent(xyz: Float[np.ndarray, 'n P 3'], known: Bool[np.ndarray, 'n P']) -> float | None:
    """Give the median over samples of the largest side of the box round the known points."""
    rows = known.sum(1) >= 3
    if not rows.any():
        return None
    points = np.where(known[rows][..., None], xyz[rows], np.nan)
    return float(np.median((np.nanmax(points, 1) - np.nanmin(points, 1)).max(-1)))


def unit_by_size(extent: float | None) -> str | None:
    """Choose mm or m, as SMILify's readers do, where only one of them makes an animal; else None."""
    if extent is None:
        return None
    fitting = [unit for unit in ('mm', 'm') if SMALLEST_MM < extent * MILLIMETRES[unit] < LARGEST_MM]
    return fitting[0] if len(fitting) == 1 else None
