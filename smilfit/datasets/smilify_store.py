"""Read SMILify's multi-view HDF5 files into the same samples as our own.

Their layout (`multiview_images/image_jpeg_view_{v}`, `multiview_keypoints/*`, `parameters/*`, `auxiliary/*`,
`metadata`): keypoints are (y / H, x / W) of the stored image; slots of views are dense and
`camera_indices` says which camera a slot is; a missing 3D point is exactly (0, 0, 0). The file names neither its
joints nor its unit, and the crop of an image is not stored. So the caller gives the joints' names, and
"original" px are those of the stored image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import SupportsIndex

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from smilfit.body_models import BodyModelData, Landmark
from smilfit.datasets.hdf5_handle import Hdf5Handle, open_hdf5
from smilfit.datasets.smilify_schema import KEYPOINTS, PARAMETERS, WHAT, read_smilify_facts
from smilfit.datasets.store_layout import SampleRecord
from smilfit.datasets.stored_images import decode_stored
from smilfit.datasets.stored_values import check_finite
from smilfit.files import reading
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d


def is_smilify(file: h5py.File, path: str | Path = '') -> bool:
    """Say whether an open HDF5 file is a SMILify multi-view dataset."""
    with reading(path or file.filename, 'metadata'):
        stated = file['metadata'].attrs.get('is_multiview', False) if 'metadata' in file else False
    return isinstance(stated, (bool, np.bool_, int, np.integer)) and bool(stated) and KEYPOINTS in file


class SmilifyFile:
    """A SMILify multi-view file, with the interface of `DatasetFile`.

    Args:
        path: the file.
        joint_names: names of its J joints in the model's order; their files state none.
        world_scale: what lengths (t, 3D keypoints, translations) are multiplied with. Where None, the file's
            `world_scale` if it states one, else 1. SMILify itself guesses 0.001 from large numbers.
        unit: world unit after the scaling.

    Raises:
        BadFileError: something in the file that breaks a rule; identity matrices in place of cameras.
        ValueError: joints that are not as many as the file's.
    """

    has_masks = False

    def __init__(
        self,
        path: str | Path,
        joint_names: Sequence[str] | None = None,
        world_scale: float | None = None,
        unit: str | None = None,
    ) -> None:
        self.path, self.unit = Path(path), unit
        self._handle = Hdf5Handle(path)
        with open_hdf5(path) as file, reading(self.path, WHAT):
            facts = read_smilify_facts(file, self.path)
        if joint_names is None or len(joint_names) != facts.n_joints:
            raise ValueError(
                f'{path}: joint_names must be the {facts.n_joints} joints of the model that the file was made with, '
                f'in its order; got {None if joint_names is None else len(joint_names)}. The file does not state '
                'them: give those of the body model.'
            )
        self.joint_names = self.keypoint_names = tuple(joint_names)
        self.camera_names, self.n_betas = facts.camera_names, facts.n_betas
        self.target_resolution = facts.target_resolution
        self.crop_mode, self.undistorted = facts.crop_mode, True
        self.world_scale = facts.world_scale if world_scale is None else float(world_scale)
        self._slots: Int[np.ndarray, 'N V'] = facts.slots
        self.frame_of, self.n_samples = facts.frames, len(facts.frames)
        self.body_model_file = self.body_model_hash = ''
        self.landmarks: dict[str, Landmark] = {}
        self.session_names = tuple(dict.fromkeys(facts.sessions))
        numbers = {name: i for i, name in enumerate(self.session_names)}
        self.session_of = np.array([numbers[name] for name in facts.sessions], np.int64)
        views = [(self._slots == c).any(1) for c in range(len(self.camera_names))]
        self.view_mask_of = np.stack(views, 1) if views else np.zeros((self.n_samples, 0), np.bool_)

    def __len__(self) -> int:
        return self.n_samples

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._handle.close()

    def session_index(self, session: str | SupportsIndex) -> int:
        """Find a session by name (or number)."""
        if not isinstance(session, str) and 0 <= int(session) < len(self.session_names):
            return int(session)
        if session not in self.session_names:
            raise UnknownNameError(
                f'{self.path}: no session {session!r}. {did_you_mean(str(session), self.session_names)}'
            )
        return self.session_names.index(session)

    def samples(self, session: str | SupportsIndex) -> Int[np.ndarray, ' n']:
        """Give the numbers of a session's samples, in the file's order."""
        return np.flatnonzero(self.session_of == self.session_index(session))

    def frame_indices(self, session: str | SupportsIndex) -> Int[np.ndarray, ' n']:
        """Give the frame numbers of a session's samples."""
        return self.frame_of[self.samples(session)]

    def cameras(self, session: str | SupportsIndex) -> Cameras:
        """Give the cameras of the stored images: one set, or one a sample where crops differ.

        Raises:
            ValueError: a camera that only some samples have, while crops differ.
        """
        records = [self.record(i) for i in self.samples(session)]
        used = np.flatnonzero(np.any([r.view_mask for r in records], 0))
        stacks = {n: np.stack([getattr(r, n)[used] for r in records]) for n in ('K', 'R', 't', 'size')}
        mask = np.stack([r.view_mask[used] for r in records])
        first = {
            n: np.stack([v[mask[:, c].argmax(), c] for c in range(len(used))]) for n, v in stacks.items()
        }
        same = all(
            np.allclose(v[mask], np.broadcast_to(first[n], v.shape)[mask], 1e-6) for n, v in stacks.items()
        )
        if not same and not mask.all():
            # An absent view needs some camera; its confidence is 0, so the session's first one will do.
            for name, value in stacks.items():
                value[~mask] = np.broadcast_to(first[name], value.shape)[~mask]
        names = tuple(self.camera_names[c] for c in used)
        tensors = {n: torch.from_numpy(v) for n, v in (first if same else stacks).items()}
        return Cameras(names=names, **tensors, unit=self.unit)

    def has_own_cameras(self, session: str | SupportsIndex) -> bool:
        """Say that cameras are a rig's, though crops may differ."""
        return False

    def labels(self, session: str | SupportsIndex) -> tuple[str, ...]:
        """Name the images of a session's samples."""
        name = self.session_names[self.session_index(session)]
        return tuple(f'{name}, frame {frame}' for frame in self.frame_indices(session))

    def temporal(self, session: str | SupportsIndex) -> bool:
        """Say that a session's samples follow one another in time."""
        return True

    def intrinsics_known(self, session: str | SupportsIndex) -> Bool[np.ndarray, ' n']:
        """Say that all intrinsics were calibrated."""
        return np.ones(len(self.samples(session)), np.bool_)

    def stored_cameras(self, session: str | SupportsIndex) -> Cameras:
        """Give the cameras of the stored images, (n, C, ...)."""
        cameras, n = self.cameras(session), len(self.samples(session))
        return cameras if cameras.K.ndim == 4 else cameras.map(lambda x: x.expand(n, *x.shape))

    def masks(
        self, session: str | SupportsIndex
    ) -> tuple[UInt8[np.ndarray, 'n C H W'], Float[np.ndarray, 'n C']]:
        """Give empty silhouettes of weight 0: such files hold none."""
        shape = (len(self.samples(session)), len(self.cameras(session)))
        return np.zeros((*shape, self.target_resolution, self.target_resolution), np.uint8), np.zeros(shape)

    def keypoints2d(
        self, session: str | SupportsIndex, names: Sequence[str] | None = None, stored: bool = False
    ) -> Keypoints2d:
        """Give keypoints in px of the stored images (no others are known), cameras attached."""
        records = [self.record(i) for i in self.samples(session)]
        cameras = self.stored_cameras(session) if stored else self.cameras(session)
        used = [self.camera_names.index(name) for name in cameras.names]
        seen = Keypoints2d(
            xy=torch.from_numpy(np.stack([r.keypoints2d[used] for r in records])),
            confidence=torch.from_numpy(np.stack([r.confidence2d[used] for r in records])),
            names=self.keypoint_names,
            cameras=cameras,
        )
        return seen if names is None else seen.select(names)

    def annotated2d(self, session: str | SupportsIndex) -> Keypoints2d:
        """Give keypoints as `keypoints2d` does: the file does not tell of lenses."""
        return self.keypoints2d(session)

    def keypoints3d(
        self, session: str | SupportsIndex, names: Sequence[str] | None = None
    ) -> Keypoints3d | None:
        """Give a session's 3D keypoints; None where it has none at all."""
        records = [self.record(i) for i in self.samples(session)]
        confidence = np.stack([r.confidence3d for r in records])
        if not confidence.any():
            return None
        xyz = torch.from_numpy(np.stack([r.keypoints3d for r in records]))
        seen = Keypoints3d(xyz, torch.from_numpy(confidence), self.keypoint_names, self.unit)
        return seen if names is None else seen.select(names)

    def true_params(self, session: str | SupportsIndex) -> BodyParams | None:
        """Give the true parameters of a session's samples; None where one of them is unknown."""
        known = [self.record(i).params for i in self.samples(session)]
        params = [p for p in known if p is not None]
        if len(params) < len(known):
            return None
        return BodyParams.of({n: torch.from_numpy(np.stack([p[n] for p in params])) for n in params[0]})

    def known_betas(self, session: str | SupportsIndex) -> Float[np.ndarray, 'S'] | None:
        """Give a session's shape where it was measured; None where not."""
        return self.record(int(self.samples(session)[0])).betas

    def record(self, sample: SupportsIndex) -> SampleRecord:
        """Read one sample without its images."""
        i, C = int(sample), len(self.camera_names)
        slots = {int(c): v for v, c in enumerate(self._slots[i]) if c >= 0}
        cameras, views = list(slots), list(slots.values())
        mask = np.zeros(C, np.bool_)
        mask[cameras] = True

        def spread(name: str, scale: float = 1.0) -> np.ndarray:
            rows = self._handle.read(f'{KEYPOINTS}/{name}', i).astype(np.float64)
            out = np.zeros((C, *rows.shape[1:]))
            out[cameras] = rows[views] * scale
            return out

        side = float(self.target_resolution)
        visible = spread('keypoint_visibility')
        check_finite(visible, f'{KEYPOINTS}/keypoint_visibility', self.path)
        visible = np.clip(visible, 0.0, 1.0)
        # What is not visible may hold anything.
        pixels = np.where(visible[..., None] > 0, spread('keypoints_2d')[..., ::-1] * side, 0.0)
        check_finite(pixels, f'{KEYPOINTS}/keypoints_2d', self.path)
        xyz = self._handle.read(f'{KEYPOINTS}/keypoints_3d', i).astype(np.float64)
        check_finite(xyz, f'{KEYPOINTS}/keypoints_3d', self.path)
        return SampleRecord(
            session=int(self.session_of[i]),
            frame=int(self.frame_of[i]),
            view_mask=mask,
            K=spread('camera_intrinsics'),
            R=spread('camera_extrinsics_R'),
            t=spread('camera_extrinsics_t', self.world_scale),
            dist=np.zeros((C, 5)),
            size=np.full((C, 2), side) * mask[:, None],
            to_original=np.tile(np.eye(2, 3), (C, 1, 1)) * mask[:, None, None],
            keypoints2d=pixels,
            confidence2d=visible,
            keypoints3d=xyz * self.world_scale,
            confidence3d=(xyz != 0).any(-1).astype(np.float64),
            params=self._params(i),
            betas=self._betas(i),
        )

    def image(self, sample: SupportsIndex, camera: str | SupportsIndex) -> UInt8[np.ndarray, 'H W 3']:
        """Decode one stored image, RGB.

        Raises:
            KeyError: an unknown camera, or one without an image in this sample.
        """
        if isinstance(camera, str) and camera not in self.camera_names:
            raise UnknownNameError(
                f'{self.path}: no camera {camera!r}. {did_you_mean(camera, self.camera_names)}'
            )
        c = self.camera_names.index(camera) if isinstance(camera, str) else int(camera)
        slot = np.flatnonzero(self._slots[int(sample)] == c)
        if len(slot) == 0:
            raise UnknownNameError(
                f'{self.path}: sample {sample} has no image of camera {self.camera_names[c]!r}.'
            )
        data = self._handle.read(f'multiview_images/image_jpeg_view_{slot[0]}', int(sample))
        what = f'the image of sample {sample}'
        return decode_stored(np.asarray(data, np.uint8), self.path, what, self.target_resolution)

    def mask(self, sample: SupportsIndex, camera: str | SupportsIndex) -> None:
        """Say that there are no silhouettes."""

    def check_body_model(self, data: BodyModelData) -> None:
        """Check that the joints are the model's; the file states no more.

        Raises:
            ValueError: other joints.
        """
        if tuple(data.joint_names) != self.joint_names:
            raise ValueError(
                f'{self.path}: the body model must have the joints that the file was opened with; '
                f'{data.name} has others. Open the file with joint_names of that model.'
            )

    def _flag(self, name: str, i: int) -> bool:
        return f'auxiliary/{name}' in self._handle() and bool(self._handle.read(f'auxiliary/{name}', i))

    def _betas(self, i: int) -> np.ndarray | None:
        if not self._flag('has_ground_truth_betas', i):
            return None
        return self._parameter('betas', i)

    def _parameter(self, name: str, i: int) -> np.ndarray:
        values = self._handle.read(f'{PARAMETERS}/{name}', i).astype(np.float64)
        check_finite(values, f'{PARAMETERS}/{name}', self.path)
        return values

    def _params(self, i: int) -> dict[str, np.ndarray] | None:
        if not self._flag('has_ground_truth_pose', i):
            return None
        read = {n: self._parameter(n, i) for n in ('global_rot', 'joint_rot', 'betas', 'trans')}
        # Their joint rotations count the root, whose rotation is `global_rot`.
        return {
            'global_orient': read['global_rot'],
            'body_pose': read['joint_rot'][1:],
            'betas': read['betas'],
            'transl': read['trans'] * self.world_scale,
            'scale': np.array(self.world_scale),
        }
