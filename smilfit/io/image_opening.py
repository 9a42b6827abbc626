"""Images and videos are opened here: their stated size is held against a limit before a pixel is decoded."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from smilfit.files import BadFileError, accounted, charge, reading, shorten

# Larger images are those of microscopes and satellites, or made to fill the memory.
MOST_PIXELS = 120_000_000
# PostScript is a program, which PIL has Ghostscript run.
_PROGRAMS = {'EPS'}


def check_image_size(
    where: str | Path, width: int, height: int, what: str = 'the image', most: int = MOST_PIXELS
) -> None:
    """Check a stated size.

    Raises:
        BadFileError: no pixel, or more than `most`.
    """
    if width < 1 or height < 1 or width * height > most:
        raise BadFileError(
            f'{where}: {what} must have 1 to {most // 1_000_000} million px; got {width}x{height}. Scale it '
            'down, together with its annotations.'
        )


@contextmanager
def decoded_image(path: Path, what: str = 'the image', rule: str = 'must decode') -> Iterator[Any]:
    """Open an image file by PIL inside this context: what fails there is an error that names it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it does not open or decode.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: {what} must exist; there is no such file. Check the path, or give the folder.'
        )
    with reading(path, what):
        try:
            with open_image(path, path, what) as image:
                yield image
        except (OSError, SyntaxError) as error:
            raise ValueError(f'{path}: {what} {rule}; got: {shorten(error)}. Copy it again.') from None


@contextmanager
def open_image(source: Path | BytesIO, where: str | Path, what: str = 'the image') -> Iterator[Any]:
    """Open an image by PIL; of animations and files of several pages it is the first.

    Args:
        source: the file, or its bytes as a stream.
        where: the file, for messages.
        what: what it is, for messages.

    Raises:
        BadFileError: too large, or PostScript.
        Exception: whatever PIL raises.
    """
    from PIL import Image

    with warnings.catch_warnings():
        # PIL warns at three quarters of our limit.
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        try:
            image = Image.open(source)
        except Image.DecompressionBombError:
            raise BadFileError(
                f'{where}: {what} must have at most {MOST_PIXELS // 1_000_000} million px; it states more than '
                f'{2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000} million. Scale it down, together with its '
                'annotations.'
            ) from None
    with image, accounted(where, what):
        check_image_size(where, *image.size, what)
        charge(what, n_bytes=4 * image.size[0] * image.size[1])
        if image.format in _PROGRAMS:
            raise BadFileError(
                f'{where}: {what} must be an image; got {image.format}, which is a program. Nothing was run. Save '
                'it as PNG.'
            )
        yield image
