"""Read a dataset file: read-only, and with a handle of its own in every worker process."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from smilfit.body_models import BodyModelData
from smilfit.datasets.crops import apply_affine, decode_picture, invert_affine
from smilfit.datasets.store_layout import FORMAT, FORMAT_VERSION, PARAM_NAMES, SampleRecord
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d


class Hdf5Handle:
    """Open an HDF5 file when it is first read, anew in each process, read-only.

    A handle that was opened before a fork must not be read after it; pickling leaves it behind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {'path': self.path, '_file': None, '_pid': -1}

    def __call__(self) -> h5py.File:
        """Give this process's handle."""
        if self._file is None or self._pid != os.getpid():
            self._file, self._pid = open_hdf5(self.path), os.getpid()
        return self._file

    def close(self) -> None:
        """Close this process's handle; the next read opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def read(self, name: str, selection: Any = ()) -> Any:
        """Read part of a dataset: an array, or one number.

        Raises:
            OSError: data that fail their checksum or are not there.
        """
        try:
            return self()[name][selection]
        except (OSError, RuntimeError) as error:
            raise OSError(
                f'{self.path}: {name} must pass its checksum; it does not ({error}). '
                'The file is damaged: copy it again or make it anew.'
            ) from error


def open_hdf5(path: str | Path) -> h5py.File:
    """Open a file read-only.

    Raises:
        FileNotFoundError: no such file; says so if a partial one is there.
        ValueError: not HDF5, or cut short.
    """
    path = Path(path)
    if not path.is_file():
        partial = path.with_name(path.name + '.partial')
        hint = f' {partial.name} is unfinished: run preprocessing again.' if partial.exists() else ''
        raise FileNotFoundError(f'{path}: the dataset must exist; there is no such file.{hint}')
    try:
        return h5py.File(path, 'r')
    except OSError as error:
        raise ValueError(
            f'{path}: a dataset must be a whole HDF5 file; it does not open ({error}). '
            'Was it cut short while copying, or is it a file of another kind?'
        ) from error


class DatasetFile:
    """A dataset file of this project, as `store_layout` describes it.

    Cameras and keypoints of a session come in px of the original pictures, undistorted where the stored ones
    are; `record` gives one sample as it was stored.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, cut short, unfinished, or of a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._handle = Hdf5Handle(path)
        with open_hdf5(path) as file:
            attrs = _check_header(self.path, file.attrs)
            self._sessions = [_read_session(group) for group in file['sessions'].values()]
        self.body_model_file = _beside(self.path, str(attrs['body_model_file']))
        self.body_model_hash = str(attrs['body_model_hash'])
        self.keypoint_names: tuple[str, ...] = tuple(json.loads(attrs['keypoint_names']))
        self.joint_names: tuple[str, ...] = tuple(json.loads(attrs['joint_names']))
        self.camera_names: tuple[str, ...] = tuple(json.loads(attrs['camera_names']))
        self.n_betas = int(attrs['n_betas'])
        self.crop_mode = str(attrs['crop_mode'])
        self.target_resolution = int(attrs['target_resolution'])
        self.undistorted = bool(attrs['undistorted'])
        self.confidence_threshold = float(attrs['confidence_threshold'])
        self.fingerprint = str(attrs['fingerprint'])
        self.options: dict[str, Any] = json.loads(attrs['options'])
        self.report: dict[str, Any] = json.loads(attrs['report'])
        self.n_samples = int(attrs['n_complete'])
        self.session_names: tuple[str, ...] = tuple(session['name'] for session in self._sessions)
        self._rigs = [_union_cameras(session['cameras'], self.camera_names) for session in self._sessions]
        self.session_of: np.ndarray = self._handle.read('samples/session')
        self.frame_of: np.ndarray = self._handle.read('samples/frame')
        self.view_mask_of: np.ndarray = self._handle.read('samples/view_mask')
        self._handle.close()

    def __len__(self) -> int:
        return self.n_samples

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._handle.close()

    @property
    def unit(self) -> str | None:
        """World unit of all sessions; None where unknown."""
        units = {session['unit'] for session in self._sessions}
        return units.pop() if len(units) == 1 else None

    def fps(self, session: str | SupportsIndex) -> float | None:
        """Give a session's frames per second; None where unknown."""
        return self._sessions[self.session_index(session)]['fps']

    def source(self, session: str | SupportsIndex) -> str:
        """Say where a session came from, such as its folder; it may be gone."""
        return self._sessions[self.session_index(session)]['source']

    def session_index(self, session: str | SupportsIndex) -> int:
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

    def samples(self, session: str | SupportsIndex) -> Int[np.ndarray, 'n']:
        """Give the numbers of a session's samples, in the order of time."""
        return np.flatnonzero(self.session_of == self.session_index(session))

    def frame_indices(self, session: str | SupportsIndex) -> Int[np.ndarray, 'n']:
        """Give the frame numbers of a session's samples."""
        return self.frame_of[self.samples(session)]

    def cameras(self, session: str | SupportsIndex) -> Cameras:
        """Give a session's own cameras, float64, original px; ideal where the pictures were undistorted."""
        cameras = self._sessions[self.session_index(session)]['cameras']
        return cameras.ideal() if self.undistorted else cameras

    def keypoints2d(self, session: str | SupportsIndex, names: Sequence[str] | None = None) -> Keypoints2d:
        """Give a session's stored keypoints in original px (undistorted where the pictures were).

        Raises:
            KeyError: an unknown keypoint, with the near ones.
        """
        samples, cameras = self.samples(session), self.cameras(session)
        views = [self.camera_names.index(name) for name in cameras.names]
        mask = self._rows('samples/view_mask', samples)[:, views]
        affine = self._rows('samples/affine', samples)[:, views]
        affine[~mask] = np.eye(2, 3)
        xy = apply_affine(invert_affine(affine), self._rows('samples/keypoints2d', samples)[:, views])
        confidence = self._rows('samples/confidence2d', samples)[:, views].astype(np.float64)
        seen = Keypoints2d(
            xy=torch.from_numpy(xy),
            confidence=torch.from_numpy(confidence * mask[..., None]),
            names=self.keypoint_names,
            cameras=cameras,
        )
        return seen if names is None else seen.select(names)

    def keypoints3d(
        self, session: str | SupportsIndex, names: Sequence[str] | None = None
    ) -> Keypoints3d | None:
        """Give a session's 3D keypoints; None where it has none at all."""
        samples = self.samples(session)
        confidence = self._rows('samples/confidence3d', samples).astype(np.float64)
        if not confidence.any():
            return None
        seen = Keypoints3d(
            xyz=torch.from_numpy(self._rows('samples/keypoints3d', samples)),
            confidence=torch.from_numpy(confidence),
            names=self.keypoint_names,
            unit=self._sessions[self.session_index(session)]['unit'],
        )
        return seen if names is None else seen.select(names)

    def true_params(self, session: str | SupportsIndex) -> BodyParams | None:
        """Give the true parameters of a session's samples; None where one of them is unknown."""
        samples = self.samples(session)
        if 'params' not in self._handle() or not self._rows('params/known', samples).all():
            return None
        values = {name: self._param_rows(name, samples) for name in PARAM_NAMES}
        return BodyParams(**{name: torch.from_numpy(value) for name, value in values.items()})

    def known_betas(self, session: str | SupportsIndex) -> Float[np.ndarray, 'S'] | None:
        """Give a session's shape where it was measured; None where not."""
        return self._sessions[self.session_index(session)]['betas']

    def record(self, sample: SupportsIndex) -> SampleRecord:
        """Read one sample without its pictures."""
        read = self._handle.read
        i = int(sample)
        session, mask = int(self.session_of[i]), read('samples/view_mask', i)
        rig, affine = self._rigs[session], read('samples/affine', i)
        affine[~mask] = np.eye(2, 3)
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
            keypoints2d=read('samples/keypoints2d', i),
            confidence2d=read('samples/confidence2d', i),
            keypoints3d=read('samples/keypoints3d', i),
            confidence3d=read('samples/confidence3d', i),
            params=self._params(i),
            betas=self._sessions[session]['betas'],
        )

    def image(self, sample: SupportsIndex, camera: str | SupportsIndex) -> UInt8[np.ndarray, 'H W 3']:
        """Decode one stored picture, RGB.

        Raises:
            KeyError: an unknown camera, or one without a picture in this sample.
        """
        return decode_picture(self.picture_bytes(sample, camera), f'{self.path}: sample {sample}')

    def mask(self, sample: SupportsIndex, camera: str | SupportsIndex) -> UInt8[np.ndarray, 'H W'] | None:
        """Decode one stored silhouette, 0 or 255; None where the file has none of it."""
        if 'mask' not in self._handle()['images']:
            return None
        data = self.picture_bytes(sample, camera, 'mask', 'mask')
        return decode_picture(data, f'{self.path}: mask of sample {sample}', grey=True) if len(data) else None

    def picture_bytes(
        self, sample: SupportsIndex, camera: str | SupportsIndex, kind: str = 'image', name: str = 'jpeg'
    ) -> UInt8[np.ndarray, 'n']:
        """Read one stored picture as it is encoded."""
        c = self._camera_index(camera)
        start = int(self._handle.read(f'samples/{kind}_start', (int(sample), c)))
        length = int(self._handle.read(f'samples/{kind}_length', (int(sample), c)))
        if length == 0 and kind == 'image':
            raise UnknownNameError(
                f'{self.path}: sample {sample} has no picture of camera {self.camera_names[c]!r}.'
            )
        return self._handle.read(f'images/{name}', slice(start, start + length))

    def check_body_model(self, data: BodyModelData) -> None:
        """Check that a body model is the one that this file was made with.

        Raises:
            ValueError: another one.
        """
        found = data.content_hash()
        if found != self.body_model_hash:
            raise ValueError(
                f'{self.path}: the body model must be the one of the dataset, {self.body_model_file} '
                f'(hash {self.body_model_hash}); got {data.name} (hash {found}). '
                'Give that model, or preprocess with this one.'
            )

    def _camera_index(self, camera: str | SupportsIndex) -> int:
        if isinstance(camera, str):
            if camera not in self.camera_names:
                raise UnknownNameError(
                    f'{self.path}: no camera {camera!r}. {did_you_mean(camera, self.camera_names)}'
                )
            return self.camera_names.index(camera)
        return int(camera)

    def _rows(self, name: str, samples: np.ndarray) -> np.ndarray:
        # A session's samples lie together: one slice reads each chunk once.
        if len(samples) == 0:
            return self._handle.read(name, slice(0, 0))
        return self._handle.read(name, slice(int(samples[0]), int(samples[-1]) + 1))

    def _param_rows(self, name: str, samples: np.ndarray) -> np.ndarray:
        if name in self._handle()['params']:
            return self._rows(f'params/{name}', samples)
        return np.zeros((len(samples), 0, 3) if name == 'body_pose' else (len(samples), 0))

    def _params(self, i: int) -> Mapping[str, np.ndarray] | None:
        if 'params' not in self._handle() or not self._handle.read('params/known', i):
            return None
        return {name: self._param_rows(name, np.array([i]))[0] for name in PARAM_NAMES}


