"""Sessions of a SMILify file as preprocessing takes them: of several cameras, and of single images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from smilfit.datasets.crops import apply_affine
from smilfit.datasets.frame_plan import PreprocessOptions, SessionPlan
from smilfit.datasets.image_session import CAMERA, FOCAL_PER_SIDE
from smilfit.datasets.label_scores import camera_counts, counting_scores, thresholds_of
from smilfit.datasets.store.hdf5_handle import Hdf5Handle
from smilfit.datasets.store.known_params import KnownParams
from smilfit.datasets.store.store_layout import ImageTable
from smilfit.datasets.store.stored_images import decode_stored, most_bytes
from smilfit.datasets.store.stored_views import StoredSession
from smilfit.files import BadFileError
from smilfit.smilify.samples import SampleTables, mean_camera, spread_of_cameras
from smilfit.smilify.schema import SingleViewTables
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d, SkippedAnnotation

# Sides of source images, px.
LARGEST_SIDE = 20_000
# K is stored in single precision: so far from a whole number a side or an offset may come out.
_WHOLE = 0.02
# So many different crops must agree; fewer may by chance.
_LEAST_CROPS = 8
_MOST_CROPS = 64


def side_of_centred_axis(principal: float, side: int) -> int | None:
    """Find the source side N of an axis whose principal point was the centre, (N - 1) / 2.

    Then it was stored as `side / 2 - s / 2`, `s = side / N`. Returns None where no whole N fits: its principal point
    was another, or was calibrated.

    Args:
        principal: of the stored image, px.
        side: of the stored image, px.
    """
    s = side - 2 * principal
    if not 0 < s <= 4:
        return None
    result = side / s
    rounding = float(np.spacing(np.float32(principal))) / s * result
    whole = round(result)
    fits = abs(result - whole) < max(_WHOLE, rounding) and rounding < 0.25
    return whole if fits and whole <= LARGEST_SIDE else None


def focal_of_crops(K: Float[np.ndarray, 'n 3 3']) -> float | None:
    """Find the focal length fx in source px of one camera whose crops differ.

    Crops begin at whole source px: `fx cx' / fx'` of two stored K differ by a whole number, and so do the rows, as
    scales are the same along both axes. The smallest fx for which all do is it. None where too few crops differ, or
    none fits.
    """
    ratio = float(np.median(K[:, 1, 1] / K[:, 0, 0]))
    places = np.stack((K[:, 0, 2] / K[:, 0, 0], K[:, 1, 2] / K[:, 1, 1] * ratio), -1)
    steps = np.unique(np.abs(places - places[0]).ravel().round(9))
    steps = steps[steps > 1e-5]
    if len(steps) < _LEAST_CROPS:
        return None
    steps = steps[np.linspace(0, len(steps) - 1, min(len(steps), _MOST_CROPS)).round().astype(int)]
    for count in range(1, int(LARGEST_SIDE * steps[0]) + 2):
        focal = count / steps[0]
        for step in steps:
            whole = round(focal * step)
            if whole == 0 or abs(focal * step - whole) > 0.1:
                break
            # Each larger step says more exactly what the focal length is.
            focal = whole / step
        else:
            off = np.abs(focal * steps - (focal * steps).round())
            if float(off.max()) < _WHOLE:
                return float(focal)
    return None


# K of images that were cut alike differ by less, in shares.
_SAME = 1e-5


@dataclass(frozen=True)
class SourceViews:
    """One camera's n stored images in its source px.

    `to_source` maps px as the file writes them to source px, `to_stored` source px to those of the stored image.
    Where `scale_known` is False the stored px of the largest image stand for source px, and labels may lie up to
    half a stored px right of and below the image.
    """

    K: Float[np.ndarray, '3 3']
    size: tuple[float, float]
    to_source: Float[np.ndarray, 'n 2 3']
    to_stored: Float[np.ndarray, 'n 2 3']
    scale_known: bool
    how: str


def find_source_views(
    K: Float[np.ndarray, 'n 3 3'],
    side: int,
    sizes: Int[np.ndarray, 'n 2'] | None,
    crop_mode: str,
    source_size: Sequence[int] | None,
) -> SourceViews:
    """Work out where one camera's images were cut.

    Args:
        K: as the file has them.
        side: of the stored images, px.
        sizes: width and height that the file states of what K is of; None where it states none.
        crop_mode: as the file states it, or ''.
        source_size: width and height of the source images where the user states them.

    Raises:
        ValueError: K of whole images, and no telling where they were cut.
    """
    if sizes is not None and (sizes > 0).all() and not (sizes == side).all():
        return _of_whole_images(K, side, sizes, crop_mode)
    if (np.abs(K - K[0]) <= _SAME * np.abs(K[0]).max()).all():
        return _cut_alike(K, side, crop_mode, source_size)
    focal = focal_of_crops(K)
    how = 'crops begin at whole px' if focal else 'unknown'
    return _placed(K, side, focal or float(K[:, 0, 0].max()), focal is not None, how)


def _of_whole_images(K: np.ndarray, side: int, sizes: np.ndarray, crop_mode: str) -> SourceViews:
    """Place images of a file that kept K and size of the whole image (before March 2026)."""
    if not (sizes == sizes[0]).all() or crop_mode not in ('centred', 'default'):
        raise ValueError(
            f'image_sizes must be those of the stored images ({side} px), or the crop_mode one whose crop is known '
            f'(centred, default); got {sizes[0].tolist()} and {crop_mode!r}. Its cameras are of whole images, and '
            'where those were cut is lost: make the file anew from the session.'
        )
    width, height = (int(v) for v in sizes[0])
    box, x0, y0 = (width, height), 0, 0
    if crop_mode == 'centred':
        least = min(width, height)
        box, x0, y0 = (least, least), (width - least) // 2, (height - least) // 2
    scale = (side / box[0], side / box[1])
    how = 'the file states whole images'
    return _with_scale(
        K[0], (width, height), np.tile(scale, (len(K), 1)), np.tile((x0, y0), (len(K), 1)), True, how
    )


def _cut_alike(K: np.ndarray, side: int, crop_mode: str, source_size: Sequence[int] | None) -> SourceViews:
    """Place images that all have one K: the whole source image or a fixed part of it."""
    if source_size is not None:
        sides = (min(source_size),) * 2 if crop_mode == 'centred' else (source_size[0], source_size[1])
        how = 'given'
    else:
        across, down = (side_of_centred_axis(float(K[0, axis, 2]), side) for axis in (0, 1))
        sides, how = (side, side), 'unknown'
        if across is not None and down is not None and (crop_mode != 'centred' or across == down):
            sides, how = (across, down), 'centred principal points'
    scale = np.array([side / sides[0], side / sides[1]])
    original = K.mean(0)
    original[:2] /= scale[:, None]
    n = len(K)
    return _with_scale(
        original, (sides[0], sides[1]), np.tile(scale, (n, 1)), np.zeros((n, 2)), how != 'unknown', how
    )


def _placed(K: np.ndarray, side: int, focal: float, known: bool, how: str) -> SourceViews:
    """Place crops that differ on the smallest image that holds them all; only their places to each other count."""
    scale = K[:, 0, 0] / focal
    centres = K[:, :2, 2] / scale[:, None]
    principal = centres.max(0)
    corners = principal - centres
    corners = corners.round() if known else corners
    far = np.ceil((corners + side / scale[:, None]).max(0) - 1e-6)
    original = np.array(
        [[focal, 0, principal[0]], [0, focal * K[0, 1, 1] / K[0, 0, 0], principal[1]], [0, 0, 1.0]]
    )
    return _with_scale(original, (far[0], far[1]), np.stack((scale, scale), 1), corners, known, how)


def _with_scale(
    K: np.ndarray, size: tuple[float, float], scale: np.ndarray, corner: np.ndarray, known: bool, how: str
) -> SourceViews:
    """Write the maps of the file, q = (x - corner) s, and of its images, p = q + (s - 1) / 2."""
    n = len(scale)
    to_source, to_stored = np.zeros((n, 2, 3)), np.zeros((n, 2, 3))
    for axis in (0, 1):
        to_source[:, axis, axis], to_source[:, axis, 2] = 1 / scale[:, axis], corner[:, axis]
        to_stored[:, axis, axis] = scale[:, axis]
        to_stored[:, axis, 2] = -corner[:, axis] * scale[:, axis] + known * (scale[:, axis] - 1) / 2
    return SourceViews(K, size, to_source, to_stored, known, how)


class ImageReader:
    """Read encoded images of a file: row i of the table of a slot.

    Args:
        path: the file.
        tables: the tables' names, slot by slot.
        side: px, of the square that every image must be.
    """

    def __init__(self, path: str | Path, tables: Sequence[str], side: int) -> None:
        self.path, self.side = Path(path), side
        self._tables, self._handle = tuple(tables), Hdf5Handle(path)

    def read(self, row: int, slot: int) -> tuple[UInt8[np.ndarray, ' n'], UInt8[np.ndarray, 'H W 3']]:
        """Return an image's bytes, and what they decode to (RGB).

        Raises:
            BadFileError: no image, one that is cut short, or of another size.
            OSError: bytes that are not there.
        """
        data = np.asarray(self._handle.read(self._tables[slot], row), np.uint8)
        image = decode_stored(data, self.path, f'the image of sample {row}, slot {slot}', self.side)
        return data[: most_bytes(self.side)], image

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._handle.close()


# A visible label at exactly (0, 0) is a missing one, unless its 3D point is seen so near to there, in shares of the
# side.
NEAR_CORNER = 0.03
# Cameras that stand still were rounded to single precision, some twice.
STILL_RAD, STILL_SHARE = 1e-3, 1e-3


class SmilifySession(StoredSession):
    """A session of a SMILify file.

    Args:
        name: of the session.
        tables: its samples.
        images: gives their bytes.
        joint_names: of the file's J joints.
        lookup: model keypoint -> joint of the file.
        unit: of the lengths.
        length_factor: from the file's lengths to that unit.
        source_size: width and height of source images, where the user states them.
        poses: parameters of samples that the file knows.

    Raises:
        BadFileError: cameras that move, or whose crops are lost.
    """

    def __init__(
        self,
        name: str,
        tables: SampleTables,
        images: ImageReader,
        joint_names: Sequence[str],
        lookup: dict[str, str],
        unit: str | None,
        length_factor: float = 1.0,
        source_size: Sequence[int] | None = None,
        poses: KnownParams | None = None,
    ) -> None:
        self.poses = poses
        self.name, self.unit, self.fps, self._images = name, unit, None, images
        self.side = tables.side
        used = np.flatnonzero((tables.slots >= 0).any(0))
        # One camera's number a column, as the session has them.
        self._slots: Int[np.ndarray, 'N C'] = tables.slots[:, used]
        self.has_view: Bool[np.ndarray, 'N C'] = self._slots >= 0
        self._rows, self.frame_numbers = tables.rows, tables.frames
        names = tuple(tables.camera_names[c] for c in used)
        self.confidence_thresholds = dict.fromkeys(names, 0.5)
        views = [self._source_views(tables, int(c), name, source_size) for c, name in zip(used, names)]
        R, t = self._rig(tables, used)
        self.cameras = Cameras(
            names,
            torch.from_numpy(np.stack([v.K for v in views])),
            torch.from_numpy(R),
            torch.from_numpy(t * length_factor),
            torch.tensor([v.size for v in views], dtype=torch.float64),
            unit=unit,
        )
        n, C = self.has_view.shape
        self.affine = np.zeros((n, C, 2, 3))
        back = np.zeros((n, C, 2, 3))
        for c, view in enumerate(views):
            has = self.has_view[:, c]
            self.affine[has, c], back[has, c] = view.to_stored, view.to_source
        columns = _seen_columns(tables, lookup, joint_names)
        self.keypoint_names = tuple(columns)
        order = list(columns.values())
        self._xy = apply_affine(back, tables.labels_px(used)[:, :, order])
        self._confidence = tables.visible(used)[:, :, order]
        self._xyz = tables.points[:, order] * length_factor
        self._confidence3d = tables.has_point[:, order].astype(np.float64)
        cornered = self._drop_corners(tables.labels_px(used)[:, :, order])
        self.report: dict[str, Any] = {
            'visible_labels_at_0_0_taken_as_missing': cornered,
            'source_px': {n: v.how for n, v in zip(names, views)},
            'unit': unit,
        }
        self.scales_unknown = tuple(n for n, v in zip(names, views) if not v.scale_known)

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return labels of all samples, source px."""
        seen = Keypoints2d(
            torch.from_numpy(self._xy), torch.from_numpy(self._confidence), self.keypoint_names, self.cameras
        )
        return seen if names is None else seen.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return 3D points of all samples in the session's world; None where there is none."""
        if not self._confidence3d.any():
            return None
        seen = Keypoints3d(
            torch.from_numpy(self._xyz), torch.from_numpy(self._confidence3d), self.keypoint_names, self.unit
        )
        return seen if names is None else seen.select(names)

    def known_params(self, n_joints: int, n_betas: int) -> KnownParams | None:
        """Return the parameters that the file knows; None where it knows none."""
        return self.poses

    def encoded(self, sample: int, camera: int) -> UInt8[np.ndarray, ' n']:
        """Return the bytes of an image, looked through."""
        data, _ = self._images.read(int(self._rows[sample]), int(self._slots[sample, camera]))
        return data

    def decoded(self, sample: int, camera: int) -> UInt8[np.ndarray, 'H W 3']:
        """Decode an image, RGB."""
        return self._images.read(int(self._rows[sample]), int(self._slots[sample, camera]))[1]

    def _source_views(
        self, tables: SampleTables, camera: int, name: str, source_size: Sequence[int] | None
    ) -> Any:
        has = tables.slots[:, camera] >= 0
        sizes = None if tables.sizes is None else tables.sizes[has, camera]
        try:
            return find_source_views(tables.K[has, camera], self.side, sizes, tables.crop_mode, source_size)
        except ValueError as error:
            raise BadFileError(f'{tables.path}: session {self.name}, camera {name}: {error}') from error

    def _rig(self, tables: SampleTables, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        R, t = tables.R[:, used], tables.t[:, used]
        rotation, shift = spread_of_cameras(R, t, self.has_view)
        if rotation > STILL_RAD or shift > STILL_SHARE:
            raise BadFileError(
                f'{tables.path}: cameras of session {self.name} must stand still; they turn by {rotation:.2g} '
                f"rad and move by {100 * shift:.2g} % of the rig's size. Were samples put into worlds of their "
                'own, without '
                'canonical_to_world_R and _t? Make the file anew from the recording.'
            )
        rig = [mean_camera(R[has, c], t[has, c]) for c, has in enumerate(self.has_view.T)]
        return np.stack([r for r, _ in rig]), np.stack([s for _, s in rig])

    def _drop_corners(self, labels: Float[np.ndarray, 'N C K 2']) -> int:
        """Take visible labels at exactly (0, 0) as missing, unless the sample's 3D point is seen there."""
        corner = np.asarray((labels == 0).all(-1) & (self._confidence > 0))
        if not corner.any():
            return 0
        pixels, _, valid = self.cameras.project(torch.from_numpy(self._xyz))
        stored = apply_affine(self.affine, np.where(valid.numpy()[..., None], pixels.numpy(), np.inf))
        near = np.abs(stored).max(-1) < NEAR_CORNER * self.side
        missing = np.where(near & np.asarray(self._confidence3d > 0)[:, None], False, corner)
        self._confidence = np.where(missing, 0.0, self._confidence)
        return int(missing.sum())


def _seen_columns(tables: SampleTables, lookup: dict[str, str], joint_names: Sequence[str]) -> dict[str, int]:
    """Return the keypoints that the session has at all: model keypoint -> column; others were never labelled."""
    seen = (tables.visible(np.arange(tables.slots.shape[1])) > 0).any((0, 1)) | tables.has_point.any(0)
    result = dict(zip(joint_names, np.atleast_1d(seen).tolist()))
    place = {name: j for j, name in enumerate(joint_names)}
    return {model: place[joint] for model, joint in lookup.items() if result[joint]}


class SmilifyImages(StoredSession):
    """Images of one session and camera: a camera of each image's own, guessed, and no telling what was cut off.

    Args:
        name: of the session here.
        tables: the file's.
        rows: which of its images.
        images: gives their bytes.
        lookup: model keypoint -> number of the file's joint.
        focal_px: focal length in stored px; guessed if None.
    """

    unit, fps = None, None

    def __init__(
        self,
        name: str,
        tables: SingleViewTables,
        rows: np.ndarray,
        images: ImageReader,
        lookup: dict[str, int],
        focal_px: float | None = None,
    ) -> None:
        rows = rows[np.argsort(tables.frames[rows], kind='stable')]
        n, side = len(rows), tables.side
        self.name, self.side, self._rows, self._images = name, side, rows, images
        seen = tables.visibility[rows] > 0
        columns = {model: j for model, j in lookup.items() if seen[:, j].any()}
        self.keypoint_names = tuple(columns)
        order = list(columns.values())
        xy, confidence = tables.keypoints[rows][:, order], tables.visibility[rows][:, order]
        corner = (xy == 0).all(-1) & (confidence > 0)
        self._xy, self._confidence = xy[:, None], np.where(corner, 0.0, confidence)[:, None]
        self.report: dict[str, Any] = {
            'visible_labels_at_0_0_taken_as_missing': int(corner.sum()),
            'source_px': {CAMERA: 'unknown'},
        }
        self.scales_unknown = (CAMERA,)
        self.affine, self.has_view = np.tile(np.eye(2, 3), (n, 1, 1, 1)), np.ones((n, 1), np.bool_)
        self.frame_numbers = tables.frames[rows]
        self.confidence_thresholds = {CAMERA: 0.5}
        self._focal_known = focal_px is not None
        focal = FOCAL_PER_SIDE * side if focal_px is None else focal_px
        centre = (side - 1) / 2
        K = torch.tensor([[focal, 0, centre], [0, focal, centre], [0, 0, 1]], dtype=torch.float64)
        self.cameras = Cameras(
            (CAMERA,),
            K.expand(n, 1, 3, 3).contiguous(),
            torch.eye(3, dtype=torch.float64).expand(n, 1, 3, 3).contiguous(),
            torch.zeros(n, 1, 3, dtype=torch.float64),
            torch.full((n, 1, 2), float(side), dtype=torch.float64),
        )
        shown = [tables.labels[i] or f'{tables.path.name}, image {i}' for i in rows]
        self._labels = tuple(f'{label}, frame {frame}' for label, frame in zip(shown, self.frame_numbers))
        self._entries = tuple(f'{tables.path.name}, image {i}' for i in rows)

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return labels, stored px."""
        seen = Keypoints2d(
            torch.from_numpy(self._xy), torch.from_numpy(self._confidence), self.keypoint_names, self.cameras
        )
        return seen if names is None else seen.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> None:
        """Report that there are none."""

    def encoded(self, sample: int, camera: int) -> UInt8[np.ndarray, ' n']:
        """Return the bytes of an image, looked through."""
        return self._images.read(int(self._rows[sample]), 0)[0]

    def decoded(self, sample: int, camera: int) -> UInt8[np.ndarray, 'H W 3']:
        """Decode an image, RGB."""
        return self._images.read(int(self._rows[sample]), 0)[1]

    def plan(
        self, names: Sequence[str], options: PreprocessOptions
    ) -> tuple[SessionPlan, tuple[SkippedAnnotation, ...]]:
        """Keep images with a keypoint of sufficient confidence."""
        seen = self.keypoints2d(tuple(names))
        thresholds = thresholds_of(self, (CAMERA,), options.confidence_threshold)
        confidence = counting_scores(seen.confidence, thresholds)
        below = seen.visible & (confidence == 0)
        usable = (confidence > 0).any(-1).numpy()[:, 0]
        reason = 'an image must have a keypoint that counts; it has none.'
        skipped = tuple(SkippedAnnotation(self._entries[i], reason) for i in np.flatnonzero(~usable))
        chosen = np.flatnonzero(usable)[:: options.frame_skip][: options.max_frames_per_session]
        rows = torch.from_numpy(chosen)
        n, K = len(chosen), len(names)
        counts = {
            'frames': len(usable),
            'frames_stored': n,
            'frames_left_out': len(skipped),
            'frames_skipped': int(usable.sum()) - n,
            'views_stored': n,
            'keypoints_stored': int((confidence[rows] > 0).sum()),
            'keypoints_missing': int((~seen.visible[rows]).sum()),
            'keypoints_below_threshold': int(below[rows].sum()),
            'points3d_stored': 0,
            'cameras': camera_counts((CAMERA,), seen.visible[rows], below[rows], thresholds),
            'pictures_with_guessed_intrinsics': 0 if self._focal_known else n,
        }
        plan = SessionPlan(
            session=self,
            cameras=self.cameras[rows],
            frames=chosen,
            view_mask=np.ones((n, 1), np.bool_),
            names=seen.names,
            keypoints2d=seen.xy[rows].numpy() * (confidence[rows] > 0).numpy()[..., None],
            confidence2d=confidence[rows].numpy(),
            keypoints3d=np.zeros((n, K, 3)),
            confidence3d=np.zeros((n, K)),
            undistorted=True,
            counts=counts,
            numbers=self.frame_numbers[chosen],
            boxes=np.full((n, 1, 4), np.nan),
            images=ImageTable(
                tuple(self._labels[i] for i in chosen),
                np.full(n, self._focal_known),
                # Each was cut elsewhere: one after the other they show no motion.
                False,
                tuple(self._entries[i] for i in chosen),
            ),
            stored=self,
        )
        return plan, skipped
