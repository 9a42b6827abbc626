"""What inference writes beside its predictions opens elsewhere and says the same."""

import csv

import cv2
import numpy as np
import pytest
import torch
import trimesh

from smilfit.apis import FrameOptions, InferenceOutputs, SourceOptions, export_fit, infer
from smilfit.io import read_labels, read_reprojections
from smilfit.networks.engine import load_trained_regressor
from smilfit.networks.inference.predictions import read_predictions
from smilfit.registry import UnknownNameError
from tests.apis.inference_session import CAMERAS, train_toy, write_toy_session

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('outputs')
    checkpoint = train_toy(folder / 'toy')
    session = write_toy_session(folder / 'session', n_frames=6)
    return checkpoint, session, folder / 'out'


def _infer(made, **outputs):
    checkpoint, session, out = made
    (run,) = infer(
        checkpoint,
        session,
        out,
        sources=SourceOptions(side=64),
        frames=FrameOptions(every=2),
        outputs=InferenceOutputs(window_px=96, **outputs),
        device='cpu',
    )
    return run


def _frames(path):
    capture, images = cv2.VideoCapture(str(path)), []
    while (result := capture.read())[0]:
        images.append(result[1])
    return images, capture.get(cv2.CAP_PROP_FPS)


def test_labels_angles_meshes_and_animation(made):
    checkpoint, _, out = made
    run = _infer(made, meshes='glb', mesh_every=2)
    result, body = run.predictions, load_trained_regressor(checkpoint).body
    for c, name in enumerate(CAMERAS):
        labels = read_labels(out / 'labels' / f'{name}.slp')
        np.testing.assert_allclose(labels.xy[result.frames], result.keypoints2d[:, c], atol=1e-3)
        assert labels.labelled.tolist() == [True, False, True, False, True]
    rows = list(csv.DictReader((out / 'joint_angles.csv').open()))
    assert [row['frame'] for row in rows] == ['0', '2', '4']
    assert float(rows[1]['time_s']) == pytest.approx(2 / 25)
    wanted = np.degrees(result.params['body_pose'][1, 0, 0])
    assert float(rows[1][f'{body.joint_names[1]}_x_deg']) == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert sorted(path.name for path in (out / 'meshes').iterdir()) == ['000000.glb', '000004.glb']
    with torch.no_grad():
        vertices = body(result.body_params, ('vertices',)).vertices.numpy()
    mesh = trimesh.load(out / 'meshes' / '000004.glb', force='mesh', process=False)
    np.testing.assert_allclose(mesh.vertices, vertices[2], atol=1e-4)
    # The same from the files, by the command that takes fits too.
    (done,) = export_fit(out, ['all'], out.parent / 'exported')
    assert set(done.left_out) <= {'calibration'}
    assert (out.parent / 'exported' / 'joint_angles.csv').read_text() == (
        out / 'joint_angles.csv'
    ).read_text()
    pixels = read_reprojections(out.parent / 'exported' / 'reprojections.h5', CAMERAS, body.joint_names)
    np.testing.assert_allclose(pixels[result.frames], result.keypoints2d, atol=1e-3)
    scene = trimesh.load(out / 'animation.glb')
    assert next(iter(scene.geometry.values())).vertices.shape == vertices[0].shape


@pytest.mark.parametrize('style', ['overlay', 'side_by_side'])
def test_videos_play_and_show_the_body(made, style):
    *_, out = made
    _infer(made, video=style, view_videos=True, video_views=('top', 0))
    images, fps = _frames(out / f'{style}.mp4')
    assert len(images) == 3
    assert fps == pytest.approx(12.5)
    width = 96 * 2 * (2 if style == 'side_by_side' else 1)
    assert images[0].shape[1] == width
    single, _ = _frames(out / 'videos' / 'left.mp4')
    assert len(single) == 3
    assert not (out / 'videos' / 'right.mp4').exists()
    # Another style takes the place of the one before.
    assert len(list(out.glob('*.mp4'))) == 1


def test_smoothing_leaves_what_was_predicted_and_moves_the_rest(made):
    checkpoint, _, out = made
    bare = (out / 'joint_angles.csv').read_text()
    run = _infer(made, smoothing_s=0.1)
    raw, _ = read_predictions(run.file)
    smooth, fit = read_predictions(out / 'smoothed.npz')
    assert (out / 'joint_angles.csv').read_text() != bare
    assert fit.report['smoothing_s'] == 0.1
    assert np.abs(smooth.keypoints3d - raw.keypoints3d).max() > 1e-6
    # Points are those of the smoothed parameters.
    body = load_trained_regressor(checkpoint).body
    with torch.no_grad():
        joints = body(smooth.body_params, raw_names(fit)).select(raw_names(fit)).numpy()
    np.testing.assert_allclose(joints, smooth.keypoints3d, atol=1e-4)
    _infer(made)
    assert not (out / 'smoothed.npz').exists()


def raw_names(fit):
    return fit.keypoints3d.names


def test_unknown_views_and_formats_are_named(made):
    with pytest.raises(UnknownNameError, match="no camera 'tpo'. Did you mean 'top'"):
        _infer(made, video='overlay', video_views=('tpo',))
    with pytest.raises(ValueError, match='must be below 3; got 3'):
        _infer(made, video='overlay', video_views=(3,))
    with pytest.raises(UnknownNameError, match="'stl'"):
        InferenceOutputs(meshes='stl')
