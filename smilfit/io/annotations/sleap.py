"""SLEAP labels of single views: `.slp`, `.pkg.slp` with its images inside, analysis `.h5`."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from smilfit.files import BadFileError, shorten
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import BadEntry, one_of, reason_of
from smilfit.io.annotations.image_files import EmbeddedFrame
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.io.recordings.camera_labels import usual_threshold
from smilfit.io.recordings.sleap_labels import (
    filled_scores,
    find_video_file,
    load_analysis,
    load_slp,
    report_high_peaks,
)
from smilfit.io.sequence_names import AnimalSequences, different_names, sequence_name
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation, VideoFrame

if TYPE_CHECKING:
    import sleap_io


@ANNOTATIONS.register_module(name='sleap')
class SleapReader(AnnotationReader):
    """Read labelled frames of one or more videos, each an own view of an own animal.

    In a frame that a person labelled only the person's instances count, as in SLEAP's own training. A video is a
    sequence (with `instance='each'`, a track of it, `<video>+<track>`); a list of images is stills in the order of
    the list. Videos are named by absolute paths, as SLEAP does, and read where they are, if they open as videos;
    images of a list must lie in the folder of images. Coordinates have pixel centres at integers. A person's
    points have confidence 1, others their score: the peak of a confidence map, at most 1. Peaks below SLEAP's own
    threshold count as missing, of files with 'proofread' in the name none.

    Args:
        images: the folder of videos and images; where the labels say, else beside the labels if None.
        instance: what becomes of frames with several instances: 'only' leaves them out (and tells), 'best'
            takes the one of the highest score, of a person's the one with the most points, 'each' takes all. Of
            sessions of several cameras 'each' makes a session of every track; else the track with the most points
            is kept.
    """

    def __init__(
        self, images: str | Path | None = None, instance: str = 'only', allow_outside_images: bool = False
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.instance = one_of('SleapReader', 'instance', instance, ('only', 'best', 'each'))

    def read(self, path: str | Path) -> AnnotationSet:
        """Read the file, frames of a video in the order of time.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no SLEAP labels, several skeletons, no labelled frame.
        """
        path = Path(path)
        labels = _load(path)
        if len(labels.skeletons) != 1:
            raise BadFileError(
                f'{path}: labels must have one skeleton; got {len(labels.skeletons)}. Export one alone.'
            )
        videos = [_Video(path, self.images, video) for video in labels.videos]
        sequences = _sequence_names([video.name for video in videos])
        order = {id(video): i for i, video in enumerate(labels.videos)}
        images: list[AnnotatedImage] = []
        skipped: list[SkippedAnnotation] = []
        animals = AnimalSequences(sequences)
        untracked = False
        n_high = 0
        for frame in sorted(labels, key=lambda frame: (order[id(frame.video)], frame.frame_idx)):
            number = order[id(frame.video)]
            index, result = int(frame.frame_idx), _counting_instances(frame)
            where = f'{path.name}, frame {index} of {shorten(videos[number].name)}'
            if len(result) > 1 and self.instance == 'only':
                reason = (
                    f"a frame must have one instance; got {len(result)}. instance='best' or 'each' takes it."
                )
                skipped.append(SkippedAnnotation(where, reason))
                continue
            if self.instance == 'best':
                result = sorted(result, key=_worth)[-1:]
            untracked |= len(result) > 1 and any(instance.track is None for instance in result)
            for place, instance in enumerate(result):
                n_high += int((_points(instance)[2] > 1).sum())
                label = where if len(result) == 1 else f'{where}, instance {place}'
                sequence = sequences[number]
                if self.instance == 'each':
                    track = instance.track
                    sequence = animals.of(number, id(track) if track else f'{place}', _name_of(track, place))
                try:
                    images.append(_entry(label, videos[number], index, instance, sequence))
                except Exception as error:  # The file chose what happened here.
                    skipped.append(SkippedAnnotation(label, reason_of(error)))
        report_high_peaks(path, n_high)
        if not images and not skipped:
            raise BadFileError(f'{path}: labels must have instances; got none. Was the right file exported?')
        names = tuple(labels.skeletons[0].node_names)
        return AnnotationSet(
            name=path.name.split('.')[0],
            keypoint_names=names,
            images=tuple(images),
            skipped=tuple(skipped),
            # Nobody says which animal of a frame is which of the next one where there is no track.
            temporal=all(video.is_film for video in videos) and not untracked,
            fps={sequences[i]: video.fps for i, video in enumerate(videos) if video.fps},
            flip=_symmetries(labels.skeletons[0]) or mirror_pairs(names),
            confidence_threshold=usual_threshold(path),
        )


class _Video:
    """A video of the labels: which file a frame is in."""

    def __init__(self, labels: Path, folder: Path | None, video: 'sleap_io.Video') -> None:
        known = video.backend_metadata or {}
        rate, shape = known.get('fps'), known.get('shape')
        self.fps = rate if isinstance(rate, int | float) else None
        self.size = (int(shape[2]), int(shape[1])) if shape and len(shape) == 4 and all(shape[1:3]) else None
        self._dataset = known.get('dataset') if known.get('has_embedded_images') else None
        self._package = labels
        source = video.source_video.filename if self._dataset and video.source_video else video.filename
        self._images: list[Path] | None = None
        if isinstance(source, list):
            self._images = [find_video_file(labels, folder, name) for name in source]
            # Images of a list may differ in size; the labels know that of the first one.
            self.size = None
            self.name = self._images[0].parent.name if self._images else ''
        else:
            self._film = find_video_file(labels, folder, source) if source and source != '.' else labels
            self.name = self._film.name
        self.is_film = self._images is None

    def at(self, index: int) -> Path | VideoFrame:
        """Return the image of a frame; a package's own before the video that it was made from."""
        if self._dataset:
            return EmbeddedFrame(self._package, index, self._dataset)
        if self._images is None:
            return VideoFrame(self._film, index)
        if not 0 <= index < len(self._images):
            raise BadEntry(
                f'the frame must be one of the {len(self._images)} images; got {index}. Correct it.'
            )
        return self._images[index]


