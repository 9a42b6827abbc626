"""A folder of board recordings, one subfolder a camera, as detected corners by camera and frame."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilfit.cameras.boards import Board, BoardDetector, Detection
from smilfit.io.recordings.image_folder import ImageFolder, images_in
from smilfit.io.recordings.videos import VIDEO_SUFFIXES, iterate_videos, probe_video

logger = logging.getLogger('smilfit')

# Frames of a video that are searched, evenly spread: more tell little and take long.
MOST_FRAMES = 300
_NUMBER = re.compile(r'(\d+)(?!.*\d)')


@dataclass(frozen=True)
class BoardViews:
    """What cameras saw of a board: corners by camera and frame, of frames in which it was found.

    `size` is width and height of each camera's images, px; `searched` counts the images that were looked at.
    """

    names: tuple[str, ...]
    size: np.ndarray
    views: tuple[dict[int, Detection], ...]
    searched: tuple[int, ...]

    @property
    def frames(self) -> list[int]:
        """Frames in which any camera saw the board."""
        return sorted({frame for views in self.views for frame in views})


def read_board_views(
    folder: str | Path,
    board: Board,
    most_frames: int = MOST_FRAMES,
    on_camera: Callable[[str, int, int], None] | None = None,
) -> BoardViews:
    """Find the board in the recordings of all cameras, which were taken at the same time.

    A camera is a subfolder with one video or with images. Frames of videos are matched by number, images by the last
    number in their names, which must be the same for images of one moment.

    Args:
        most_frames: that are searched in each video, evenly spread.
        on_camera: called with a camera's name, how many images showed the board, and how many were searched.

    Raises:
        FileNotFoundError: no folder, or no camera in it.
        ValueError: a folder with neither, with several videos, or with images that say no number.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: board recordings must be in a folder; there is no such folder.')
    places = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))
    if not places:
        raise FileNotFoundError(
            f'{folder}: must have a subfolder for each camera, with its video or images of the board; it has none.'
        )
    detector = BoardDetector(board)
    recordings = [_Recording.of(place) for place in places]
    # One step for all, so that frames of one moment are searched in every camera.
    step = max(1, -(-max(r.video_frames for r in recordings) // most_frames))
    views, sizes, searched = [], [], []
    for place, recording in zip(places, recordings):
        result, count = {}, 0
        for frame, image in recording.images(step if recording.video else 1):
            count += 1
            observed = detector(image)
            if observed is not None:
                result[frame] = observed
        views.append(result)
        sizes.append(recording.size)
        searched.append(count)
        if on_camera is not None:
            on_camera(place.name, len(result), count)
    names = tuple(place.name for place in places)
    return BoardViews(names, np.array(sizes, dtype=np.float64), tuple(views), tuple(searched))


def some_images(folder: str | Path, camera: str, count: int) -> Iterator[np.ndarray]:
    """Return some images of a camera, evenly spread, RGB."""
    recording = _Recording.of(Path(folder) / camera)
    total = recording.video_frames or len(recording.stills)
    yield from (image for _, image in recording.images(max(1, -(-total // count))))


@dataclass(frozen=True)
class _Recording:
    """A camera's video, or its images with their numbers."""

    place: Path
    size: tuple[int, int]
    video: Path | None
    video_frames: int
    stills: tuple[Path, ...]

    @staticmethod
    def of(place: Path) -> '_Recording':
        videos = sorted(p for p in place.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        stills = tuple(images_in(place))
        if len(videos) == 1 and not stills:
            video = probe_video(videos[0])
            return _Recording(place, video.size, video.path, video.n_frames, ())
        if videos or not stills:
            raise ValueError(
                f'{place}: a camera must have one video or images of the board; got {len(videos)} videos and '
                f'{len(stills)} images. Leave the one recording there.'
            )
        numbers = [_number_of(path) for path in stills]
        if len(set(numbers)) < len(numbers):
            raise ValueError(
                f'{place}: images must end in numbers of their own, the same in all cameras at one moment; '
                f'{max(set(numbers), key=numbers.count)} is there more than once. Rename them.'
            )
        (size,) = ImageFolder(place, files=stills).sizes.values()
        return _Recording(place, size, None, 0, stills)

    def images(self, step: int) -> Iterator[tuple[int, np.ndarray]]:
        """Decode every n-th image, with its number."""
        if self.video is not None:
            decoded = iterate_videos({'': self.video}, range(0, self.video_frames, step))
            yield from ((frame, images['']) for frame, images in decoded)
            return
        for result in ImageFolder(self.place, files=self.stills).frames(range(0, len(self.stills), step)):
            number = _number_of(self.stills[result.number])
            if result.faults:
                logger.warning('%s: image %d is left out: %s.', self.place, number, *result.faults.values())
                continue
            yield number, next(iter(result.images.values()))


def _number_of(path: Path) -> int:
    result = _NUMBER.search(path.stem)
    if result is None:
        raise ValueError(
            f'{path}: the name must hold the number of the moment, the same in all cameras; it has none. Rename it.'
        )
    return int(result.group(1))
