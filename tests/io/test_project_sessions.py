"""Calibrated projects of several tools, made from one known animal: each gives the truth back."""

import shutil

import numpy as np
import pytest
import torch

from smilfit.io import (
    AniposeSession,
    DeepLabCutSession,
    LightningPoseSession,
    SleapMultiviewSession,
    SleapSession,
    write_calibration,
)
from smilfit.io.camera_names import split_by_names
from smilfit.io.recordings.table_session import LABEL_SD_PX
from tests.io.annotations.pose_writers import columns_of, write_csv, write_table_h5
from tests.io.conftest import NODES

sleap_io = pytest.importorskip('sleap_io')
COORDS = ('x', 'y', 'likelihood')


def _values(tiny, c, score=0.9):
    points = np.concatenate((tiny.xy[:, c], np.full((6, 4, 1), score)), -1)
    return points.reshape(6, 12)


def _videos(tiny, write_video, folder, pattern, names=('left', 'mid', 'right')):
    return [write_video(folder / pattern.format(name)) for name in names]


@pytest.fixture
def anipose(tiny, tmp_path, write_video):
    root = tmp_path / 'project'
    session = root / 'mouse_1' / 'day_1'
    _videos(tiny, write_video, session / 'videos-raw', 'walk 1_cam-{}.avi')
    for c, name in enumerate(tiny.cameras.names):
        path = session / f'pose-2d/walk 1_cam-{name}.h5'
        write_table_h5(path, columns_of(NODES, coords=COORDS), list(range(6)), _values(tiny, c))
    # One calibration for all days of the mouse, as anipose looks for it.
    write_calibration(root / 'mouse_1/calibration/calibration.toml', tiny.cameras)
    (root / 'config.toml').write_text('nesting = 2\n[triangulation]\ncam_regex = "_cam-([a-z]+)$"\n')
    return root


@pytest.fixture
def deeplabcut(tiny, tmp_path, write_video):
    root = tmp_path / 'dlc'
    _videos(tiny, write_video, root / 'videos', 'trial_1_{}.avi')
    _videos(tiny, write_video, root / 'videos', 'trial_1_{}DLC_resnet50_xshuffle1_9_labeled.avi')
    for c, name in enumerate(tiny.cameras.names):
        for suffix, shift in (('', 5.0), ('_filtered', 0.0)):
            path = root / f'videos/trial_1_{name}DLC_resnet50_xshuffle1_9{suffix}.h5'
            values = _values(tiny, c) + shift * np.tile([1, 1, 0], 4)
            write_table_h5(path, columns_of(NODES, coords=COORDS), list(range(6)), values)
    write_calibration(root / 'calibration.toml', tiny.cameras)
    return root


@pytest.fixture
def lightning(tiny, tmp_path, write_video):
    root = tmp_path / 'lp'
    _videos(tiny, write_video, root / 'videos', 'day1_{}.avi')
    for c, name in enumerate(tiny.cameras.names):
        path = root / f'models/net/video_preds/day1_{name}.csv'
        rows = [(str(i),) for i in range(6)]
        write_csv(path, columns_of(NODES, coords=COORDS), rows, _values(tiny, c))
    write_calibration(root / 'calibrations/day1.toml', tiny.cameras)
    return root


@pytest.fixture
def multiview(tiny, tmp_path, write_video):
    return write_multiview(tiny, tmp_path / 'slp', write_video)


def write_multiview(tiny, folder, write_video):
    """Write the session as sleap-io does, with 3D points of its groups."""
    skeleton = sleap_io.Skeleton(list(NODES))
    cameras = tiny.cameras
    rigs = [
        sleap_io.Camera(
            matrix=cameras.K[c].numpy(),
            dist=cameras.dist[c].numpy(),
            size=tuple(int(x) for x in cameras.size[c]),
            rvec=[0.0, float(angle), 0.0],
            tvec=cameras.t[c].numpy(),
            name=name,
        )
        for c, (name, angle) in enumerate(zip(cameras.names, (0.0, -1.2, 1.1)))
    ]
    session = sleap_io.RecordingSession(
        camera_group=sleap_io.CameraGroup(cameras=rigs), metadata={'unit': 'mm'}
    )
    videos = [
        sleap_io.Video(filename=str(path), open_backend=False)
        for path in _videos(tiny, write_video, folder, '{}.avi')
    ]
    frames = {}
    for c, (camera, video) in enumerate(zip(rigs, videos)):
        session.add_video(video, camera)
        for i in range(6):
            instance = sleap_io.PredictedInstance.from_numpy(
                tiny.xy[i, c], skeleton=skeleton, point_scores=np.full(4, 0.9), score=0.9
            )
            frames[i, c] = sleap_io.LabeledFrame(video=video, frame_idx=i, instances=[instance])
    for i in range(6):
        points = sleap_io.Instance3D(points=tiny.xyz[i], skeleton=skeleton)
        seen = {camera: frames[i, c].instances[0] for c, camera in enumerate(rigs)}
        session.frame_groups[i] = sleap_io.FrameGroup(
            frame_idx=i,
            instance_groups=[sleap_io.InstanceGroup(instance_by_camera=seen, instance_3d=points)],
            labeled_frame_by_camera={camera: frames[i, c] for c, camera in enumerate(rigs)},
        )
    labels = sleap_io.Labels(
        labeled_frames=list(frames.values()), videos=videos, skeletons=[skeleton], sessions=[session]
    )
    path = folder / 'mouse.slp'
    sleap_io.save_slp(labels, str(path), embed=False, verbose=False)
    return path


