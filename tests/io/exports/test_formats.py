"""Each format, opened by its own program's reader, says what the fit says."""

import dataclasses
import json
from importlib.util import find_spec

import cv2
import numpy as np
import pandas
import pytest
import sleap_io
import torch

from smilfit.apis.fitting.fit_exporting import export_fit, find_fits, load_export
from smilfit.body_models import save_body_model
from smilfit.cli.fitting.export import FORMATS
from smilfit.cli.main import main
from smilfit.io import SleapSession, read_calibration, read_points3d, read_reprojections
from smilfit.io.annotations.anipose import read_points
from smilfit.io.exports import exporter, formats
from smilfit.io.pandas_tables import read_pandas_table
from smilfit.registry import UnknownNameError
from smilfit.structures import FitResult
from tests.io.exports.fits import FPS, T, made_fit

KEYPOINTS = ('points3d', 'anipose', 'calibration', 'slp', 'reprojections', 'dlc', 'nwb')


@pytest.fixture(scope='module')
def fit():
    return made_fit()


@pytest.fixture(scope='module')
def saved(fit, tmp_path_factory):
    """A folder as `smilfit fit` leaves it."""
    folder = tmp_path_factory.mktemp('fit') / 'session_1'
    fit.save(folder / 'fit.npz')
    words = [{'word': w, 'reason': ''} for w in fit.verdict.frame_words]
    verdict = {'word': 'doubtful', 'reasons': ['a reason'], 'measures': [], 'frames': words, 'cameras': []}
    (folder / 'verdict.json').write_text(json.dumps(verdict))
    return folder


@pytest.fixture(scope='module')
def out(saved, tmp_path_factory):
    """All formats, from the command line."""
    folder = tmp_path_factory.mktemp('out')
    assert main(['export', str(saved), '--to', 'all', '--out', str(folder), '--every', '3']) == 0
    return folder


@pytest.fixture(scope='module')
def seen(saved):
    return load_export(saved / 'fit.npz')


def test_the_command_knows_the_formats():
    assert set(FORMATS) == set(formats())


def test_the_file_gives_back_what_was_fitted(saved, fit):
    back = FitResult.load(saved / 'fit.npz')
    assert back.origin == fit.origin
    assert back.frames.tolist() == list(range(T))
    assert (back.session, back.fps, back.unit) == ('session_1', FPS, 'mm')
    assert back.verdict.frame_words == fit.verdict.frame_words
    # What a fit's predictions are beside is the verdict of another file.
    (saved / 'predictions.npz').write_bytes((saved / 'fit.npz').read_bytes())
    (saved / 'predictions.json').write_bytes((saved / 'fit.json').read_bytes())
    try:
        assert FitResult.load(saved / 'predictions.npz').verdict is None
    finally:
        for name in ('predictions.npz', 'predictions.json'):
            (saved / name).unlink()


def test_an_older_file_has_no_origin_and_loads(saved, fit, tmp_path):
    path = fit.save(tmp_path / 'fit.npz')
    document = json.loads(path.with_suffix('.json').read_text())
    del document['origin']
    path.with_suffix('.json').write_text(json.dumps(document))
    back = FitResult.load(path)
    assert (back.origin, back.session, back.fps, back.unit) == (None, None, None, 'mm')


