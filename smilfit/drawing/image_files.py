"""Images as files."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from smilfit.files import write_bytes


def write_image(path: str | Path, image: UInt8[np.ndarray, 'H W 3']) -> Path:
    """Write an RGB image as JPEG or PNG, as the file's name ends; it appears whole or not at all.

    Raises:
        ValueError: OpenCV knows no such format.
        OSError: it could not be written.
    """
    import cv2

    path = Path(path)
    try:
        done, data = cv2.imencode(path.suffix, image[..., ::-1])
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f'{path}: an image must end in .jpg or .png; got {path.suffix!r}.')
    return write_bytes(path, data.tobytes())
