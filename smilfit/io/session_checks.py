"""Checks that the files of one session belong together, made before any work starts."""

import logging
from collections.abc import Mapping

from smilfit.io.sleap_labels import SleapLabels
from smilfit.io.videos import VideoInfo
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')

# Some containers estimate their count from the duration and are a frame or two off.
_COUNT_SLACK = 2


def same_nodes(labels: Mapping[str, SleapLabels]) -> tuple[str, ...]:
    """Give the nodes that all cameras were labelled with, in one order, or refuse."""
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
            f'{video.n_frames} do. The file was cut short: copy it again.'
        )


def same_length(videos: Mapping[str, VideoInfo]) -> int:
    """Give the number of frames that all videos have, or refuse."""
    lengths = {name: video.n_frames for name, video in videos.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f'{next(iter(videos.values())).path.parents[1]}: videos must have equally many frames that '
            f'decode; got {lengths}. A shorter one may be cut short: copy it again, or leave the camera '
            'out with exclude_cameras.'
        )
    return next(iter(lengths.values()))


def same_rate(videos: Mapping[str, VideoInfo]) -> float:
    """Give the first video's frames per second; others are warned about."""
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


def check_labels_fit(labels: SleapLabels, video: VideoInfo, partial: bool) -> None:
    """Refuse labels of another video: longer, of a stated other length, or ending early without a gap."""
    stated = labels.video_frames
    if stated is not None and stated != video.n_frames:
        raise ValueError(
            f'{labels.path}: labels must belong to {video.path.name}; they were made on a video of {stated} '
            f'frames, it has {video.n_frames} that decode. Was the video cut short or exchanged?'
        )
    # A person labels frames here and there; labels of each frame up to one are those of a whole video.
    ends_early = 1 < len(labels) < video.n_frames and bool(labels.labelled.all()) and not partial
    if len(labels) > video.n_frames or ends_early:
        advice = ' Set partial_labels if only the beginning was labelled.' if ends_early else ''
        raise ValueError(
            f'{labels.path}: labels must be as long as {video.path.name}; they have {len(labels)} frames, '
            f'the video has {video.n_frames} that decode. Was the video cut short or exchanged?{advice}'
        )
