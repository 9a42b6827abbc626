"""Decode images that a dataset file holds, after a look at the size that they declare."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from smilfit.datasets.crops import decode_image
from smilfit.datasets.store.table_checks import REMEDY
from smilfit.files import BadFileError, reading

_JPEG, _PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
_JPEG_END, _LONGEST_TAIL = b'\xff\xd9', 64
# Frame headers of JPEG, which hold the size; C4, C8 and CC are other things.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length behind them.
_BARE = {0x01, *range(0xD0, 0xD9)}


def most_bytes(side: int) -> int:
    """Return what an encoded image of side squared may take: noise at the best quality, and room for its headers."""
    return 8 * side * side + (1 << 16)


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height out of the header of a JPEG or PNG; None of bytes that are neither."""
    if data[:8] == _PNG:
        if len(data) < 24 or data[12:16] != b'IHDR':
            return None
        return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    return _jpeg_size(data) if data[:2] == _JPEG else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], 'big'), int.from_bytes(data[at + 5 : at + 7], 'big')
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], 'big'))
    return None


def decode_stored(
    data: UInt8[np.ndarray, ' n'], path: Path, what: str, side: int, grey: bool = False
) -> UInt8[np.ndarray, 'H W *c']:
    """Decode a stored crop: RGB, or one channel.

    Args:
        data: JPEG or PNG.
        path: the dataset file, for messages.
        what: which of its images.
        side: px, of the square that it must be.
        grey: whether it is a mask.

    Raises:
        BadFileError: no image, or one of another size; what it declares is looked at before it is decoded.
    """
    encoded = data[: most_bytes(side)].tobytes()
    size = declared_size(encoded)
    if size is None:
        raise BadFileError(
            f'{path}: {what} must be JPEG or PNG that decodes; its {len(data)} bytes are neither. {REMEDY}'
        )
    # OpenCV fills up what a cut JPEG lacks, and reports nothing.
    if encoded[:2] == _JPEG and _JPEG_END not in encoded[-_LONGEST_TAIL:]:
        raise BadFileError(
            f'{path}: {what} must be a whole JPEG; its {len(data)} bytes have no end. {REMEDY}'
        )
    if size != (side, side):
        raise BadFileError(
            f'{path}: {what} must be of {side} x {side} px, as the file states; it declares {size[0]} x {size[1]}. '
            f'{REMEDY}'
        )
    with reading(path, what, REMEDY):
        image = decode_image(data, f'{path}: {what}', grey)
        if image.shape[:2] != (side, side):
            raise ValueError(f'an image of shape {image.shape}')
        return image