def test_points_in_space(out, seen):
    points = read_points3d(out / 'points3d.h5', seen.keypoint_names)
    np.testing.assert_allclose(points, seen.xyz)
    assert np.isnan(points[2]).all()
    table = read_points(out / 'anipose.csv')
    assert table.names == seen.keypoint_names
    np.testing.assert_allclose(table.xyz, np.nan_to_num(seen.xyz), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(table.confidence, seen.score3d)
    plain = pandas.read_csv(out / 'anipose.csv')
    ends = ('x', 'y', 'z', 'error', 'ncams', 'score')
    axes = [f'M_{i}{j}' for i in range(3) for j in range(3)] + [f'center_{i}' for i in range(3)] + ['fnum']
    assert list(plain.columns) == [f'{n}_{e}' for n in seen.keypoint_names for e in ends] + axes


def test_points_in_images(out, seen, fit):
    xy, score = seen.points2d
    cameras = read_calibration(out / 'calibration.toml')
    result, _, _ = cameras.project(fit.keypoints3d.xyz.double())
    valid = score > 0
    np.testing.assert_allclose(result.numpy()[valid], xy[valid], atol=1e-6)
    assert valid[[0, 1, 3, 4, 5]].any()
    assert not valid[2].any()
    read = read_reprojections(out / 'reprojections.h5', cameras.names, seen.keypoint_names)
    np.testing.assert_allclose(read, xy)
    for c, name in enumerate(cameras.names):
        labels = sleap_io.load_slp(str(out / 'slp' / name / f'{name}.slp'), open_videos=False)
        assert labels.skeleton.node_names == list(seen.keypoint_names)
        for frame in labels:
            np.testing.assert_allclose(frame.instances[0].numpy(), xy[frame.frame_idx, c], atol=1e-4)
        table = pandas.read_csv(out / 'dlc' / f'{name}.csv', header=[0, 1, 2], index_col=0)
        assert table.columns.names == ['scorer', 'bodyparts', 'coords']
        values = np.concatenate((xy[:, c], score[:, c, :, None]), -1).reshape(T, -1)
        np.testing.assert_allclose(table.to_numpy(float), values)
        assert table.index.tolist() == list(range(T))
        frame = read_pandas_table(out / 'dlc' / f'{name}.h5')
        assert [tuple(column) for column in table.columns] == list(frame.columns)
        np.testing.assert_allclose(frame.values, values)
        if find_spec('tables') is not None:
            pandas.testing.assert_frame_equal(
                pandas.read_hdf(out / 'dlc' / f'{name}.h5'), table, check_names=False
            )
    labels = sleap_io.load_dlc(str(out / 'dlc' / 'back.csv'))
    assert set(labels.skeleton.node_names) == set(seen.keypoint_names)


def test_labels_and_calibration_are_a_session_again(out, seen, tmp_path):
    folder = tmp_path / 'session_1'
    for c in ('back', 'mid', 'top'):
        (folder / c).mkdir(parents=True)
        (folder / c / f'{c}.slp').write_bytes((out / 'slp' / c / f'{c}.slp').read_bytes())
        writer = cv2.VideoWriter(
            str(folder / c / f'{c}.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25, (160, 128)
        )
        for _ in range(T):
            writer.write(np.zeros((128, 160, 3), np.uint8))
        writer.release()
    for name, source in (('calibration.toml', out / 'slp'), ('points3d.h5', out), ('reprojections.h5', out)):
        (folder / name).write_bytes((source / name).read_bytes())
    session = SleapSession(folder)
    result, (xy, score) = session.keypoints2d(), seen.points2d
    assert result.names == seen.keypoint_names
    np.testing.assert_array_equal(result.visible.numpy(), score > 0)
    np.testing.assert_allclose(result.xy.numpy(), np.nan_to_num(xy), atol=1e-4)
    np.testing.assert_allclose(session.keypoints3d().xyz.numpy(), np.nan_to_num(seen.xyz))
    again = SleapSession(folder, use_reprojections=True).keypoints2d()
    np.testing.assert_allclose(again.xy.numpy(), np.nan_to_num(xy))


@pytest.mark.filterwarnings('ignore')
def test_nwb_is_read_by_pynwb(out, seen):
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(out / 'pose.nwb'), 'r') as io:
        module = io.read().processing['behavior']
        pose = module['pose_3d']
        assert list(pose.skeleton.nodes[:]) == list(seen.keypoint_names)
        for k, name in enumerate(seen.keypoint_names):
            series = pose.pose_estimation_series[name]
            np.testing.assert_allclose(series.data[:], seen.xyz[:, k])
            np.testing.assert_allclose(series.timestamps[:], np.arange(T) / FPS)
            assert series.unit == 'mm'
            flat = module['pose_2d_mid'].pose_estimation_series[name]
            np.testing.assert_allclose(flat.data[:], seen.points2d[0][:, 1, k])


def test_tables(out, fit):
    angles = pandas.read_csv(out / 'joint_angles.csv')
    knee = fit.body.joint_names[3]
    wanted = np.degrees(fit.params.body_pose[:, 2].numpy())
    np.testing.assert_allclose(angles[[f'{knee}_{a}_deg' for a in 'xyz']], wanted, rtol=1e-4, atol=1e-3)
    assert angles['valid'].tolist() == [1, 1, 0, 1, 1, 1]
    assert (angles[f'{knee}_twist_sd_deg'].dropna() > 0).all()
    bones = pandas.read_csv(out / 'bone_lengths.csv').set_index('bone')
    with torch.no_grad():
        joints = fit.body(fit.params[[0]], ('joints',)).joints[0]
    parent = int(fit.body.data.parents[3])
    assert bones.loc[knee, 'length_mm'] == pytest.approx(float((joints[3] - joints[parent]).norm()), rel=1e-4)
    frames = pandas.read_csv(out / 'frames.csv')
    assert frames['verdict'].tolist() == list(fit.verdict.frame_words)
    assert (out / 'bad_frames.txt').read_text().split() == ['2', '4']


def test_what_is_there_is_not_made_again(saved, out, capsys):
    before = (out / 'points3d.h5').stat().st_mtime_ns
    assert (
        main(['export', str(saved / 'fit.npz'), '--to', 'points3d', '--out', str(out), '--every', '3']) == 0
    )
    assert (out / 'points3d.h5').stat().st_mtime_ns == before
    assert 'points3d.h5' in capsys.readouterr().out


def test_several_sessions_have_folders_of_their_own(saved, tmp_path):
    done = export_fit(saved.parent, ['frames'], tmp_path)
    assert [one.folder for one in done] == [tmp_path / 'session_1']


def test_errors(saved, fit, tmp_path):
    with pytest.raises(UnknownNameError, match='points3d'):
        export_fit(saved, ['points3'], tmp_path)
    with pytest.raises(FileNotFoundError, match='smilfit fit'):
        find_fits(tmp_path)
    with pytest.raises(ValueError, match='must be the one of the fit'):
        export_fit(saved, ['glb'], tmp_path, body_model='insect')
    origin = dataclasses.replace(fit.origin, fps=None, body_model_file=None)
    bare = dataclasses.replace(fit, origin=origin).save(tmp_path / 'bare' / 'fit.npz')
    with pytest.raises(ValueError, match='--body-model'):
        export_fit(bare, ['glb'], tmp_path / 'a')
    with pytest.raises(ValueError, match='--fps'):
        export_fit(bare, ['nwb'], tmp_path / 'b')
    (done,) = export_fit(bare, ['all'], tmp_path / 'c', body_model='quadruped', fps=10.0)
    assert not done.left_out


def test_single_images_have_no_clip(saved, fit):
    labels = tuple(f'image_{t}.png' for t in range(T))
    shown = dataclasses.replace(load_export(saved / 'fit.npz'), labels=labels)
    reasons = {name: exporter(name).why_not(shown) for name in formats()}
    in_time = {'points3d', 'anipose', 'slp', 'reprojections', 'nwb', 'glb', 'bvh'}
    assert {n for n, why in reasons.items() if why} == in_time
    assert 'single images' in reasons['glb']


def test_an_image_of_another_skin_is_left_out_and_told(saved, fit, tmp_path, caplog):
    model = save_body_model(fit.body.data, tmp_path / 'animal.smil.json')
    assert load_export(saved / 'fit.npz', body_model=model).skin is None
    image = np.frombuffer(cv2.imencode('.png', np.zeros((4, 4, 3), np.uint8))[1], np.uint8)
    n_vertices = fit.body.data.n_vertices
    np.savez(tmp_path / 'animal.texture.npz', image=image, uv=np.zeros((n_vertices, 2)))
    assert load_export(saved / 'fit.npz', body_model=model).skin.data == image.tobytes()
    assert not caplog.text
    np.savez(tmp_path / 'animal.texture.npz', image=image, uv=np.zeros((n_vertices - 1, 2)))
    assert load_export(saved / 'fit.npz', body_model=model).skin is None
    assert 'Import the rig again. The animation has no image of the skin.' in caplog.text
