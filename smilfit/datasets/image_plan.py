"""Decide which images of an image session are kept and where they are cut, and report each that is not."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from smilfit.datasets.image_session import ImageEntry, ImageSession
from smilfit.datasets.session_plan import (
    SessionPlan,
    camera_counts,
    counting_scores,
    plan_centres,
    thresholds_of,
    warn_of_large_losses,
)
from smilfit.datasets.store.sample_encoder import DecodedFrame, Placer, encode_frames
from smilfit.datasets.store.store_layout import EncodedSample, ImageTable, StoreHeader
from smilfit.io.annotations.entries import reason_of
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.structures import Cameras, SkippedAnnotation


class ImagePlan(SessionPlan):
    """What will be stored of images with cameras of their own."""

    session: ImageSession

    def encode(
        self, index: int, header: StoreHeader, options: PreprocessOptions, skip: int
    ) -> Iterator[EncodedSample]:
        """Decode, cut and encode the images."""
        entries = self.session.entries(self.frames[skip:].tolist(), header.with_masks)
        return encode_frames(Placer(index, self, header, options), map(self._decoded, entries), skip)

    def _decoded(self, entry: ImageEntry) -> DecodedFrame:
        (camera,) = self.cameras.names
        images = {} if entry.image is None else {camera: entry.image}
        return images, {} if entry.mask is None else {camera: entry.mask}, entry.fault

    def where(self, n: int) -> str:
        """Name the annotation of the n-th image in messages."""
        return self.session.images[int(self.frames[n])].where


def plan_images(
    session: ImageSession, names: Sequence[str], options: PreprocessOptions
) -> tuple[ImagePlan, tuple[SkippedAnnotation, ...]]:
    """Choose images and their boxes, move keypoints to the images that will be cut.

    An image is kept for one keypoint of sufficient confidence, or for its mask. `min_views` and
    `exclude_cameras` are for rigs: there is one camera here, and nothing to triangulate.

    Args:
        session: the images.
        names: the keypoints to keep, all of them the session's.
        options: what to keep; `frame_skip` and `max_frames_per_session` count images.

    Returns:
        The plan, with no frames where no image is left, and what was left out with the reason.
    """
    observed = session.keypoints2d(tuple(names))
    thresholds = thresholds_of(session, session.camera_names, options.confidence_threshold)
    counting = counting_scores(observed.confidence, thresholds)
    labelled, below = counting > 0, observed.visible & (counting == 0)
    ideal, inside = session.cameras.undistort(observed.xy)
    confidence = torch.where(labelled & inside, observed.confidence, 0.0)
    points = observed.xy if options.no_undistort else ideal
    boxes, broken = _boxes(session, options)
    shown = [image.mask is not None for image in session.images]
    skipped = _empty(names, confidence, shown, float(thresholds[0])) | broken
    usable = [i for i in range(len(session)) if i not in skipped]
    chosen = np.array(usable[:: options.frame_skip][: options.max_frames_per_session], np.int64)
    rows = torch.from_numpy(chosen)
    kept = confidence[rows]
    xyz, confidence3d = _points3d(session, names, options, rows)
    counts = {
        'frames': len(session),
        'frames_stored': len(chosen),
        'frames_left_out': len(skipped),
        'frames_skipped': len(usable) - len(chosen),
        'views_stored': len(chosen),
        'masks_stored': sum(shown[i] for i in chosen),
        'keypoints_stored': int((kept > 0).sum()),
        'keypoints_missing': int((observed.confidence[rows] == 0).sum()),
        'keypoints_below_threshold': int(below[rows].sum()),
        'keypoints_beyond_lens_fold': int((labelled & ~inside)[rows].sum()),
        'points3d_stored': int((confidence3d > 0).sum()),
        'cameras': camera_counts(session.camera_names, observed.visible[rows], below[rows], thresholds),
        'pictures_with_guessed_intrinsics': int((~session.intrinsics_known[chosen]).sum()),
    }
    warn_of_large_losses(
        session.name, camera_counts(session.camera_names, observed.visible, below, thresholds)
    )
    labels = session.labels
    plan = ImagePlan(
        session=session,
        cameras=session.cameras[rows],
        frames=chosen,
        view_mask=np.ones((len(chosen), 1), np.bool_),
        names=observed.names,
        keypoints2d=torch.where((kept > 0).unsqueeze(-1), points[rows], 0.0).numpy(),
        confidence2d=kept.numpy(),
        keypoints3d=xyz,
        confidence3d=confidence3d,
        undistorted=not options.no_undistort,
        counts=counts,
        numbers=np.array(session.frame_numbers, np.int64)[chosen],
        boxes=boxes[chosen],
        images=ImageTable(
            tuple(labels[i] for i in chosen),
            session.intrinsics_known[chosen],
            session.temporal,
            tuple(session.images[i].where for i in chosen),
        ),
        centres=plan_centres(session, session.cameras, rows, options.n_animals, not options.no_undistort),
    )
    return plan, tuple(SkippedAnnotation(session.images[i].where, r) for i, r in sorted(skipped.items()))


def _empty(
    names: Sequence[str], confidence: torch.Tensor, shown: Sequence[bool], threshold: float
) -> dict[int, str]:
    """Return for each image without a keypoint that counts, and without a mask, why it is left out."""
    why = (
        f'an image must have a mask or a keypoint of {", ".join(names)} with confidence >= {threshold:g}; it has '
        'none. Lower --confidence-threshold, or map more keypoints.'
    )
    full = (confidence > 0).any(-1).numpy()[:, 0] | np.array(shown, np.bool_)
    return dict.fromkeys(np.flatnonzero(~full).tolist(), why)


def _points3d(
    session: ImageSession, names: Sequence[str], options: PreprocessOptions, rows: torch.Tensor
) -> tuple[Float[np.ndarray, 'n K 3'], Float[np.ndarray, 'n K']]:
    """Return the chosen images' 3D keypoints; zeros of confidence 0 where there are none."""
    given = None if options.no_3d_data else session.keypoints3d(tuple(names))
    if given is None:
        return np.zeros((len(rows), len(names), 3)), np.zeros((len(rows), len(names)))
    return given.xyz[rows].numpy(), given.confidence[rows].numpy()


