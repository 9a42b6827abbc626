"""Cameras that contradict each other are named wherever keypoints with cameras come in."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smilfit.cli.main import main
from smilfit.datasets import PreprocessOptions
from smilfit.datasets.point_plan import plan_points
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.io import (
    AniposeSession,
    DeepLabCutSession,
    LightningPoseSession,
    SleapMultiviewSession,
    SleapSession,
    write_calibration,
    write_slp,
)
from smilfit.io.calibration import read_calibration
from smilfit.io.points import PointSession
from smilfit.io.points.recorded import RecordedViews, recorded_points
from smilfit.structures import Cameras
from tests.io.annotations.pose_writers import columns_of, write_csv
from tests.io.conftest import NODES

NAMES = ('left', 'mid', 'right', 'high')
FRAMES, COORDS = 12, ('x', 'y', 'likelihood')


class Rig:
    """Four cameras about an animal; as calibrated, `high` has the place of `left`."""

    def __init__(self, tiny) -> None:
        old = tiny.cameras
        pick = [0, 1, 2, 0]
        R = old.R[pick].clone()
        R[3] = axis_angle_to_rotmat(torch.tensor([0.7, 0, 0], dtype=torch.float64))
        K, t, size, dist = (x[pick] for x in (old.K, old.t, old.size, old.dist))
        self.true = Cameras(names=NAMES, K=K, R=R, t=t, size=size, dist=dist, unit='mm')
        self.false = replace(self.true, R=torch.cat((R[:3], R[:1])))
        self.xyz = np.random.default_rng(0).uniform(-1.8, 1.8, (FRAMES, len(NODES), 3))
        self.xy = self.true.project(torch.from_numpy(self.xyz))[0].numpy()

    def table(self, c: int) -> np.ndarray:
        points = np.concatenate((self.xy[:, c], np.full((FRAMES, len(NODES), 1), 0.9)), -1)
        return points.reshape(FRAMES, -1)


@pytest.fixture
def rig(tiny) -> Rig:
    return Rig(tiny)


def _tables(rig: Rig, folder: Path, pattern: str) -> None:
    rows = [(str(i),) for i in range(FRAMES)]
    for c, name in enumerate(NAMES):
        write_csv(folder / pattern.format(name), columns_of(NODES, coords=COORDS), rows, rig.table(c))


def sleap(rig: Rig, root: Path, write_video, cameras: Cameras) -> SleapSession:
    for c, name in enumerate(NAMES):
        video = write_video(root / name / f'{name}.avi', FRAMES)
        write_slp(root / name / f'{name}.slp', rig.xy[:, c], NODES, video, np.full((FRAMES, len(NODES)), 0.9))
    write_calibration(root / 'calibration.toml', cameras)
    return SleapSession(root)


def anipose(rig: Rig, root: Path, write_video, cameras: Cameras) -> AniposeSession:
    day = root / 'day'
    for name in NAMES:
        write_video(day / f'videos-raw/walk_{name}.avi', FRAMES)
    _tables(rig, day / 'pose-2d', 'walk_{}.csv')
    write_calibration(day / 'calibration/calibration.toml', cameras)
    (root / 'config.toml').write_text('nesting = 1\n[triangulation]\ncam_regex = "_([a-z]+)$"\n')
    return AniposeSession(day)


def deeplabcut(rig: Rig, root: Path, write_video, cameras: Cameras) -> DeepLabCutSession:
    for name in NAMES:
        write_video(root / f'walk_{name}.avi', FRAMES)
    _tables(rig, root, 'walk_{}DLC_resnet50_xshuffle1_9.csv')
    write_calibration(root / 'calibration.toml', cameras)
    return DeepLabCutSession(root)


def lightning(rig: Rig, root: Path, write_video, cameras: Cameras) -> LightningPoseSession:
    for name in NAMES:
        write_video(root / f'videos/walk_{name}.avi', FRAMES)
    _tables(rig, root / 'models/net/video_preds', 'walk_{}.csv')
    write_calibration(root / 'calibrations/walk.toml', cameras)
    return LightningPoseSession(root)


def multiview(rig: Rig, root: Path, write_video, cameras: Cameras) -> SleapMultiviewSession:
    sleap_io = pytest.importorskip('sleap_io')
    skeleton, result = sleap_io.Skeleton(list(NODES)), []
    rigs = [
        sleap_io.Camera(
            matrix=cameras.K[c].numpy(),
            dist=cameras.dist[c].numpy(),
            size=tuple(int(x) for x in cameras.size[c]),
            rvec=rotmat_to_axis_angle(cameras.R[c]).tolist(),
            tvec=cameras.t[c].numpy(),
            name=name,
        )
        for c, name in enumerate(NAMES)
    ]
    session = sleap_io.RecordingSession(camera_group=sleap_io.CameraGroup(cameras=rigs))
    for c, name in enumerate(NAMES):
        video = sleap_io.Video(filename=str(write_video(root / f'{name}.avi', FRAMES)), open_backend=False)
        session.add_video(video, rigs[c])
        for i in range(FRAMES):
            instance = sleap_io.PredictedInstance.from_numpy(
                rig.xy[i, c], skeleton=skeleton, point_scores=np.full(len(NODES), 0.9), score=0.9
            )
            result.append(sleap_io.LabeledFrame(video=video, frame_idx=i, instances=[instance]))
    videos = list(dict.fromkeys(frame.video for frame in result))
    labels = sleap_io.Labels(labeled_frames=result, videos=videos, skeletons=[skeleton], sessions=[session])
    sleap_io.save_slp(labels, str(root / 'mouse.slp'), embed=False, verbose=False)
    return SleapMultiviewSession(root / 'mouse.slp')


def points(rig: Rig, root: Path, write_video, cameras: Cameras) -> PointSession:
    views = RecordedViews(cameras, rig.xy)
    return PointSession(recorded_points(root / 'run.mat', NODES, rig.xyz[:, None], unit='mm', views=views))


@pytest.mark.parametrize('door', [sleap, anipose, deeplabcut, lightning, multiview, points])
def test_a_false_camera_is_named_at_every_door(door, rig, tmp_path, write_video, caplog):
    with caplog.at_level(logging.WARNING):
        session = door(rig, tmp_path / 'false', write_video, rig.false)
    assert session.cameras.names == NAMES
    assert caplog.text.count('cameras must agree with each other') == 1
    assert "Camera 'high' contradicts the others" in caplog.text
    assert "'left' and 'high' are calibrated to the same place" in caplog.text
    assert 'smilfit calibrate camera SESSION --camera high' in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        door(rig, tmp_path / 'true', write_video, rig.true)
    assert 'must agree' not in caplog.text


def test_a_dataset_of_points_is_refused(rig, tmp_path):
    """As of recordings: a fit of points would take the camera's pixels for what they are not."""
    with pytest.raises(
        ValueError, match="Camera 'high' contradicts the others.* --allow-inconsistent-cameras high"
    ):
        plan_points(points(rig, tmp_path, None, rig.false), NODES, PreprocessOptions())