KINDS = {
    'anipose': (AniposeSession, 'day_1+walk 1'),
    'deeplabcut': (DeepLabCutSession, 'dlc+trial_1'),
    'lightning': (LightningPoseSession, 'lp+day1'),
    'multiview': (SleapMultiviewSession, 'mouse'),
}


@pytest.mark.parametrize('fixture', KINDS)
def test_a_project_is_read_as_the_sleap_folder_is(fixture, tiny, request):
    kind, name = KINDS[fixture]
    (place,) = kind.find(request.getfixturevalue(fixture))
    assert place.cameras == tiny.cameras.names
    session = kind(place.folder, **place.arguments)
    assert (session.name, session.unit, session.fps, session.n_frames) == (name, 'mm', 25.0, 6)
    twin = SleapSession(tiny.folder)
    seen, known = session.keypoints2d(), twin.keypoints2d()
    assert seen.names == known.names
    np.testing.assert_allclose(seen.xy.numpy(), known.xy.numpy(), atol=1e-9)
    np.testing.assert_allclose(seen.confidence.numpy(), 0.9, atol=1e-9)
    pixels = session.cameras.project(torch.from_numpy(tiny.xyz))[0]
    np.testing.assert_allclose(pixels.numpy(), tiny.xy, atol=1e-6)
    for index, images in session.frames([0, 5]):
        assert list(images) == ['left', 'mid', 'right']
        assert images['mid'][..., 2].mean() == pytest.approx(20 * index, abs=4)
    without = kind(place.folder, exclude_cameras='mid', **place.arguments)
    assert without.camera_names == without.cameras.names == ('left', 'right')
    again = kind(place.folder, only_cameras=('left', 'right'), **place.arguments)
    assert again.camera_names == ('left', 'right')
    with pytest.raises(KeyError, match="no camera 'mdi' to exclude. Did you mean 'mid'"):
        kind(place.folder, exclude_cameras='mdi', **place.arguments)


def test_groups_of_instances_give_their_3d_points(multiview, tiny):
    np.testing.assert_allclose(
        SleapMultiviewSession(multiview).keypoints3d().xyz.numpy(), tiny.xyz, atol=1e-9
    )


def test_an_ensembles_variance_is_a_weight(lightning, tiny):
    columns = columns_of(
        NODES, coords=(*COORDS, 'x_ens_var', 'y_ens_var', 'x_posterior_var', 'y_posterior_var')
    )
    variance = np.full((6, 4, 1), 9.0)
    variance[2, 1] = 91.0
    for c, name in enumerate(tiny.cameras.names):
        points = [
            tiny.xy[:, c],
            np.full((6, 4, 1), 0.3),
            np.full((6, 4, 2), 400.0),
            variance - 1,
            variance + 1,
        ]
        values = np.concatenate(points, -1).reshape(6, -1)
        write_csv(
            lightning / f'eks/multicam_{name}_results.csv', columns, [(str(i),) for i in range(6)], values
        )
    session = LightningPoseSession(lightning)
    weights = session.keypoints2d().confidence
    square = LABEL_SD_PX**2
    assert float(weights[0, 0, 0]) == pytest.approx(square / (square + 9))
    assert float(weights[2, 2, 1]) == pytest.approx(square / (square + 91))
    assert session.confidence_thresholds['mid'] == 0
    assert session.report['mid']['weighted_by'] == "the ensemble's variance"


def test_several_networks_must_be_told_apart(lightning):
    shutil.copytree(lightning / 'models/net', lightning / 'models/other')
    with pytest.raises(ValueError, match=r'video day1_left.avi must have one table; got .*--scorer TEXT'):
        LightningPoseSession.find(lightning)
    (place,) = LightningPoseSession.find(lightning, scorer='other')
    assert LightningPoseSession(place.folder, **place.arguments).report['mid']['labels'] == 'day1_mid.csv'


def test_offsets_of_cropped_videos(anipose, tiny):
    with (anipose / 'config.toml').open('a') as file:
        file.write('[cameras.left]\noffset = [10, 5]\n')
    session = AniposeSession(anipose / 'mouse_1/day_1')
    shift = tiny.cameras.K[0, :2, 2] - session.cameras.K[0, :2, 2]
    assert shift.tolist() == [10, 5]


def test_trials_and_days_of_one_name(anipose):
    shutil.copytree(anipose / 'mouse_1', anipose / 'mouse_2')
    places = AniposeSession.find(anipose)
    names = [AniposeSession(place.folder, **place.arguments).name for place in places]
    assert names == ['mouse_1+day_1+walk 1', 'mouse_2+day_1+walk 1']
    assert AniposeSession.find(anipose / 'mouse_1/day_1/videos-raw') == []


def test_a_camera_without_files_is_left_out_and_told(deeplabcut, caplog):
    for path in (deeplabcut / 'videos').glob('trial_1_mid*'):
        path.unlink()
    assert DeepLabCutSession(deeplabcut).camera_names == ('left', 'right')
    assert 'mid of' in caplog.text
    assert 'no table or no video' in caplog.text
    (deeplabcut / 'calibration.toml').unlink()
    assert DeepLabCutSession.find(deeplabcut) == []
    with pytest.raises(FileNotFoundError, match=r'there must be a calibration.toml, and tables'):
        DeepLabCutSession(deeplabcut)


@pytest.mark.parametrize(
    ('stem', 'found'),
    [
        ('session0_view1', ('session0', 'view1')),
        ('session0_view10', ('session0', 'view10')),
        ('Day 2.VIEW1.rot', ('Day 2_rot', 'view1')),
        ('trial2camA', ('trial2', 'camA')),
        ('camA', ('', 'camA')),
        ('reviews_of_b', None),
    ],
)
def test_cameras_are_found_in_names(stem, found):
    assert split_by_names(stem, ('view1', 'view10', 'camA')) == found
