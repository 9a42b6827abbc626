import shutil

import h5py
import numpy as np
import pytest
import torch

from smilfit.io import SleapSession, find_sessions, write_points3d, write_reprojections, write_slp
from smilfit.registry import SESSIONS

NODES = ('nose', 'neck', 'tail', 'paw')


def _relabel(tiny, camera, xy, scores=0.9, nodes=NODES):
    given = None if scores is None else np.full(xy.shape[:2], scores)
    return write_slp(tiny.folder / camera / f'{camera}.slp', xy, nodes, f'{camera}.avi', given)


def test_reads_what_was_recorded(tiny):
    session = SESSIONS.build({'type': 'SleapSession', 'folder': str(tiny.folder)})
    assert session.name == 'session_1'
    assert session.camera_names == ('left', 'mid', 'right')
    assert (session.unit, session.fps, session.n_frames) == ('mm', 25.0, 6)
    assert session.keypoint_names == NODES
    seen = session.keypoints2d()
    np.testing.assert_array_equal(seen.xy.numpy(), tiny.xy)
    assert (seen.confidence == 0.9).all()
    assert seen.cameras.K.dtype == torch.float64
    np.testing.assert_array_equal(session.keypoints3d(['paw', 'nose']).xyz.numpy(), tiny.xyz[:, [3, 0]])
    pixels, _, valid = session.cameras.project(session.keypoints3d().xyz)
    assert valid.all()
    torch.testing.assert_close(pixels, seen.xy, atol=1e-9, rtol=0)


def test_frames_are_decoded_in_lockstep(tiny):
    session = SleapSession(tiny.folder)
    for index, images in session.frames([0, 2, 5]):
        assert list(images) == ['left', 'mid', 'right']
        for image in images.values():
            assert image[..., 2].mean() == pytest.approx(20 * index, abs=4)
    assert [i for i, _ in session.frames()] == list(range(6))
    with pytest.raises(ValueError, match=r'frames must be below 6; got 6'):
        session.frames([6])


def test_a_lookup_renames_selects_and_orders(tiny, tmp_path):
    lookup = tmp_path / 'joint_lookup.csv'
    lookup.write_text('model,data\nb_tail,tail\nb_foot,\nb_head,nose\n', encoding='utf-8')
    session = SleapSession(tiny.folder, joint_lookup=lookup)
    assert session.keypoint_names == ('b_tail', 'b_head')
    np.testing.assert_array_equal(session.keypoints2d().xy.numpy(), tiny.xy[:, :, [2, 0]])
    np.testing.assert_array_equal(session.keypoints3d().xyz.numpy(), tiny.xyz[:, [2, 0]])
    assert session.report['unmapped_labels'] == ['neck', 'paw']
    with pytest.raises(KeyError, match=r"no keypoint 'b_hed'. Did you mean 'b_head'"):
        session.keypoints2d(['b_hed'])


def test_a_lookup_of_other_labels_is_an_error(tiny, tmp_path):
    lookup = tmp_path / 'joint_lookup.csv'
    lookup.write_text('model,data\nb_head,Noze\n', encoding='utf-8')
    with pytest.raises(KeyError, match=r"joint_lookup.csv: .*'Noze' is none. Did you mean 'nose'"):
        SleapSession(tiny.folder, joint_lookup=lookup)


def test_peaks_count_from_sleaps_own_threshold_and_proofread_files_whole(tiny):
    scores = np.linspace(0.05, 1.04, 24).reshape(6, 4)
    write_slp(tiny.folder / 'mid' / 'mid.slp', tiny.xy[:, 1], NODES, 'mid.avi', scores)
    session = SleapSession(tiny.folder)
    seen = session.keypoints2d().confidence[:, 1].numpy()
    np.testing.assert_allclose(seen, np.where(scores < 0.2, 0, scores.clip(0, 1)))
    assert session.report['mid']['points_below_threshold'] == (scores < 0.2).sum()
    assert session.report['mid']['scores_above_1'] == (scores > 1).sum()
    (tiny.folder / 'mid' / 'mid.slp').rename(tiny.folder / 'mid' / 'mid.proofread.slp')
    whole = SleapSession(tiny.folder)
    np.testing.assert_allclose(whole.keypoints2d().confidence[:, 1].numpy(), scores.clip(0, 1))
    assert whole.confidence_thresholds == {'left': 0.2, 'mid': 0.0, 'right': 0.2}
    asked = SleapSession(tiny.folder, confidence_threshold=0.7).keypoints2d().visible[:, 1].numpy()
    np.testing.assert_array_equal(asked, scores >= 0.7)


