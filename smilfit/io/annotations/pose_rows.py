"""Rows of a pose table as annotated images: the images that rows name, or the frames of a video."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from smilfit.files import shorten
from smilfit.files.names import Fence, is_file
from smilfit.io.annotations.entries import frame_number
from smilfit.io.pose_tables import PoseTable
from smilfit.io.sequence_names import sequence_name
from smilfit.structures import AnnotatedImage, SkippedAnnotation, VideoFrame

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.m4v', '.mpg')


@dataclass(frozen=True)
class RowImage:
    """The image of a row, the sequence that it belongs to and its place there."""

    image: Path | VideoFrame
    sequence: str
    frame: int


def annotate_rows(
    table: PoseTable,
    sources: Sequence[RowImage | str | None],
    individuals: Sequence[str],
    names: Sequence[str],
) -> tuple[list[AnnotatedImage], list[SkippedAnnotation]]:
    """Make one entry a row and individual; an individual without a point in a row is not in that image.

    Args:
        table: the table.
        images: of every row; the reason why it is left out, or None where the row names none.
        individuals: the tracks to read. Each is a sequence of its own where there are several.
        names: keypoint names of all entries.
    """
    images, skipped = [], []
    place = {name: k for k, name in enumerate(names)}
    for row, source in enumerate(sources):
        where = table.where[row]
        if isinstance(source, str):
            skipped.append(SkippedAnnotation(where, source))
            continue
        if source is None:
            label = shorten('/'.join(table.rows[row]))
            reason = f'a row must name an image or a frame; got {label!r}. Correct the row.'
            skipped.append(SkippedAnnotation(where, reason))
            continue
        result = 0
        for individual in individuals:
            track = table.tracks[individual]
            valid = np.isfinite(track.xy[row]).all(-1)
            if not valid.any():
                continue
            result += 1
            target = [place[name] for name in track.names]
            keypoints, confidence = np.zeros((len(names), 2)), np.zeros(len(names))
            keypoints[target] = np.where(valid[:, None], track.xy[row], 0.0)
            confidence[target] = np.where(valid, track.confidence[row], 0.0)
            alone = len(individuals) == 1
            images.append(
                AnnotatedImage(
                    where=where if alone else f'{where}, individual {individual!r}',
                    image=source.image,
                    keypoints=keypoints,
                    confidence=confidence,
                    sequence=source.sequence if alone else sequence_name(source.sequence, individual),
                    frame=source.frame,
                )
            )
        if not result:
            skipped.append(SkippedAnnotation(where, 'one body part at least must be labelled; got none.'))
    return images, skipped


def row_images(
    table: PoseTable, folder: Path | None, allow_outside: bool = False
) -> list[RowImage | str | None]:
    """Find the images that rows name.

    A row says `labeled-data/<video>/<image>`, in one cell or in three. The path is meant from the project's
    folder: `folder` if given, else the nearest one above the table from which the first image can be reached.
    Images may also lie beside the table. The video is the sequence, the number at the end of the name the frame.
    An image must lie in that folder or beside the table, unless others are allowed: in its place stands the reason
    why it is left out.
    """
    paths = [PurePosixPath('/'.join(row).replace('\\', '/')) for row in table.rows]
    root = folder or _project(table.path, paths)
    fence = Fence([root] if folder is not None else [root, table.path.parent])
    images: list[RowImage | str | None] = []
    for order, path in enumerate(paths):
        if not path.suffix:
            images.append(None)
            continue
        image, beside = root / path, table.path.parent / path.name
        if folder is None and is_file(beside) and not is_file(image):
            image = beside
        if not allow_outside and not fence.holds(image):
            images.append(
                f'the image must lie in {root}; {shorten(str(path))} does not, by its path or by a link. Move it '
                'there, or read it where it is by --allow-outside-images.'
            )
            continue
        number = re.search(r'\d{1,15}$', path.stem)
        images.append(RowImage(image, path.parent.name, int(number.group()) if number else order))
    return images


def _project(table: Path, paths: Sequence[PurePosixPath]) -> Path:
    above = list(table.absolute().parents)[:4]
    first = next((path for path in paths if path.suffix), None)
    if first is None:
        return table.parent
    for folder in above:
        if not first.is_absolute() and is_file(folder / first):
            return folder
    return next((folder.parent for folder in above if folder.name == first.parts[0]), table.parent)


def row_frames(table: PoseTable, video: Path) -> list[RowImage | None]:
    """Return the video's frames that rows number, from 0; the video's name is the sequence."""
    return [
        None if frame is None else RowImage(VideoFrame(video, frame), video.stem, frame)
        for frame in (frame_number(row[0]) for row in table.rows)
    ]


def find_video(table: Path, video: Path | None) -> Path:
    """Find the video of a table of predictions: its name begins the table's, such as `cage1DLC_resnet50.h5`.

    Args:
        table: the table's path.
        video: the video, or the folder to look in; if None, the table's folder, the one above, and `videos` in both.

    Raises:
        ValueError: there is none.
    """
    if video is not None and video.is_file():
        return video
    here, above = table.parent, table.absolute().parent.parent
    folders = [video] if video is not None else [here, here / 'videos', above / 'videos', above]
    result = next(filter(None, (video_of(folder, table.stem) for folder in folders)), None)
    if result is not None:
        return result
    raise ValueError(
        f'{table}: the video of these frames must be found; got none in {", ".join(map(str, folders))} whose name '
        'begins the name of the table. Give it by video=.'
    )


def video_of(folder: Path, stem: str) -> Path | None:
    """Return the video of a folder whose name begins `stem`, the longest of them; None where there is none."""
    result = [
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.suffix.lower() in VIDEO_SUFFIXES and stem.startswith(path.stem)
    ]
    return max(result, key=lambda path: len(path.stem), default=None)
