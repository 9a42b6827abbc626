"""Predictions as other programs open them: joint angles, SLEAP labels, meshes, an animation."""

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.inference_drawing import posed_vertices
from smilfit.apis.inference_recordings import Recording
from smilfit.apis.predictions import Predictions
from smilfit.body_models import SMIL
from smilfit.engine import TrainedRegressor
from smilfit.files import folder_name
from smilfit.geometry.rotation import rotmat_to_quat_wxyz
from smilfit.io import write_mesh, write_tracks
from smilfit.io.gltf_animation import Motion, SkinnedMesh, posed_skin, write_gltf_animation
from smilfit.structures import BodyParams, Cameras, FitResult

logger = logging.getLogger('smilfit')

# A glTF skin that is further from the body than this share of its size is told of.
_LARGEST_CHANGE = 1e-3
# Frames in which that is looked at.
_LOOKED_AT = 5


@dataclass(frozen=True)
class PredictedRecording:
    """A recording with what was predicted of it, ready to be written."""

    recording: Recording
    trained: TrainedRegressor
    predictions: Predictions
    fit: FitResult
    fps: float

    @property
    def lenses(self) -> Cameras | None:
        """The cameras by whose lenses keypoints are bent; None where images have none, or each its own."""
        return self.recording.cameras if self.recording.undistorted else None

    @property
    def frame_rate(self) -> float:
        """Predicted frames per second of the recording."""
        steps = np.diff(self.predictions.frames)
        return self.fps / float(np.median(steps)) if len(steps) else self.fps

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints."""
        return tuple(self.trained.model.keypoint_names)


def write_angles(path: Path, made: PredictedRecording) -> None:
    """Write every joint's rotation in its parent's frame, degrees about the axis, x, y and z, with place and size."""
    predictions, unit = made.predictions, made.trained.names.unit or 'unit'
    names = made.trained.body.joint_names
    turns = np.degrees(
        np.concatenate((predictions.params['global_orient'][:, None], predictions.params['body_pose']), 1)
    )
    header = ['frame', 'time_s', 'valid']
    header += [f'{name}_{axis}_deg' for name in names for axis in 'xyz']
    header += [f'transl_{axis}_{unit}' for axis in 'xyz'] + ['scale']
    with path.open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(header)
        for i, frame in enumerate(predictions.frames.tolist()):
            numbers = [*turns[i].ravel(), *predictions.params['transl'][i], predictions.params['scale'][i]]
            time = f'{frame / made.fps:.6f}' if made.fps else ''
            table.writerow([frame, time, int(predictions.valid[i]), *(f'{v:.6g}' for v in numbers)])


def write_labels(folder: Path, made: PredictedRecording) -> None:
    """Write predicted keypoints, px of the recorded images, as SLEAP labels: a file a camera."""
    write_tracks_of(folder, {'track_0': made})


def write_tracks_of(folder: Path, animals: Mapping[str, PredictedRecording]) -> None:
    """Write the same of several animals of one recording, each with a track of its own, by its name."""
    made = next(iter(animals.values()))
    folder.mkdir(parents=True, exist_ok=True)
    for c, name in enumerate(made.recording.camera_names):
        tracks = {track: _labels_of(one.predictions, c) for track, one in animals.items()}
        if not any(np.isfinite(xy).any() for xy, _ in tracks.values()):
            logger.warning('%s: camera %s has no predicted keypoint; no labels are written.', folder, name)
            continue
        path = folder / f'{folder_name(name)}.slp'
        write_tracks(path, tracks, made.keypoint_names, made.recording.video_of(name))


def _labels_of(predictions: Predictions, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Give points and scores by frame number: frames between the predicted ones have none."""
    confidence = predictions.confidence2d[:, camera]
    xy = np.where(confidence[..., None] > 0, predictions.keypoints2d[:, camera], np.nan)
    count = int(predictions.frames[-1]) + 1
    spread, score = np.full((count, *xy.shape[1:]), np.nan), np.zeros((count, xy.shape[1]))
    spread[predictions.frames], score[predictions.frames] = xy, confidence
    return spread, score


def write_meshes(folder: Path, made: PredictedRecording, kind: str, every: int) -> None:
    """Write the mesh of every n-th predicted frame, world unit."""
    rows = np.flatnonzero(made.predictions.valid)[::every].tolist()
    faces = made.trained.body.faces.cpu().numpy()
    for row, vertices in zip(rows, posed_vertices(made.trained.body, made.predictions, rows)):
        number = int(made.predictions.frames[row])
        write_mesh(folder / f'{number:06d}.{kind}', vertices.double().numpy(), faces)


def write_animation(path: Path, made: PredictedRecording) -> None:
    """Write the motion of the predicted frames as an animated glTF, of the mean shape."""
    body, predictions = made.trained.body, made.predictions
    rows = np.flatnonzero(predictions.valid)
    params = predictions.body_params[torch.from_numpy(rows)].to(body.v_template)
    with torch.no_grad():
        still = body.zero_params().to(body.v_template).replace(betas=params.betas.mean(0, keepdim=True))
        rest = body(still, ('joints', 'vertices'))
        turns = rotmat_to_quat_wxyz(params.rotations()).cpu().numpy()
    mesh = SkinnedMesh(
        vertices=rest.vertices[0].cpu().numpy(),
        faces=body.faces.cpu().numpy(),
        joints=rest.joints[0].cpu().numpy(),
        parents=np.asarray(body.data.parents),
        names=tuple(body.joint_names),
        weights=body.data.weights.to_dense(),
    )
    times = (predictions.frames[rows] - predictions.frames[rows[0]]) / made.fps
    motion = Motion(times, turns, params.transl.cpu().numpy(), params.scale.cpu().numpy())
    extras = {
        'unit': made.trained.names.unit,
        'axes': "the calibration's",
        'first_frame': int(predictions.frames[0]),
    }
    write_gltf_animation(path, mesh, motion, extras)
    _tell_change(path.name, body, params, mesh, motion)


def _tell_change(name: str, body: SMIL, params: BodyParams, mesh: SkinnedMesh, motion: Motion) -> None:
    """Warn where a glTF skin cannot say what the body does: shapes that change with the pose or over time."""
    rows = np.unique(np.linspace(0, params.batch_size - 1, _LOOKED_AT).round().astype(int))
    with torch.no_grad():
        wanted = body(params[torch.from_numpy(rows)], ('vertices',)).vertices.cpu().numpy()
    size = float(np.linalg.norm(np.ptp(wanted, 1), axis=-1).mean())
    shown = np.stack([posed_skin(mesh, motion, row) for row in rows.tolist()])
    change = float(np.linalg.norm(wanted - shown, axis=-1).max()) / size
    if change > _LARGEST_CHANGE:
        logger.warning(
            "%s: is up to %.2g of the body's size from the predicted meshes: glTF has one shape for all frames, and "
            'none that depends on the pose.',
            name,
            change,
        )
