"""How large the source images of a SMILify file were: only its numbers can tell, for no table does.

Its preprocessors map a source px x to `(x - x0) s` and resize with OpenCV, which keeps the centres of pixels in the
image at `(x - x0 + 0.5) s - 0.5`. So labels and K lie (1 - s) / 2 px right of and below their image, and undoing it
asks for s, the stored px a source px.
"""

import numpy as np
from jaxtyping import Float

# Sides of source images, px.
LARGEST_SIDE = 20_000
# K is stored in single precision: so far from a whole number a side or an offset may come out.
_WHOLE = 0.02
# So many different crops must agree; fewer may by chance.
_LEAST_CROPS = 8
_MOST_CROPS = 64


def side_of_centred_axis(principal: float, side: int) -> int | None:
    """Find the source side N of an axis whose principal point was the centre, (N - 1) / 2.

    Then it was stored as `side / 2 - s / 2`, `s = side / N`. Returns None where no whole N fits: its principal point
    was another, or was calibrated.

    Args:
        principal: of the stored image, px.
        side: of the stored image, px.
    """
    s = side - 2 * principal
    if not 0 < s <= 4:
        return None
    found = side / s
    rounding = float(np.spacing(np.float32(principal))) / s * found
    whole = round(found)
    fits = abs(found - whole) < max(_WHOLE, rounding) and rounding < 0.25
    return whole if fits and whole <= LARGEST_SIDE else None


def focal_of_crops(K: Float[np.ndarray, 'n 3 3']) -> float | None:
    """Find the focal length fx in source px of one camera whose crops differ.

    Crops begin at whole source px: `fx cx' / fx'` of two stored K differ by a whole number, and so do the rows, as
    scales are the same along both axes. The smallest fx for which all do is it. None where too few crops differ, or
    none fits.
    """
    ratio = float(np.median(K[:, 1, 1] / K[:, 0, 0]))
    places = np.stack((K[:, 0, 2] / K[:, 0, 0], K[:, 1, 2] / K[:, 1, 1] * ratio), -1)
    steps = np.unique(np.abs(places - places[0]).ravel().round(9))
    steps = steps[steps > 1e-5]
    if len(steps) < _LEAST_CROPS:
        return None
    steps = steps[np.linspace(0, len(steps) - 1, min(len(steps), _MOST_CROPS)).round().astype(int)]
    for count in range(1, int(LARGEST_SIDE * steps[0]) + 2):
        focal = count / steps[0]
        for step in steps:
            whole = round(focal * step)
            if whole == 0 or abs(focal * step - whole) > 0.1:
                break
            # Each larger step says more exactly what the focal length is.
            focal = whole / step
        else:
            off = np.abs(focal * steps - (focal * steps).round())
            if float(off.max()) < _WHOLE:
                return float(focal)
    return None
