"""Checks that the files of one session belong together, made before any work starts."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.videos import VideoInfo
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')

# Some containers estimate their count from the duration and are a frame or two off.
_COUNT_SLACK = 2
# Cameras that were started together may stop so many frames apart; more says that frames were lost in between.
MOST_TRIMMED, MOST_TRIMMED_SHARE = 5, 0.05


def kept_cameras(where: str | Path, names: Collection[str], exclude: Sequence[str]) -> list[str]:
    """Return the cameras that are not excluded.

    Raises:
        KeyError: an excluded camera that does not exist, with the near ones.
    """
    for name in exclude:
        if name not in names:
            raise UnknownNameError(f'{where}: no camera {name!r} to exclude. {did_you_mean(name, names)}')
    return [name for name in names if name not in exclude]


def same_nodes(labels: Mapping[str, CameraLabels]) -> tuple[str, ...]:
    """Return the nodes that all cameras were labelled with, in one order, or refuse."""
    (first, reference), *others = labels.items()
    for name, label in others:
        if label.node_names != reference.node_names:
            raise ValueError(
                f'{label.path}: nodes of all cameras must be the same, in the same order; '
                f'{first}: {list(reference.node_names)}, {name}: {list(label.node_names)}. '
                'Label with one skeleton: 3D points have no other names.'
            )
    return reference.node_names


def reject_cut(video: VideoInfo) -> None:
    """Refuse a video whose header states more frames than decode."""
    if video.n_frames < video.stated_frames - _COUNT_SLACK:
        raise ValueError(
            f'{video.path}: all frames of a video must decode; its header states {video.stated_frames}, '
            f'{video.n_frames} do. The file was cut short: copy it again, or use what all cameras have by --trim '
            '(trim=True).'
        )


def negligible(more: int, fewer: int) -> bool:
    """Whether one count of frames exceeds another by so little that cameras may merely have stopped apart."""
    return more - fewer <= MOST_TRIMMED and more - fewer <= MOST_TRIMMED_SHARE * more


def common_length(where: str | Path, videos: Mapping[str, VideoInfo], trim: bool = False) -> int:
    """Return the number of frames that all videos have.

    Videos that differ by a few frames are used up to the shortest one's end, which is reported.

    Args:
        where: the session, for messages.
        videos: by camera.
        trim: take what all have, however much they differ.

    Raises:
        ValueError: they differ by more.
    """
    lengths = {name: video.n_frames for name, video in videos.items()}
    shortest, longest = min(lengths.values()), max(lengths.values())
    if shortest == longest:
        return shortest
    if not trim and not negligible(longest, shortest):
        raise ValueError(
            f'{where}: videos must have equally many frames that decode; got {lengths}. A shorter one may be cut '
            'short, or have lost frames on the way: copy it again. If all began together, use what all have by '
            '--trim (trim=True), or leave the camera out with --exclude-cameras.'
        )
    notes = ', '.join(f'{name}: {n}' for name, n in lengths.items())
    logger.warning('%s: videos differ in frames (%s); the first %d of each are used.', where, notes, shortest)
    return shortest


def same_rate(videos: Mapping[str, VideoInfo]) -> float:
    """Return the first video's frames per second; others are warned about."""
    rates = {name: video.fps for name, video in videos.items()}
    first = next(iter(rates.values()))
    if any(abs(rate - first) > 0.01 * first for rate in rates.values()):
        logger.warning('Videos state different frame rates, %s; the first is taken.', rates)
    return first


def check_sizes(videos: Mapping[str, VideoInfo], cameras: Cameras | None) -> None:
    """Refuse images of another size than the calibration's."""
    if cameras is None:
        return
    for name, size in zip(cameras.names, cameras.size.round().int().tolist()):
        if tuple(size) != videos[name].size:
            raise ValueError(
                f'{videos[name].path}: images must have the size that camera {name!r} was calibrated with, '
                f'{size[0]}x{size[1]} px; got {videos[name].size[0]}x{videos[name].size[1]}.'
            )


def check_labels_fit(labels: CameraLabels, video: VideoInfo, partial: bool, trim: bool = False) -> None:
    """Refuse labels of another video: longer, of a stated other length, or ending early without a gap.

    A few frames more or less (any number with `trim`) are reported: what has no image is left out.
    """
    stated, n_frames = labels.video_frames, video.n_frames
    if stated is not None and stated != n_frames:
        if not (trim or negligible(max(stated, n_frames), min(stated, n_frames))):
            raise ValueError(
                f'{labels.path}: labels must belong to {video.path.name}; they were made on a video of {stated} '
                f'frames, it has {n_frames} that decode. Was the video cut short or exchanged?'
            )
        _warn_of_difference(labels, video, stated)
    # A person labels frames here and there; labels of each frame up to one are those of a whole video.
    ends_early = 1 < len(labels) < n_frames and bool(labels.labelled.all()) and not partial
    if not (len(labels) > n_frames or ends_early):
        return
    if not (trim or negligible(max(len(labels), n_frames), min(len(labels), n_frames))):
        advice = ' Set partial_labels if only the beginning was labelled.' if ends_early else ''
        raise ValueError(
            f'{labels.path}: labels must be as long as {video.path.name}; they have {len(labels)} frames, '
            f'the video has {n_frames} that decode. Was the video cut short or exchanged?{advice}'
        )
    if stated is None:
        _warn_of_difference(labels, video, len(labels))


def _warn_of_difference(labels: CameraLabels, video: VideoInfo, length: int) -> None:
    logger.warning(
        '%s: the labels are of %d frames, %s has %d; frames that one of them lacks are left out.',
        labels.path,
        length,
        video.path.name,
        video.n_frames,
    )
