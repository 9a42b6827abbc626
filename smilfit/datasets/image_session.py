"""Annotated images as sessions: one camera called 'picture', other in every sample."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8

from smilfit.datasets.store.known_params import KnownParams, params_of_images
from smilfit.io import check_lookup
from smilfit.io.annotations import mask_box, read_images
from smilfit.io.annotations.entries import reason_of
from smilfit.io.sequence_names import different_names, sequence_name
from smilfit.structures import (
    AnimalCentres,
    AnnotatedImage,
    AnnotationSet,
    Cameras,
    Keypoints2d,
    Keypoints3d,
    SkippedAnnotation,
    VideoFrame,
)


def place_in_video(image: AnnotatedImage) -> tuple[str, int]:
    """Return what sorts frames of one video together and in order; stills are all alike."""
    return (str(image.image.video), image.image.index) if isinstance(image.image, VideoFrame) else ('', 0)


def decode_images(images: Sequence[AnnotatedImage]) -> Iterator[tuple[np.ndarray | None, str]]:
    """Return each image, or why there is none; a video is decoded once as long as its frames ascend."""
    pairs = enumerate(pairwise(map(place_in_video, images)), start=1)
    # Within such a run `read_images` keeps the order.
    ends = [i for i, (before, after) in pairs if before[0] != after[0] or after[1] < before[1]]
    for start, end in pairwise([0, *ends, len(images)]):
        for _, result in read_images(images[start:end]):
            yield (None, result.reason) if isinstance(result, SkippedAnnotation) else (result, '')


CAMERA = 'picture'
# Focal length over the longer side where nothing is known of the camera: COLMAP's default.
FOCAL_PER_SIDE = 1.2


@dataclass(frozen=True)
class ImageEntry:
    """One decoded entry; without image, `fault` is why."""

    index: int
    image: UInt8[np.ndarray, 'H W 3'] | None = None
    mask: Shaped[np.ndarray, 'H W'] | None = None
    fault: str = ''


class ImageSession:
    """Images of one sequence, or stills, as preprocessing takes them.

    Images lie in the order of time; stills in their own, frames of one video together.

    Args:
        name: names it in the dataset file.
        images: entries whose `size` is known (`check_images` finds it).
        keypoint_names: names of the entries' keypoints.
        joint_lookup: model keypoint -> annotated keypoint; None takes the names as they are.
        unit: world unit of cameras and 3D keypoints.
        fps: frames per second.
        temporal: whether the images follow one another in time.
        focal_px: focal length of images without a camera; None guesses 1.2 times their longer side.
        confidence_threshold: what labels of a smaller confidence count as missing by, where nobody asks otherwise.
        shown: by image, the centres of all animals that are annotated in it; None takes each image's own alone.

    Raises:
        ValueError: an entry without size, or a focal length that is not positive.
    """

    def __init__(
        self,
        name: str,
        images: Sequence[AnnotatedImage],
        keypoint_names: Sequence[str],
        joint_lookup: Mapping[str, str] | None = None,
        unit: str | None = None,
        fps: float | None = None,
        temporal: bool = False,
        focal_px: float | None = None,
        confidence_threshold: float = 0.5,
        shown: Mapping[str, Sequence[Float[np.ndarray, '2']]] | None = None,
    ) -> None:
        self._shown = shown or {}
        if focal_px is not None and not focal_px > 0:
            raise ValueError(f'{name}: focal_px must be positive; got {focal_px}.')
        self.name, self.unit, self.fps, self.temporal = name, unit, fps, temporal
        self.confidence_thresholds = {CAMERA: confidence_threshold}
        # Sorting is stable: stills keep their order.
        self.images = tuple(sorted(images, key=_time if temporal else place_in_video))
        for image in self.images:
            if image.size is None:
                raise ValueError(
                    f'{image.where}: the size of the image must be known; it is not. Give the annotations to '
                    'check_images first.'
                )
        lookup = {n: n for n in keypoint_names} if joint_lookup is None else dict(joint_lookup)
        check_lookup(lookup, data_names=keypoint_names, where=name)
        self.keypoint_names = tuple(lookup)
        self._columns = [list(keypoint_names).index(data) for data in lookup.values()]
        self.intrinsics_known: Bool[np.ndarray, ' n'] = np.array(
            [image.camera is not None or focal_px is not None for image in self.images], np.bool_
        )
        self.cameras = _own_cameras(self.images, focal_px, unit)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Only that of the image."""
        return (CAMERA,)

    @property
    def n_frames(self) -> int:
        """How many images."""
        return len(self.images)

    @property
    def has_masks(self) -> bool:
        """Whether an image has a mask."""
        return any(image.mask is not None for image in self.images)

    @property
    def frame_numbers(self) -> tuple[int, ...]:
        """Each image's time in the sequence; its place among stills."""
        return (
            tuple(image.frame for image in self.images) if self.temporal else tuple(range(len(self.images)))
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Each image's file (and frame); where several entries show one image, `#` and the animal's number in it."""
        files = [str(image.image) for image in self.images]
        shown, count, labels = Counter(files), Counter[str](), []
        for file in files:
            count[file] += 1
            labels.append(file if shown[file] == 1 else f'{file} #{count[file]}')
        return tuple(labels)

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return labels of all images, px of the whole image, with each image's camera."""
        xy = np.stack([image.keypoints[self._columns] for image in self.images])
        confidence = np.stack([image.confidence[self._columns] for image in self.images])
        observed = Keypoints2d(
            torch.from_numpy(xy.astype(np.float64)).unsqueeze(1),
            torch.from_numpy(confidence.astype(np.float64)).unsqueeze(1),
            self.keypoint_names,
            self.cameras,
        )
        return observed if names is None else observed.select(names)

    def centres2d(self) -> AnimalCentres | None:
        """Return the centres of all animals annotated in each image, px of it; None where none shows several."""
        result = [self._shown.get(str(image.image), ()) for image in self.images]
        most = max((len(centres) for centres in result), default=0)
        if most < 2:
            return None
        xy, known = np.zeros((len(result), 1, most, 2)), np.zeros((len(result), 1, most), np.bool_)
        for i, centres in enumerate(result):
            for a, centre in enumerate(centres):
                xy[i, 0, a], known[i, 0, a] = centre, True
        # Every image is annotated whole, unless the caller states how many animals there are.
        return AnimalCentres(xy, known, np.asarray(known.any(-1)))

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return 3D points where entries have them; None where none has."""
        if all(image.keypoints3d is None for image in self.images):
            return None
        xyz = np.zeros((len(self), len(self._columns), 3))
        confidence = np.zeros(xyz.shape[:2])
        for i, image in enumerate(self.images):
            if image.keypoints3d is not None:
                xyz[i] = image.keypoints3d[self._columns]
                known = image.confidence if image.confidence3d is None else image.confidence3d
                confidence[i] = known[self._columns]
        observed = Keypoints3d(
            torch.from_numpy(xyz), torch.from_numpy(confidence), self.keypoint_names, self.unit
        )
        return observed if names is None else observed.select(names)

    def known_params(self, n_joints: int, n_betas: int) -> KnownParams | None:
        """Return the body parameters that entries state, of those whose body has so many joints and betas."""
        return params_of_images([image.params for image in self.images], n_joints, n_betas)

    def box(self, index: int) -> Float[np.ndarray, '4'] | None:
        """Return the first and last pixel of the box (x0, y0, x1, y1): the annotation's, else the mask's.

        Raises:
            ValueError: a mask that cannot be decoded.
            OSError: a mask's file that cannot be read.
        """
        image = self.images[index]
        if image.box is not None:
            box = tuple(image.box)
        elif image.mask is not None and (mask := image.mask.read()).any():
            box = mask_box(mask)
        else:
            return None
        x, y, width, height = (float(v) for v in box)
        # A box states outer edges, half a pixel from the centres.
        return np.array([x + 0.5, y + 0.5, x + max(width, 1) - 0.5, y + max(height, 1) - 0.5])

    def frames(
        self, indices: Sequence[int] | None = None
    ) -> Iterator[tuple[int, dict[str, UInt8[np.ndarray, 'H W 3']]]]:
        """Decode images in the order of the indices; where one does not decode there is none."""
        for entry in self.entries(indices, with_masks=False):
            yield entry.index, {} if entry.image is None else {CAMERA: entry.image}

    def masks(
        self, indices: Sequence[int] | None = None
    ) -> Iterator[tuple[int, dict[str, Shaped[np.ndarray, 'H W']]]]:
        """Decode masks in the order of the indices, where there are any."""
        for i in range(len(self)) if indices is None else indices:
            mask = self.images[i].mask
            yield i, {} if mask is None else {CAMERA: mask.read()}

    def entries(self, indices: Sequence[int] | None = None, with_masks: bool = True) -> Iterator[ImageEntry]:
        """Decode entries in the order of the indices, videos once; one that does not decode has its fault."""
        indices = range(len(self)) if indices is None else indices
        images = decode_images([self.images[i] for i in indices])
        for i, (image, fault) in zip(indices, images):
            mask, source = None, self.images[i].mask
            if with_masks and source is not None and not fault:
                try:
                    mask = source.read()
                except Exception as error:  # The file chose what happened here.
                    fault = f'its mask must decode; {reason_of(error)}'
            if fault:
                yield ImageEntry(i, fault=fault)
            else:
                yield ImageEntry(i, image, mask)


def image_sessions(
    annotations: AnnotationSet,
    joint_lookup: Mapping[str, str] | None = None,
    unit: str | None = None,
    focal_px: float | None = None,
) -> tuple[tuple[ImageSession, ...], tuple[SkippedAnnotation, ...]]:
    """Make one session of each sequence, named so that it can name a folder of results.

    Args:
        annotations: with sizes (see `check_images`).
        joint_lookup: model keypoint -> annotated keypoint; None takes the names as they are.
        unit: world unit where the annotations state none.
        focal_px: focal length of images without a camera.

    Returns:
        The sessions, and what was left out of them: a frame that a sequence has twice.
    """
    by_sequence: dict[str, list[AnnotatedImage]] = {}
    skipped = []
    taken: dict[tuple[str, int], str] = {}
    for image in annotations.images:
        first = taken.setdefault((image.sequence, image.frame), image.where)
        if annotations.temporal and first != image.where:
            reason = (
                f'a sequence must have one entry a frame; frame {image.frame} of {image.sequence!r} is {first} '
                'already. Give each animal a sequence of its own.'
            )
            skipped.append(SkippedAnnotation(image.where, reason))
            continue
        by_sequence.setdefault(image.sequence, []).append(image)
    shown: dict[str, list[np.ndarray]] = {}
    for image in annotations.images:
        if (centre := _centre(image)) is not None:
            shown.setdefault(str(image.image), []).append(centre)
    names = different_names([sequence_name(sequence or annotations.name) for sequence in by_sequence])
    sessions = tuple(
        ImageSession(
            name,
            images,
            annotations.keypoint_names,
            joint_lookup,
            annotations.unit or unit,
            annotations.fps.get(sequence),
            annotations.temporal,
            focal_px,
            annotations.confidence_threshold,
            shown,
        )
        for name, (sequence, images) in zip(names, by_sequence.items())
    )
    return sessions, tuple(skipped)


def _centre(image: AnnotatedImage) -> Float[np.ndarray, '2'] | None:
    """Return an animal's centre: the mean of its labelled points, else that of its box; None without."""
    valid = image.confidence > 0
    if valid.any():
        return np.asarray(image.keypoints[valid].mean(0), np.float64)
    if image.box is None:
        return None
    x, y, width, height = (float(v) for v in image.box)
    return np.array([x + width / 2, y + height / 2])


def guessed_intrinsics(size: tuple[int, int], focal_px: float | None = None) -> Float[torch.Tensor, '3 3']:
    """Return K of an unknown camera that looks along its centre; `FOCAL_PER_SIDE` guesses its focal length."""
    width, height = size
    focal = FOCAL_PER_SIDE * max(width, height) if focal_px is None else focal_px
    rows = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def _own_cameras(images: Sequence[AnnotatedImage], focal_px: float | None, unit: str | None) -> Cameras:
    """Stack the images' cameras, (n, 1, ...); a guess at the world's origin where one is unknown."""
    stacked: dict[str, list[torch.Tensor]] = {name: [] for name in ('K', 'R', 't', 'dist', 'size')}
    for image in images:
        if image.size is None:
            raise ValueError(
                f'{image.where}: the size of the image must be known; got None. Call check_images first.'
            )
        width, height = image.size
        camera = image.camera
        if camera is None:
            K = guessed_intrinsics((width, height), focal_px)[None]
            R, t = torch.eye(3).double()[None], torch.zeros(1, 3).double()
        else:
            K, R, t = camera.K.double(), camera.R.double(), camera.t.double()
        dist = torch.zeros(1, 5) if camera is None or camera.dist is None else camera.dist
        size = torch.tensor([[width, height]])
        for name, value in zip(stacked, (K, R, t, dist, size)):
            stacked[name].append(value.double())
    return Cameras(names=(CAMERA,), **{n: torch.stack(v) for n, v in stacked.items()}, unit=unit)


def _time(image: AnnotatedImage) -> int:
    return image.frame
