"""Sessions of a SMILify file as preprocessing takes them: of several cameras, and of single images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from smilfit.datasets.crops import apply_affine
from smilfit.datasets.image_session import CAMERA, FOCAL_PER_SIDE
from smilfit.datasets.session_plan import SessionPlan, camera_counts, counting_scores, thresholds_of
from smilfit.datasets.store.hdf5_handle import Hdf5Handle
from smilfit.datasets.store.known_params import KnownParams
from smilfit.datasets.store.store_layout import ImageTable
from smilfit.datasets.store.stored_images import decode_stored, most_bytes
from smilfit.datasets.store.stored_views import StoredPlan, StoredSession
from smilfit.files import BadFileError
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.smilify.samples import SampleTables, mean_camera, spread_of_cameras
from smilfit.smilify.schema import SingleViewTables
from smilfit.smilify.source_views import SourceViews, find_source_views
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d, SkippedAnnotation


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


class LabelledImages(StoredSession):
    """Labels of all samples and views, and the images that they are of."""

    _xy: Float[np.ndarray, 'N C K 2']
    _confidence: Float[np.ndarray, 'N C K']
    _images: ImageReader
    # Of the samples, in the file, and of their views, each camera's slot of images.
    _rows: Int[np.ndarray, ' N']
    _slots: Int[np.ndarray, 'N C']

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return labels of all samples, px of `cameras`."""
        xy, confidence = torch.from_numpy(self._xy), torch.from_numpy(self._confidence)
        points = Keypoints2d(xy, confidence, self.keypoint_names, self.cameras)
        return points if names is None else points.select(names)

    def encoded(self, sample: int, camera: int) -> UInt8[np.ndarray, ' n']:
        """Return the bytes of an image, looked through."""
        return self._images.read(int(self._rows[sample]), int(self._slots[sample, camera]))[0]

    def decoded(self, sample: int, camera: int) -> UInt8[np.ndarray, 'H W 3']:
        """Decode an image, RGB."""
        return self._images.read(int(self._rows[sample]), int(self._slots[sample, camera]))[1]


class SmilifySession(LabelledImages):
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
        columns = _labelled_columns(tables, lookup, joint_names)
        self.keypoint_names = tuple(columns)
        order = list(columns.values())
        self._xy = apply_affine(back, tables.labels_px(used)[:, :, order])
        self._confidence = tables.visible(used)[:, :, order]
        self._xyz = tables.points[:, order] * length_factor
        self._confidence3d = tables.has_point[:, order].astype(np.float64)
        cornered = self._drop_corners(tables.labels_px(used)[:, :, order])
        self.report = {
            'visible_labels_at_0_0_taken_as_missing': cornered,
            'source_px': {n: v.how for n, v in zip(names, views)},
            'unit': unit,
        }
        self.scales_unknown = tuple(n for n, v in zip(names, views) if not v.scale_known)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return 3D points of all samples in the session's world; None where there is none."""
        if not self._confidence3d.any():
            return None
        visible = Keypoints3d(
            torch.from_numpy(self._xyz), torch.from_numpy(self._confidence3d), self.keypoint_names, self.unit
        )
        return visible if names is None else visible.select(names)

    def known_params(self, n_joints: int, n_betas: int) -> KnownParams | None:
        """Return the parameters that the file knows; None where it knows none."""
        return self.poses

    def _source_views(
        self, tables: SampleTables, camera: int, name: str, source_size: Sequence[int] | None
    ) -> SourceViews:
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


def _labelled_columns(
    tables: SampleTables, lookup: dict[str, str], joint_names: Sequence[str]
) -> dict[str, int]:
    """Return the keypoints that the session has at all: model keypoint -> column; others were never labelled."""
    visible = (tables.visible(np.arange(tables.slots.shape[1])) > 0).any((0, 1)) | tables.has_point.any(0)
    result = dict(zip(joint_names, np.atleast_1d(visible).tolist()))
    place = {name: j for j, name in enumerate(joint_names)}
    return {model: place[joint] for model, joint in lookup.items() if result[joint]}


class SmilifyImages(LabelledImages):
    """Images of one session and camera: a camera of each image's own, guessed, and no telling what was cut off.

    Args:
        name: of the session here.
        tables: the file's.
        rows: which of its images.
        images: gives their bytes.
        lookup: model keypoint -> number of the file's joint.
        focal_px: focal length in stored px; guessed if None.
    """

    unit: str | None = None
    fps: float | None = None

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
        visible = tables.visibility[rows] > 0
        columns = {model: j for model, j in lookup.items() if visible[:, j].any()}
        self.keypoint_names = tuple(columns)
        order = list(columns.values())
        xy, confidence = tables.keypoints[rows][:, order], tables.visibility[rows][:, order]
        corner = (xy == 0).all(-1) & (confidence > 0)
        self._xy, self._confidence = xy[:, None], np.where(corner, 0.0, confidence)[:, None]
        self.report = {
            'visible_labels_at_0_0_taken_as_missing': int(corner.sum()),
            'source_px': {CAMERA: 'unknown'},
        }
        self.scales_unknown = (CAMERA,)
        self._slots = np.zeros((n, 1), np.int64)
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

    def keypoints3d(self, names: Sequence[str] | None = None) -> None:
        """Return None: single images know no points in space."""

    def plan(
        self, names: Sequence[str], options: PreprocessOptions
    ) -> tuple[SessionPlan, tuple[SkippedAnnotation, ...]]:
        """Keep images with a keypoint of sufficient confidence."""
        visible = self.keypoints2d(tuple(names))
        thresholds = thresholds_of(self, (CAMERA,), options.confidence_threshold)
        confidence = counting_scores(visible.confidence, thresholds)
        below = visible.visible & (confidence == 0)
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
            'keypoints_missing': int((~visible.visible[rows]).sum()),
            'keypoints_below_threshold': int(below[rows].sum()),
            'points3d_stored': 0,
            'cameras': camera_counts((CAMERA,), visible.visible[rows], below[rows], thresholds),
            'pictures_with_guessed_intrinsics': 0 if self._focal_known else n,
        }
        plan = StoredPlan(
            session=self,
            cameras=self.cameras[rows],
            frames=chosen,
            view_mask=np.ones((n, 1), np.bool_),
            names=visible.names,
            keypoints2d=visible.xy[rows].numpy() * (confidence[rows] > 0).numpy()[..., None],
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
        )
        return plan, skipped
