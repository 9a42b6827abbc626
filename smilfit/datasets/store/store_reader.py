"""Read a dataset file: read-only, and with a handle of its own in every worker process."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets.crops import apply_affine, invert_affine
from smilfit.datasets.store.hdf5_handle import Hdf5Handle, open_hdf5
from smilfit.datasets.store.store_layout import SampleRecord
from smilfit.datasets.store.store_schema import (
    WHAT,
    check_names_of_sessions,
    read_facts,
    read_index,
    session_groups,
)
from smilfit.datasets.store.stored_images import decode_stored
from smilfit.datasets.store.stored_samples import StoredSamples
from smilfit.datasets.store.stored_session import RecordingData, read_session, session_data
from smilfit.datasets.store.table_checks import refuse
from smilfit.files import BadFileError, reading
from smilfit.files.hdf5 import check_hdf5
from smilfit.handlers import MissingObservationError
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.registry.wings import wing_module
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d, SessionKey
from smilfit.structures.body import by_blocks

# So many folders of a session's path are looked for beside the file.
_MOST_PARTS = 20


class DatasetFile:
    """A dataset file of this project, as `store_layout` describes it.

    Cameras and keypoints of a session come in px of the original images, undistorted where the stored ones
    are; `stored_cameras`, `masks` and `record` are in px of the stored crops.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: not such a file, cut short, unfinished, of a newer version, or holding what breaks a rule.
        OSError: data that fail their checksum.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._handle = Hdf5Handle(path)
        with open_hdf5(path) as file, reading(self.path, WHAT):
            facts = read_facts(file, self.path)
            groups = session_groups(file, self.path)
            index = read_index(file, facts, len(groups), self.path)
            counts = np.bincount(index.session, minlength=len(groups))
            headers = [
                read_session(group, facts, int(count), self.path) for group, count in zip(groups, counts)
            ]
        self._samples = StoredSamples(self._handle, facts)
        self.keypoint_names, self.joint_names = facts.keypoint_names, facts.joint_names
        self.camera_names = facts.camera_names
        # Where it was; `find_model` finds it wherever it is now.
        self.body_model_file, self.body_model = _beside(self.path, facts.body_model_file), facts.body_model
        self.body_model_hash, self.fingerprint = facts.body_model_hash, facts.fingerprint
        self.n_betas, self.n_samples = facts.n_betas, facts.n_samples
        self.crop_mode, self.target_resolution = facts.crop_mode, facts.target_resolution
        self.undistorted, self.confidence_threshold = facts.undistorted, facts.confidence_threshold
        self.options, self.report, self.faults = facts.options, facts.report, facts.faults
        self.has_masks = facts.has_masks
        self.n_centres, self.landmarks = facts.n_centres, facts.landmarks
        # A session's samples lie together.
        ends = np.searchsorted(index.session, np.arange(len(headers) + 1)).tolist()
        rows = [slice(first, end) for first, end in zip(ends, ends[1:])]
        self._sessions = [session_data(self, *of) for of in zip(headers, rows)]
        self.session_names: tuple[str, ...] = tuple(header.name for header in headers)
        check_names_of_sessions(self.session_names, self.path)
        self.session_of, self.frame_of, self.view_mask_of = index.session, index.frame, index.view_mask
        self._check_frames()
        with_images = np.array([header.has_images for header in headers])
        self._samples.check_images(self.view_mask_of & with_images[self.session_of][:, None])
        self._handle.close()

    def __len__(self) -> int:
        return self.n_samples

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._handle.close()

    @property
    def unit(self) -> str | None:
        """World unit of all sessions; None where unknown."""
        units = {session.header.unit for session in self._sessions}
        return units.pop() if len(units) == 1 else None

    def fps(self, session: SessionKey) -> float | None:
        """Return a session's frames per second; None where unknown."""
        return self.session(session).header.fps

    def source(self, session: SessionKey) -> str:
        """Return where a session came from, such as its folder: as it was, or moved with this file; it may be
        gone."""
        places = self.source_places(session)
        return next((place for place in places if _exists(place)), places[0] if places else '')

    def source_places(self, session: SessionKey) -> tuple[str, ...]:
        """Return where a session is looked for: where it was, from this file's folder as it was, or beside the
        file."""
        header = self.session(session).header
        if not header.source:
            return ()
        relative = header.recording.get('relative')
        from_here = (
            [os.path.normpath(self.path.parent.absolute() / relative)] if isinstance(relative, str) else []
        )
        return tuple(dict.fromkeys([header.source, *from_here, *_below(self.path, header.source)]))

    def recording(self, session: SessionKey) -> dict[str, Any]:
        """Return how a session is opened again: `kind` in `SESSIONS` and `arguments`; {} in files without it."""
        return dict(self.session(session).header.recording)

    def session_index(self, session: SessionKey) -> int:
        """Find a session by name (or number).

        Raises:
            KeyError: an unknown one, with the near names.
        """
        if not isinstance(session, str) and 0 <= int(session) < len(self.session_names):
            return int(session)
        if session not in self.session_names:
            raise UnknownNameError(
                f'{self.path}: no session {session!r}. {did_you_mean(str(session), self.session_names)}'
            )
        return self.session_names.index(session)

    def samples(self, session: SessionKey) -> Int[np.ndarray, ' n']:
        """Return the numbers of a session's samples, in the order of time."""
        rows = self.session(session).rows
        return np.arange(rows.start, rows.stop)

    def frame_indices(self, session: SessionKey) -> Int[np.ndarray, ' n']:
        """Return the frame numbers of a session's samples."""
        return self.frame_of[self.samples(session)]

    def session(self, session: SessionKey) -> RecordingData:
        """Return a session, which answers by its kind: a recording, images with cameras of their own, or points."""
        return self._sessions[self.session_index(session)]

    def labels(self, session: SessionKey) -> tuple[str, ...]:
        """Name the images of a session's samples: file and entry where they were annotated one by one."""
        return self.session(session).labels()

    def entries(self, session: SessionKey) -> tuple[str, ...]:
        """Name the annotation of each of a session's samples, by file and number; `''` where that is not known."""
        return self.session(session).entries()

    def temporal(self, session: SessionKey) -> bool:
        """Check whether a session's samples follow one another in time."""
        return self.session(session).temporal

    def intrinsics_known(self, session: SessionKey) -> Bool[np.ndarray, ' n']:
        """Report on which of a session's samples the intrinsics were known; of the others K is a guess."""
        return self.session(session).intrinsics_known()

    def has_images(self, session: SessionKey) -> bool:
        """Check whether a session has images: one of points in space has none."""
        return self.session(session).kind != 'points'

    def has_cameras(self, session: SessionKey) -> bool:
        """Check whether a session's cameras are known: of points in space they need not be."""
        return self.session(session).cameras is not None

    def has_own_cameras(self, session: SessionKey) -> bool:
        """Check whether each sample of a session has cameras of its own, as sets of images have."""
        return self.session(session).kind == 'images'

    def require_images(self, what: str) -> None:
        """Check that all sessions have images.

        Raises:
            ValueError: one has none; `what` asks for them.
        """
        without = [session.name for session in self._sessions if session.kind == 'points']
        if without:
            raise ValueError(
                f'{self.path}: {what} needs images; session {without[0]} is of points in space and has none (made by '
                'preprocess points3d). Fit it with tools/fit.py configs/fit/points3d_lm.py, or preprocess the '
                'recording with its videos.'
            )

    def cameras(self, session: SessionKey) -> Cameras:
        """Return a session's own cameras, float64, original px; ideal where the images were undistorted.

        Where samples have cameras of their own, with a leading dimension: one row a sample.

        Raises:
            ValueError: a session of points in space, whose cameras are not known.
        """
        cameras = self.annotated_cameras(session)
        return cameras.ideal() if self.undistorted else cameras

    def stored_cameras(self, session: SessionKey) -> Cameras:
        """Return the cameras of a session's stored crops (n, C, ...), float64; a view without image is not cut."""
        cameras = self.cameras(session)
        affine = torch.from_numpy(self._affine(session, cameras.names))
        size = cameras.size.new_tensor([self.target_resolution] * 2).expand(1, len(cameras), 2)
        return cameras.transformed(affine, size)

    def keypoints2d(
        self, session: SessionKey, names: Sequence[str] | None = None, stored: bool = False
    ) -> Keypoints2d:
        """Return a session's keypoints in original px (undistorted where the images were), cameras attached.

        With `stored`, in px of the stored crops, with their cameras.

        Raises:
            KeyError: an unknown keypoint, with the near ones.
        """
        rows = self.session(session).rows
        cameras = self.stored_cameras(session) if stored else self.cameras(session)
        views = self._views(cameras.names)
        xy, confidence = (values[:, views] for values in self._samples.points(2, rows))
        if not stored:
            xy = apply_affine(invert_affine(self._affine(session, cameras.names)), xy)
        mask = self.view_mask_of[rows][:, views]
        observed = Keypoints2d(
            xy=torch.from_numpy(xy),
            confidence=torch.from_numpy(confidence.astype(np.float64) * mask[..., None]),
            names=self.keypoint_names,
            cameras=cameras,
        )
        if self.session(session).rig is not None and not stored:
            observed = observed.judged(self.session(session).camera_report(observed))
        return observed if names is None else observed.select(names)

    def annotated_cameras(self, session: SessionKey) -> Cameras:
        """Return a session's cameras, float64, of the images that were annotated, with their lenses.

        Raises:
            ValueError: a session of points in space, whose cameras are not known.
        """
        header = self.session(session).header
        if not len(header.cameras):
            raise MissingObservationError(
                f'{self.path}: session {header.name} must have cameras; it is of points in space, and has none. Fit '
                'it to its 3D keypoints (configs/fit/points3d_lm.py), or give --calibration to preprocess points3d.'
            )
        return header.cameras

    def annotated2d(self, session: SessionKey) -> Keypoints2d:
        """Return a session's keypoints in px of the images that were annotated, with their cameras and lenses."""
        observed, lenses = self.keypoints2d(session), self.annotated_cameras(session)
        if not self.undistorted or lenses.dist is None:
            return observed
        bent = replace(observed, cameras=lenses)
        xy = by_blocks(observed.batch_size, lambda rows: bent[rows].rig.distort(observed.xy[rows]))
        return replace(bent, xy=xy).judged(observed.camera_report)

    def masks(self, session: SessionKey) -> tuple[UInt8[np.ndarray, 'n C H W'], Float[np.ndarray, 'n C']]:
        """Return a session's stored silhouettes (0 or 255), and 1 where there is one, else 0 and an empty one."""
        samples, views = self.samples(session), self._views(self.session(session).header.cameras.names)
        side = self.target_resolution
        masks = np.zeros((len(samples), len(views), side, side), np.uint8)
        weight = np.zeros(masks.shape[:2])
        for i, sample in enumerate(samples):
            for c, view in enumerate(views):
                result = self.mask(sample, view)
                if result is not None:
                    masks[i, c], weight[i, c] = result, 1.0
        return masks, weight

    def keypoints3d(self, session: SessionKey, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return a session's 3D keypoints; None where it has none at all."""
        xyz, confidence = self._samples.points(3, self.session(session).rows)
        if not confidence.any():
            return None
        observed = Keypoints3d(
            xyz=torch.from_numpy(xyz),
            confidence=torch.from_numpy(confidence.astype(np.float64)),
            names=self.keypoint_names,
            unit=self.session(session).header.unit,
        )
        return observed if names is None else observed.select(names)

    def true_params(self, session: SessionKey) -> BodyParams | None:
        """Return the true parameters of a session's samples; None where one of them is unknown."""
        values = self._samples.params(self.session(session).rows)
        if values is None:
            return None
        return BodyParams.of({name: torch.from_numpy(value) for name, value in values.items()})

    def known_betas(self, session: SessionKey) -> Float[np.ndarray, 'S'] | None:
        """Return a session's shape where it was measured; None where not."""
        return self.session(session).header.betas

    def record(self, sample: SupportsIndex) -> SampleRecord:
        """Read one sample without its images."""
        i = self._sample_index(sample)
        session, mask = int(self.session_of[i]), self.view_mask_of[i].copy()
        rig = self._sessions[session].spread_cameras(i - self._sessions[session].rows.start)
        affine = self._samples.affine(i, mask)
        points2d, points3d = self._samples.points(2, i), self._samples.points(3, i)
        present = mask[:, None, None]
        homogeneous = np.concatenate((affine, np.tile([[[0.0, 0.0, 1.0]]], (len(mask), 1, 1))), 1)
        return SampleRecord(
            session=session,
            frame=int(self.frame_of[i]),
            view_mask=mask,
            K=homogeneous @ rig['K'] * present,
            R=rig['R'] * present,
            t=rig['t'] * mask[:, None],
            dist=np.zeros_like(rig['dist']) if self.undistorted else rig['dist'] * mask[:, None],
            size=np.full((len(mask), 2), float(self.target_resolution)) * mask[:, None],
            to_original=invert_affine(affine) * present,
            keypoints2d=points2d[0],
            confidence2d=points2d[1],
            keypoints3d=points3d[0],
            confidence3d=points3d[1],
            params=self._samples.params(i),
            betas=self._sessions[session].header.betas,
            centres=self._samples.centres(i),
        )

    def image(self, sample: SupportsIndex, camera: str | SupportsIndex) -> UInt8[np.ndarray, 'H W 3']:
        """Decode one stored image, RGB.

        Raises:
            KeyError: an unknown camera, or one without an image in this sample.
            IndexError: no such sample.
            BadFileError: bytes that are no image, or one of another size than the file states.
        """
        data, what = self.image_bytes(sample, camera), f'the image of sample {sample}'
        return decode_stored(data, self.path, what, self.target_resolution)

    def mask(self, sample: SupportsIndex, camera: str | SupportsIndex) -> UInt8[np.ndarray, 'H W'] | None:
        """Decode one stored silhouette, 0 or 255; None where the file has none of it."""
        if not self.has_masks:
            return None
        data, what = self.image_bytes(sample, camera, 'mask'), f'the mask of sample {sample}'
        return decode_stored(data, self.path, what, self.target_resolution, grey=True) if len(data) else None

    def image_bytes(
        self, sample: SupportsIndex, camera: str | SupportsIndex, kind: str = 'image'
    ) -> UInt8[np.ndarray, ' n']:
        """Read one stored image as it is encoded."""
        i, c = self._sample_index(sample), self._camera_index(camera)
        data = self._samples.image_bytes(i, c, kind)
        if len(data) == 0 and kind == 'image':
            raise UnknownNameError(
                f'{self.path}: sample {i} has no image of camera {self.camera_names[c]!r}.'
            )
        return data

    def check_body_model(self, data: BodyModelData) -> None:
        """Check that a body model is the one that this file was made with, landmarks aside.

        Raises:
            ValueError: another one.
        """
        result = data.hash_without_landmarks()
        if result != self.body_model_hash:
            raise ValueError(
                f'{self.path}: the body model must be the one of the dataset, {self.body_model_file} '
                f'(hash {self.body_model_hash}); got {data.name} (hash {result}). '
                'Give that model, or preprocess with this one.'
            )

    def check_other_body_model(self, data: BodyModelData) -> None:
        """Check that another body model than this file's can take its place: it knows all that is labelled.

        Landmarks go over where their joints are there by name; their offsets are fitted anew.

        Raises:
            ValueError: a keypoint that it lacks, or what holds of this file's own model alone.
        """
        if data.hash_without_landmarks() == self.body_model_hash:
            return
        joints = set(data.joint_names)
        carried = {
            name
            for name, mark in self.landmarks.items()
            if isinstance(mark.anchor, str) and {mark.anchor, mark.bone} <= joints
        }
        known = (set(keypoint_definitions(data)) - set(self.landmarks)) | carried
        lacking = [name for name in self.keypoint_names if name not in known]
        where = f"{self.path}: another body model than the dataset's own, {self.body_model_file}, must"
        advice = 'Give that model, or preprocess with this one.'
        if lacking:
            raise ValueError(
                f'{where} have its keypoints; {data.name} has no {", ".join(map(repr, lacking[:5]))}. '
                f'{did_you_mean(lacking[0], known)} {advice}'
            )
        sessions = range(len(self.session_names))
        if any(self.known_betas(s) is not None or self.true_params(s) is not None for s in sessions):
            raise ValueError(
                f'{where} not meet parameters or shapes of that one; the file holds some. {advice}'
            )

    def _check_frames(self) -> None:
        """Refuse a session that has a frame twice: what is smooth in time would tie a moment to itself."""
        for session in self._sessions:
            frames = self.frame_of[session.rows]
            result, counts = np.unique(frames, return_counts=True)
            if len(result) < len(frames):
                twice = int(result[counts > 1][0])
                refuse(
                    self.path,
                    f'samples/frame of session {session.name}',
                    'number every sample differently',
                    f'{twice} {int(counts.max())} times',
                )

    def _views(self, names: Sequence[str]) -> list[int]:
        return [self.camera_names.index(name) for name in names]

    def _affine(self, session: SessionKey, names: Sequence[str]) -> Float[np.ndarray, 'n c 2 3']:
        """Return the maps from original to stored px; where there is no image, the identity."""
        rows, views = self.session(session).rows, self._views(names)
        return self._samples.affine(rows, self.view_mask_of[rows])[:, views]

    def _sample_index(self, sample: SupportsIndex) -> int:
        i = int(sample)
        if not 0 <= i < self.n_samples:
            raise IndexError(f'{self.path}: samples go from 0 to {self.n_samples - 1}; got {i}.')
        return i

    def _camera_index(self, camera: str | SupportsIndex) -> int:
        if isinstance(camera, str):
            if camera not in self.camera_names:
                raise UnknownNameError(
                    f'{self.path}: no camera {camera!r}. {did_you_mean(camera, self.camera_names)}'
                )
            return self.camera_names.index(camera)
        return int(camera)


def open_dataset(path: str | Path) -> DatasetFile:
    """Open a dataset file of this project.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one of SMILify's (the message has the command that imports it), cut short, unfinished, of a newer
            version, or anything in it that breaks a rule; the message names the file.
    """
    with open_hdf5(path) as file:
        # Before anything is asked of the file: a link may lead to another one.
        check_hdf5(file, path, 'a dataset')
        schema = wing_module('smilfit.smilify.schema')
        foreign = schema is not None and schema.is_smilify(file, path)
    if foreign:
        raise BadFileError(
            f"{path}: a dataset must be a file of this project; it is one of SMILify's. Import it once: "
            f'tools/preprocess.py smilify {path} {Path(path).stem}_smilfit.h5 --body-model FILE (the model that it '
            'was made with).'
        )
    return DatasetFile(path)


def _beside(path: Path, name: str) -> str:
    """Find a file that is named relative to the dataset, so that both can move together.

    The name may lead anywhere: a body model is read, never written, and by readers that run nothing of a file.
    """
    candidate = path.parent / name
    try:
        return os.path.abspath(candidate) if name and candidate.is_file() else name
    except (OSError, ValueError):
        # Too long for a path, or with a byte that none has; whoever opens it reports it.
        return name


def _below(path: Path, name: str) -> list[str]:
    """Return the places below the dataset's folder that a path's last parts lead to, the longest ends first."""
    parts = [part for part in Path(name).parts if part != '..'][-_MOST_PARTS:]
    anchor = Path(name).anchor
    return [str(path.parent.joinpath(*parts[i:])) for i in range(len(parts)) if parts[i] != anchor]


def _exists(place: str) -> bool:
    try:
        return Path(place).exists()
    except (OSError, ValueError):
        return False