def test_low_scores_and_missing_points_are_counted(tiny):
    xy = tiny.xy[:, 1].copy()
    xy[0, 0] = np.nan
    _relabel(tiny, 'mid', xy, 0.4)
    with pytest.raises(ValueError, match=r'mid has none at confidence_threshold 0.5'):
        SleapSession(tiny.folder, confidence_threshold=0.5)
    session = SleapSession(tiny.folder, confidence_threshold=0.3)
    assert session.report['mid']['points_missing'] == 1
    assert session.report['mid']['points'] == 23
    _relabel(tiny, 'mid', xy, None)
    assert float(SleapSession(tiny.folder).keypoints2d().confidence[1, 1, 1]) == 1
    with pytest.raises(ValueError, match=r'confidence_threshold must be in \[0, 1\]; got 50'):
        SleapSession(tiny.folder, confidence_threshold=50.0)


def test_folders_may_differ_from_the_calibration_in_case_only(tiny):
    (tiny.folder / 'mid').rename(tiny.folder / 'MID')
    assert SleapSession(tiny.folder).camera_names == ('left', 'mid', 'right')
    (tiny.folder / 'MID').rename(tiny.folder / 'mid1')
    with pytest.raises(ValueError, match=r'cameras without a folder: mid; folders without a camera: mid1'):
        SleapSession(tiny.folder)
    session = SleapSession(tiny.folder, exclude_cameras=['mid', 'mid1'])
    assert session.camera_names == ('left', 'right')
    assert session.keypoints2d().xy.shape == (6, 2, 4, 2)


def test_an_excluded_camera_is_not_even_opened(tiny):
    (tiny.folder / 'mid' / 'mid.avi').write_bytes(b'broken')
    assert SleapSession(tiny.folder, exclude_cameras=['mid']).cameras.names == ('left', 'right')
    with pytest.raises(KeyError, match=r"no camera 'mdi' to exclude. Did you mean 'mid'"):
        SleapSession(tiny.folder, exclude_cameras=['mdi'])
    with pytest.raises(ValueError, match=r'one camera at least must be left'):
        SleapSession(tiny.folder, exclude_cameras=['left', 'mid', 'right'])


def test_which_labels_are_read(tiny):
    folder = tiny.folder / 'mid'
    moved = write_slp(folder / 'mid_proofread.slp', tiny.xy[:, 1] + 1, NODES, 'mid.avi')
    assert SleapSession(tiny.folder).report['mid']['labels'] == moved.name
    shutil.copy(moved, folder / 'proofread_again.slp')
    with pytest.raises(
        ValueError, match=r'must hold one labels .* got mid_proofread.slp, proofread_again.slp'
    ):
        SleapSession(tiny.folder)
    for path in folder.glob('*.slp'):
        path.unlink()
    with h5py.File(folder / 'anything.h5', 'w') as file:
        file['tracks'] = tiny.xy[:, 1].transpose(2, 1, 0)[None]
        file['node_names'] = np.array([n.encode() for n in NODES])
    session = SleapSession(tiny.folder)
    assert session.report['mid']['labels'] == 'anything.h5'
    np.testing.assert_array_equal(session.keypoints2d().xy[:, 1].numpy(), tiny.xy[:, 1])
    (folder / 'anything.h5').unlink()
    with pytest.raises(ValueError, match=r'must hold one labels .* got none'):
        SleapSession(tiny.folder)


def test_a_missing_video_is_an_error(tiny):
    (tiny.folder / 'mid' / 'mid.avi').unlink()
    with pytest.raises(ValueError, match=r'must hold one video .* got none. Put it there'):
        SleapSession(tiny.folder)


def test_which_video_is_read(tiny, write_video):
    write_video(tiny.folder / 'mid' / 'overlay.avi', n_frames=3)
    assert SleapSession(tiny.folder).n_frames == 6


def test_a_video_cut_short_is_an_error(tiny, write_video, capfd):
    path = write_video(tiny.folder / 'mid' / 'mid.avi', n_frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r'mid.avi: .*header states 40, \d+ do. The file was cut short'):
        SleapSession(tiny.folder)


def test_videos_of_other_lengths_and_sizes_are_errors(tiny, write_video):
    write_video(tiny.folder / 'mid' / 'mid.avi', n_frames=5)
    with pytest.raises(ValueError, match=r"equally many frames .*'left': 6, 'mid': 5"):
        SleapSession(tiny.folder)
    write_video(tiny.folder / 'mid' / 'mid.avi', size=(64, 48))
    with pytest.raises(ValueError, match=r"camera 'mid' was calibrated with, 96x64 px; got 64x48"):
        SleapSession(tiny.folder)