def _check_header(path: Path, attrs: Any) -> dict[str, Any]:
    attrs = dict(attrs)
    if attrs.get('format') != FORMAT:
        raise ValueError(
            f'{path}: a dataset must state format {FORMAT!r}; got {attrs.get("format")!r}. '
            'Make one with tools/preprocess.py.'
        )
    if int(attrs['version']) > FORMAT_VERSION:
        raise ValueError(
            f'{path}: version must be at most {FORMAT_VERSION}; got {int(attrs["version"])}. Update smilfit.'
        )
    if not attrs['complete']:
        raise ValueError(
            f'{path}: a dataset must be complete; this one is unfinished. Run preprocessing again.'
        )
    return attrs


def _beside(path: Path, name: str) -> str:
    """Find a file that is named relative to the dataset, so that both can move together."""
    candidate = path.parent / name
    return str(candidate) if name and candidate.is_file() else name


def _read_session(group: h5py.Group) -> dict[str, Any]:
    unit, fps = str(group.attrs['unit']) or None, float(group.attrs['fps'])
    cameras = Cameras(
        names=tuple(json.loads(group.attrs['camera_names'])),
        **{name: torch.from_numpy(group[name][()]) for name in ('K', 'R', 't', 'dist', 'size')},
        unit=unit,
    )
    return {
        'name': str(group.attrs['name']),
        'unit': unit,
        'fps': None if np.isnan(fps) else fps,
        'source': str(group.attrs['source']),
        'cameras': cameras,
        'betas': group['betas'][()] if 'betas' in group else None,
    }


def _union_cameras(cameras: Cameras, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Spread a session's cameras over the file's union; cameras it lacks are zeros."""
    n = len(names)
    rig = {k: np.zeros((n, *s)) for k, s in (('K', (3, 3)), ('R', (3, 3)), ('t', (3,)), ('dist', (5,)))}
    for i, name in enumerate(cameras.names):
        for key, value in rig.items():
            source = getattr(cameras, key)
            if source is not None:
                value[names.index(name)] = source[i].numpy()
    return rig