def test_cameras_of_points_alone_must_see_them(rig, tmp_path, caplog):
    """Without labels there are only the points to hold cameras against."""
    recorded = recorded_points(tmp_path / 'run.npz', NODES, rig.xyz[:, None], unit='mm')
    with caplog.at_level(logging.WARNING):
        PointSession(recorded, cameras=rig.true)
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        PointSession(
            recorded, cameras=replace(rig.false, t=rig.false.t * torch.tensor([1.0, 1, -1]).double())
        )
    assert 'hardly one lies in the image of left, mid, right, high' in caplog.text
    assert "'left' and 'high' are calibrated to the same place" in caplog.text


@pytest.mark.parametrize('door', [anipose, multiview])
def test_the_false_camera_is_calibrated_in_every_format(door, rig, tmp_path, write_video, capsys):
    root = tmp_path / 'false'
    session = door(rig, root, write_video, rig.false)
    kind = 'anipose' if door is anipose else 'sleap'
    if door is anipose:
        # A cropped video: the calibration is of the whole image.
        shift = torch.tensor([7.0, 3.0]).double()
        moved = rig.false.K.clone()
        moved[3, :2, 2] += shift
        write_calibration(root / 'day/calibration/calibration.toml', replace(rig.false, K=moved))
        with (root / 'config.toml').open('a') as file:
            file.write('[cameras.high]\noffset = [7, 3]\n')
    words = f'calibrate camera {root} --format {kind} --camera high --free pose --out {tmp_path}/new'
    words += ' --exclude-cameras mid'
    assert main(words.split()) == 0, capsys.readouterr().err
    old = (
        session.cameras if door is multiview else read_calibration(root / 'day/calibration/calibration.toml')
    )
    new = read_calibration(tmp_path / 'new/calibration.toml')
    assert new.names == NAMES
    for name in ('K', 'R', 't', 'dist'):
        torch.testing.assert_close(getattr(new, name)[:3], getattr(old, name)[:3], rtol=0, atol=1e-12)
    torch.testing.assert_close(new.K, old.K, rtol=0, atol=1e-12)
    torch.testing.assert_close(new.R[3], rig.true.R[3], rtol=0, atol=1e-4)
    torch.testing.assert_close(new.t[3], rig.true.t[3], rtol=0, atol=1e-2)


def test_a_folder_of_another_format_is_told(rig, tmp_path, write_video, capsys):
    deeplabcut(rig, tmp_path / 'dlc', write_video, rig.false)
    (tmp_path / 'dlc/calibration.toml').unlink()
    words = f'calibrate camera {tmp_path}/dlc --format dlc --camera high --out {tmp_path}/new'
    assert main(words.split()) == 1
    said = capsys.readouterr().err
    assert 'must hold a calibrated session of several cameras with labels, read as dlc' in said
    assert 'single views' not in said