def test_labels_of_another_video_are_an_error(tiny):
    longer = np.concatenate((tiny.xy[:, 1], tiny.xy[:2, 1]))
    _relabel(tiny, 'mid', longer)
    with pytest.raises(ValueError, match=r'they have 8 frames, the video has 6'):
        SleapSession(tiny.folder)
    _relabel(tiny, 'mid', tiny.xy[:4, 1])
    with pytest.raises(ValueError, match=r'they have 4 frames, the video has 6.*Set partial_labels'):
        SleapSession(tiny.folder)
    session = SleapSession(tiny.folder, partial_labels=True)
    assert session.report['mid']['frames_without_labels'] == 2
    assert (session.keypoints2d().confidence[4:, 1] == 0).all()
    # A person labels here and there.
    here_and_there = tiny.xy[:, 1].copy()
    here_and_there[[0, 2, 5]] = np.nan
    _relabel(tiny, 'mid', here_and_there, None)
    assert SleapSession(tiny.folder).report['mid']['frames_without_labels'] == 3


def test_half_a_point_is_an_error(tiny):
    xy = tiny.xy[:, 2].copy()
    xy[4, 3, 0] = np.nan
    _relabel(tiny, 'right', xy)
    with pytest.raises(ValueError, match=r"right.slp: .* for 'paw' in frame 4"):
        SleapSession(tiny.folder)


def test_another_skeleton_is_an_error(tiny):
    _relabel(tiny, 'mid', tiny.xy[:, 1], nodes=('neck', 'nose', 'tail', 'paw'))
    with pytest.raises(ValueError, match=r'nodes of all cameras must be the same, in the same order'):
        SleapSession(tiny.folder)


def test_points3d_of_another_recording_are_an_error(tiny):
    write_points3d(tiny.folder / 'points3d.h5', tiny.xyz[:5])
    with pytest.raises(ValueError, match=r"points3d.h5: frames must be as many as the videos' 6; got 5"):
        SleapSession(tiny.folder)
    assert SleapSession(tiny.folder, with_3d=False).keypoints3d() is None
    (tiny.folder / 'points3d.h5').unlink()
    assert SleapSession(tiny.folder).keypoints3d() is None


def test_missing_3d_points_have_confidence_zero(tiny):
    xyz = tiny.xyz.copy()
    xyz[2, 1] = np.nan
    write_points3d(tiny.folder / 'points3d.h5', xyz)
    seen = SleapSession(tiny.folder).keypoints3d()
    assert seen.unit == 'mm'
    assert int((seen.confidence == 0).sum()) == 1
    assert float(seen.confidence[2, 1]) == 0


def test_reprojections_replace_the_labels(tiny):
    views = {name: tiny.xy[:, c] + 1 for c, name in enumerate(tiny.cameras.names)}
    views['mid'][1, 2] = np.nan
    write_reprojections(tiny.folder / 'reprojections.h5', views)
    seen = SleapSession(tiny.folder, use_reprojections=True).keypoints2d()
    np.testing.assert_array_equal(seen.xy[:, 0].numpy(), tiny.xy[:, 0] + 1)
    assert float(seen.confidence[1, 1, 2]) == 0
    assert float(seen.confidence.sum()) == 6 * 3 * 4 - 1
    write_reprojections(tiny.folder / 'reprojections.h5', {n: v[:4] for n, v in views.items()})
    with pytest.raises(ValueError, match=r'reprojections.h5: frames must be as many'):
        SleapSession(tiny.folder, use_reprojections=True)


def test_without_a_calibration_there_are_no_cameras(tiny):
    (tiny.folder / 'calibration.toml').unlink()
    session = SleapSession(tiny.folder, unit='cm')
    assert session.cameras is None
    assert session.unit == 'cm'
    assert session.camera_names == ('left', 'mid', 'right')
    assert session.keypoints2d().cameras is None


def test_sessions_are_found(tiny, tmp_path):
    root = tmp_path / 'root'
    shutil.copytree(tiny.folder, root / 'day_1' / 'session_2')
    shutil.copytree(tiny.folder, root / 'day_1' / 'session_1')
    shutil.copytree(tiny.folder, root / '.trash')
    (root / 'day_1' / 'session_1' / 'calibration.toml').unlink()
    (root / 'notes').mkdir()
    expected = [root / 'day_1' / 'session_1', root / 'day_1' / 'session_2']
    assert find_sessions(root) == expected
    assert find_sessions(expected[0]) == expected[:1]
    with pytest.raises(FileNotFoundError, match=r'found none'):
        find_sessions(root / 'notes')
    with pytest.raises(FileNotFoundError, match=r'there is no such folder'):
        find_sessions(root / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'there is no such folder'):
        SleapSession(root / 'nowhere')