def _boxes(
    session: ImageSession, options: PreprocessOptions
) -> tuple[Float[np.ndarray, 'n 1 4'], dict[int, str]]:
    """Find the boxes that crops go round, px of the image that is cut; NaN where keypoints must state it."""
    boxes = np.full((len(session), 1, 4), np.nan)
    broken: dict[int, str] = {}
    if options.crop_mode != 'bbox_crop':
        return boxes, broken
    for i in range(len(session)):
        try:
            box = session.box(i)
        except Exception as error:  # The file chose what happened here.
            broken[i] = f'its mask must decode; {reason_of(error)}'
            continue
        if box is not None:
            boxes[i, 0] = box if options.no_undistort else _undistorted_box(session.cameras[i], box)
    return boxes, broken


def _undistorted_box(cameras: Cameras, box: Float[np.ndarray, '4']) -> Float[np.ndarray, '4']:
    """Bound the undistorted grid of a box; as it is where the lens's fold cuts all of it off."""
    if cameras.dist is None:
        return box
    (x0, y0), (x1, y1) = box.reshape(2, 2)
    share = np.linspace(0, 1, 9)
    x, y = np.meshgrid(x0 + (x1 - x0) * share, y0 + (y1 - y0) * share)
    grid = np.stack((x, y), -1).reshape(-1, 2)
    ideal, inside = cameras.undistort(torch.from_numpy(grid)[None, None])
    if not bool(inside.any()):
        return box
    corners = ideal[inside].numpy()
    return np.concatenate((corners.min(0), corners.max(0)))