def _load(path: Path) -> 'sleap_io.Labels':
    if path.is_dir():
        raise FileNotFoundError(
            f"{path}: the labels of single views must be a file; got a folder. Give one camera's .slp."
        )
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the labels must exist; there is no such file.')
    return load_slp(path) if path.suffix.lower() == '.slp' else load_analysis(path)


def _name_of(track: 'sleap_io.Track | None', place: int) -> str:
    return str(track.name) if track else f'{place}'


def _entry(
    where: str, video: _Video, index: int, instance: 'sleap_io.Instance', sequence: str
) -> AnnotatedImage:
    xy, visible, score = _points(instance)
    half = np.isfinite(xy).any(-1) & ~np.isfinite(xy).all(-1)
    if half.any():
        names = instance.skeleton.node_names
        raise BadEntry(f'a point must have two coordinates or none; {names[int(half.argmax())]!r} has one.')
    return AnnotatedImage(
        where=where,
        image=video.at(index),
        keypoints=np.where(visible[:, None], xy, 0.0),
        confidence=np.where(visible, filled_scores(score), 0.0),
        size=video.size,
        sequence=sequence if video.is_film else '',
        frame=index,
    )


def _points(instance: 'sleap_io.Instance') -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coordinates, whether each is an observation, and scores (NaN of a person's)."""
    points = instance.points
    xy = np.asarray(points['xy'], dtype=np.float64)
    score = points['score'] if 'score' in points.dtype.names else np.full(len(xy), np.nan)
    return xy, np.isfinite(xy).all(-1) & points['visible'], np.asarray(score, dtype=np.float64)


def _counting_instances(frame: 'sleap_io.LabeledFrame') -> list['sleap_io.Instance']:
    """Return the instances of a frame that have points: the person's, or else the predicted ones."""
    valid = [instance for instance in frame.instances if np.isfinite(instance.points['xy']).any()]
    persons = [instance for instance in valid if getattr(instance, 'score', None) is None]
    return persons or valid


def _worth(instance: 'sleap_io.Instance') -> float:
    score = getattr(instance, 'score', None)
    return float(instance.n_visible) if score is None else float(np.nan_to_num(score))


def _symmetries(skeleton: 'sleap_io.Skeleton') -> tuple[tuple[str, str], ...]:
    names = skeleton.node_names
    pairs = ({node.name for node in symmetry.nodes} for symmetry in skeleton.symmetries)
    return tuple(tuple(sorted(pair, key=names.index)) for pair in pairs if len(pair) == 2)


def _sequence_names(names: Sequence[str]) -> list[str]:
    """Return videos' names without ending, such as can name folders; numbered where two are the same."""
    stems = [PurePosixPath(name).stem for name in names]
    return different_names([sequence_name(stem) if stem else '' for stem in stems])
