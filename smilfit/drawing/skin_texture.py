"""The skin of a rig that brought an image of it: colours of any place on the mesh."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import BadFileError, check_budget, read_npz, reading

_MOST_PIXELS = 1 << 26
_WHAT = 'the image of a skin'


@dataclass(frozen=True)
class SkinTexture:
    """An image (H, W, 3) in [0, 1], and where vertices lie on it: (V, 2), origin at its upper left, 1 its extent.

    A vertex that lies nowhere (NaN) has the image's mean colour. `encoded` is the image's file, where it had one.
    """

    image: np.ndarray
    uv: np.ndarray
    encoded: bytes = b''

    def colours(
        self, corners: Int[np.ndarray, 'N 3'], weights: Float[np.ndarray, 'N 3']
    ) -> Float[np.ndarray, 'N 3']:
        """Return the colours of points in triangles: corners are vertices, weights how near each is."""
        at = np.einsum('nk,nkc->nc', weights, self.uv[corners])
        known = np.isfinite(at).all(1)
        # Images repeat beyond their borders.
        at = np.where(known[:, None], at, 0) % 1.0
        height, width = self.image.shape[:2]
        row = np.minimum((at[:, 1] * height).astype(int), height - 1)
        column = np.minimum((at[:, 0] * width).astype(int), width - 1)
        result = self.image[row, column]
        return np.where(known[:, None], result, self.image.reshape(-1, 3).mean(0)).astype(np.float32)


def read_skin_texture(path: str | Path, n_vertices: int) -> SkinTexture:
    """Read what `smilfit model import` wrote: `image`, the bytes of a PNG or JPEG, and `uv` (V, 2).

    Raises:
        BadFileError: no such arrays, or those of another model.
    """
    from PIL import Image

    path = Path(path)
    arrays = read_npz(path, ('image', 'uv'), _WHAT)
    uv, data = arrays.get('uv'), arrays.get('image')
    if data is None or uv is None or uv.shape != (n_vertices, 2):
        got = 'none' if uv is None else uv.shape
        raise BadFileError(
            f'{path}: uv must be an array ({n_vertices}, 2) beside an image; got {got}. Import the rig again.'
        )
    encoded = data.astype(np.uint8).tobytes()
    with reading(path, _WHAT), Image.open(io.BytesIO(encoded)) as image:
        check_budget(path, _WHAT, image.width * image.height, _MOST_PIXELS, 'px')
        pixels = np.asarray(image.convert('RGB'), np.float32) / 255
    return SkinTexture(pixels, np.asarray(uv, float), encoded)
