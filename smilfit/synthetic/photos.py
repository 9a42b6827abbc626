"""Photographs of empty places: images as they are, and of videos what is there in most of their frames."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from smilfit.files import reading
from smilfit.io import iterate_videos, probe_video
from smilfit.io.image_opening import open_image
from smilfit.io.videos import VIDEO_SUFFIXES
from smilfit.synthetic.looks import Photos

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
# So many frames of a video, evenly over time, are enough for a median without the animal.
MEDIAN_FRAMES = 25


def read_photos(places: list[Path], camera_names: tuple[str, ...] = ()) -> Photos:
    """Read photographs for walls and coats.

    A file that is called after a camera, or lies in a folder that is, shows what that camera sees when it is empty;
    others are of anywhere. Of several of one camera the first counts, and the others are of anywhere.

    Args:
        places: images, videos, or folders, which are searched below too.
        camera_names: of the rig.

    Raises:
        FileNotFoundError: a place that is not there.
        ValueError: no image and no video; or one that cannot be read.
    """
    files = [file for place in places for file in _files(place)]
    if not files:
        found = ', '.join(map(str, places))
        raise ValueError(f'--backgrounds: must name images or videos; {found} has none. Check the path.')
    of_camera: dict[str, np.ndarray] = {}
    anywhere = []
    for file in files:
        image = _median(file) if file.suffix.lower() in VIDEO_SUFFIXES else _image(file)
        names = [name for name in camera_names if _of_camera(file, name)]
        if len(names) == 1 and names[0] not in of_camera:
            of_camera[names[0]] = image
        else:
            anywhere.append(image)
    return Photos(of_camera, tuple(anywhere))


def _of_camera(file: Path, name: str) -> bool:
    stem, wanted = file.stem.lower(), name.lower()
    return stem == wanted or stem.endswith(f'_{wanted}') or file.parent.name.lower() == wanted


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise FileNotFoundError(f'--backgrounds: {place} must exist; there is no such file or folder.')
    known = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    return sorted(path for path in place.rglob('*') if path.suffix.lower() in known and path.is_file())


def _image(file: Path) -> UInt8[np.ndarray, 'H W 3']:
    with reading(file, 'the background'), open_image(file, file) as image:
        return np.asarray(image.convert('RGB'))


def _median(file: Path) -> UInt8[np.ndarray, 'H W 3']:
    n = probe_video(file).n_frames
    indices = np.unique(np.linspace(0, n - 1, min(n, MEDIAN_FRAMES)).round().astype(int)).tolist()
    frames = [images['video'] for _, images in iterate_videos({'video': file}, indices)]
    return np.median(np.stack(frames), 0).astype(np.uint8)
