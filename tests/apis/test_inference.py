"""A trained regressor on raw videos: what comes out is what the network says, frame by frame."""

import json
import os
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from smilfit.apis import FrameOptions, SourceOptions, infer
from smilfit.datasets import LabelBoxes, PreprocessOptions, preprocess
from smilfit.datasets.image_session import guessed_intrinsics
from smilfit.files import BadFileError
from smilfit.io import read_labels, write_calibration
from smilfit.io.recordings.synchronised_videos import RecordedFrame
from smilfit.networks.engine import load_trained_regressor
from smilfit.networks.engine.plain_values import model_of_checkpoint
from smilfit.networks.inference.infer import check_camera_names
from smilfit.networks.inference.predictions import read_predictions
from smilfit.networks.inference.sources import open_recordings
from smilfit.networks.training_set import DatasetNames
from smilfit.registry import UnknownNameError
from smilfit.structures import FitResult
from tests.apis.inference_session import (
    CAMERAS,
    PIXELS,
    stop_at,
    toy_rig,
    train_toy,
    write_toy_session,
    write_video,
)
from tests.datasets.blob_session import BlobSession, make_body
from tests.toy_experiment import experiment
from tests.toy_samples import JOINT_NAMES, ring_cameras

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp('toy'))


@pytest.fixture(scope='module')
def session(tmp_path_factory):
    return write_toy_session(tmp_path_factory.mktemp('recorded') / 'toy_session')


SOURCES = SourceOptions(side=64)
FRAMES = FrameOptions(batch_size=3, block_size=4)


def _infer(checkpoint, source, out, **changes):
    given = {'sources': SOURCES, 'frames': FRAMES, 'device': 'cpu'} | changes
    (run,) = infer(checkpoint, source, out, **given)
    return run


def test_a_session_is_predicted_as_its_network_says(checkpoint, session, tmp_path):
    run = _infer(checkpoint, session, tmp_path / 'out')
    result = run.predictions
    assert result.valid.all()
    assert result.frames.tolist() == list(range(10))
    trained = load_trained_regressor(checkpoint)
    # The same images by hand: whole frames of 64 px are stored as they are.
    captures = [cv2.VideoCapture(str(session / name / f'{name}.mp4')) for name in CAMERAS]
    images = np.stack([capture.read()[1][..., ::-1].transpose(2, 0, 1) for capture in captures])
    sample = {
        'image': torch.from_numpy(images.copy()),
        'view_mask': torch.ones(3, dtype=torch.bool),
        **ring_cameras(3, 64),
    }
    (wanted,) = trained.model.test_step({'inputs': default_collate([sample]), 'data_samples': {}})
    torch.testing.assert_close(
        torch.from_numpy(result.keypoints3d[0]).float(), wanted['keypoints3d'], atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        torch.from_numpy(result.keypoints2d[0]).float(), wanted['keypoints2d'], atol=1e-2, rtol=1e-4
    )
    # The file is a fit's, from which a fit may start.
    fit = FitResult.load(run.file, body=trained.body)
    torch.testing.assert_close(fit.params.transl[0], wanted['params']['transl'], atol=1e-4, rtol=1e-4)
    assert fit.recorded_cameras.names == CAMERAS
    again, _ = read_predictions(run.file)
    for name, value in result.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)
    assert len((tmp_path / 'out' / 'joint_angles.csv').read_text().splitlines()) == 11


def test_blocks_and_batches_change_nothing(checkpoint, session, tmp_path):
    one = _infer(checkpoint, session, tmp_path / 'one').predictions
    other = _infer(checkpoint, session, tmp_path / 'other', frames=FrameOptions(batch_size=10)).predictions
    np.testing.assert_allclose(one.keypoints3d, other.keypoints3d, atol=1e-4)


def test_frames_are_chosen(checkpoint, session, tmp_path):
    chosen = FrameOptions(start=1, every=3, max_frames=2)
    assert _infer(checkpoint, session, tmp_path / 'a', frames=chosen).predictions.frames.tolist() == [1, 4]
    with pytest.raises(ValueError, match='Give a smaller --start'):
        _infer(checkpoint, session, tmp_path / 'b', frames=FrameOptions(start=10))


def test_what_is_there_is_not_made_again(checkpoint, session, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    first = _infer(checkpoint, session, out).file.stat().st_mtime_ns
    assert _infer(checkpoint, session, out).file.stat().st_mtime_ns == first
    assert _infer(checkpoint, session, out, overwrite=True).file.stat().st_mtime_ns > first


def test_videos_of_different_length_are_named(checkpoint, tmp_path):
    folder = write_toy_session(tmp_path / 's', n_frames=6)
    stop_at(folder / 'right' / 'right.mp4', 4)
    with pytest.raises(ValueError, match=r'right \(right.mp4\): 4.*--common'):
        _infer(checkpoint, folder, tmp_path / 'out')
    run = _infer(checkpoint, folder, tmp_path / 'out', sources=SourceOptions(side=64, common=True))
    assert run.predictions.frames.tolist() == [0, 1, 2, 3]


def test_videos_of_different_rate_are_named(checkpoint, tmp_path):
    folder = write_toy_session(tmp_path / 's', n_frames=3)
    write_toy_session(tmp_path / 'slow', n_frames=3, fps=20.0)
    (tmp_path / 'slow' / 'top' / 'top.mp4').replace(folder / 'top' / 'top.mp4')
    with pytest.raises(ValueError, match=r'one frame rate; got .*top \(top.mp4\): 20'):
        _infer(checkpoint, folder, tmp_path / 'out')


def _killed_in_the_middle(*arguments, **changes) -> int:
    """Call in a child that kills itself, as by kill -9, when it has told of 6 frames; gives how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def kill(step):
        if step.done >= 6:
            os.kill(os.getpid(), signal.SIGKILL)

    _infer(*arguments, progress=kill, **changes)
    os._exit(0)


def test_a_killed_run_goes_on_after_its_last_whole_block(checkpoint, session, tmp_path, caplog):
    out = tmp_path / 'out'
    assert _killed_in_the_middle(checkpoint, session, out) == -signal.SIGKILL
    assert [path.name for path in sorted((out / 'blocks').glob('[0-9]*.npz'))] == ['000000.npz']
    assert not (out / 'predictions.npz').exists()
    first = (out / 'blocks' / '000000.npz').stat().st_mtime_ns
    (out / 'blocks' / '000000.npz').touch()
    notes = []
    with caplog.at_level('INFO', 'smilfit'):
        run = _infer(checkpoint, session, out, progress=notes.append)
    assert first
    assert '4 of 10 frames are predicted already' in caplog.text
    assert notes[0].done == 4
    assert notes[-1].done == notes[-1].total == 10
    assert not (out / 'blocks').exists()
    whole = _infer(checkpoint, session, tmp_path / 'whole').predictions
    np.testing.assert_array_equal(run.predictions.keypoints3d, whole.keypoints3d)


def test_blocks_of_another_run_are_not_believed(checkpoint, session, tmp_path):
    out = tmp_path / 'out'
    _killed_in_the_middle(checkpoint, session, out)
    notes = []
    other = SourceOptions(side=32)
    _infer(checkpoint, session, out, sources=other, progress=notes.append)
    assert notes[0].done == 0


def test_a_damaged_frame_is_told_and_its_moment_keeps_its_place(checkpoint, tmp_path):
    # In files of this kind a frame that does not decode is left out by the decoder: its timestamp tells.
    folder = write_toy_session(tmp_path / 's', n_frames=40)
    for name in CAMERAS:
        path = folder / name / f'{name}.mp4'
        data = bytearray(path.read_bytes())
        at = len(data) // 2
        data[at : at + 800] = np.random.default_rng(0).integers(0, 256, 800, np.uint8).tobytes()
        path.write_bytes(data)
    run = _infer(checkpoint, folder, tmp_path / 'out')
    result = run.predictions
    lost = np.flatnonzero(~result.valid)
    assert 0 < len(lost) < 30
    assert result.valid[[0, 39]].all()
    assert run.report['frames_not_predicted'] == {'no view has an image (the frame is damaged)': len(lost)}
    assert all(np.isfinite(value).all() for value in result.arrays().values() if value.dtype.kind == 'f')
    assert (result.confidence3d[lost] == 0).all()
    assert (result.confidence2d[lost] == 0).all()
    assert FitResult.load(run.file).converged.tolist() == result.valid.tolist()


def test_a_camera_that_the_recording_does_not_have_is_named_with_near_ones(
    checkpoint, session, tmp_path, monkeypatch
):
    with pytest.raises(UnknownNameError, match="no camera 'rigth'. Did you mean 'right'"):
        _infer(checkpoint, session, tmp_path / 'o', sources=SourceOptions(views=('rigth',)))
    with pytest.raises(UnknownNameError, match="no camera 'lef' recorded. Did you mean 'left'"):
        _infer(checkpoint, session, tmp_path / 'o', cameras={'lef': 'cam0'})
    with pytest.raises(UnknownNameError, match="no camera 'cam7' in the training"):
        _infer(checkpoint, session, tmp_path / 'o', cameras={'left': 'cam7'})
    trained = load_trained_regressor(checkpoint)
    # A model that knows cameras by name, as one with an embedding a camera would.
    monkeypatch.setattr(type(trained.model), 'camera_names', ('cam0', 'cam1'))
    with pytest.raises(UnknownNameError, match=r"does not know 'cam'. Did you mean 'cam\d'"):
        check_camera_names(('cam',), trained, {})
    assert check_camera_names(('cam',), trained, {'cam': 'cam1'}) == ('cam1',)


def test_views_are_chosen_and_one_is_enough(checkpoint, session, tmp_path):
    sources = SourceOptions(side=64, views=('top', 'left'))
    run = _infer(checkpoint, session, tmp_path / 'out', sources=sources)
    assert run.predictions.keypoints2d.shape[1] == 2
    assert FitResult.load(run.file).recorded_cameras.names == ('top', 'left')
    single = _infer(checkpoint, session / 'left' / 'left.mp4', tmp_path / 'single')
    assert single.predictions.valid.all()
    assert single.predictions.view_mask.shape[1] == 1


def test_a_folder_of_images_with_one_that_is_none(checkpoint, session, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    capture = cv2.VideoCapture(str(session / 'left' / 'left.mp4'))
    for i in range(3):
        cv2.imwrite(str(folder / f'{9 + i}.png'), capture.read()[1])
    (folder / '10.png').write_bytes(b'no image')
    run = _infer(checkpoint, folder, tmp_path / 'out', fps=10.0)
    assert run.predictions.valid.tolist() == [True, False, True]
    assert 'the image does not decode' in run.predictions.reasons[1]


def test_images_of_several_sizes_are_recordings_of_their_own(checkpoint, session, tmp_path):
    """Each sees by the lens that preprocessing guesses for such images."""
    folder = tmp_path / 'images'
    folder.mkdir()
    image = cv2.VideoCapture(str(session / 'left' / 'left.mp4')).read()[1]
    for i, rows in enumerate((64, 48, 64)):
        cv2.imwrite(str(folder / f'{i}.png'), image[:rows])
    runs = infer(checkpoint, folder, tmp_path / 'out', sources=SOURCES, frames=FRAMES, device='cpu', fps=10.0)
    assert [len(run.predictions.valid) for run in runs] == [2, 1]
    assert all(run.predictions.valid.all() for run in runs)
    K = runs[1].predictions.camera_K[0, 0]
    # As the network corrects it, by little.
    np.testing.assert_allclose(K, guessed_intrinsics((64, 48)), rtol=0.01)


def test_images_of_another_animal_are_refused(tmp_path, caplog):
    """A network sees its own body in whatever it is shown."""
    recorded, path = BlobSession(), tmp_path / 'blobs.h5'
    preprocess([recorded], path, make_body(), PreprocessOptions(target_resolution=64, num_workers=0))
    trained = DatasetNames(
        keypoint_names=('root', 'wing', 'antenna'),
        body_model_file='a/insect.smil.json',
        body_model_hash='other',
    )
    with pytest.raises(ValueError, match=r'trained on, insect.smil.json; they are of .* have 1 of its 3'):
        open_recordings(path, SOURCES, trained, True)
    open_recordings(path, SOURCES, replace(trained, keypoint_names=('root', 'head', 'wing')), True)
    assert 'another body model' in caplog.text


@pytest.mark.parametrize(
    ('finds_boxes', 'why'), [(False, 'finds none by itself'), (True, 'never looked for it in whole images')]
)
def test_a_model_of_crops_alone_is_told_of(session, caplog, finds_boxes, why):
    names = DatasetNames(crop_mode='bbox_crop')
    open_recordings(session, SOURCES, names, finds_boxes)
    assert why in caplog.text
    caplog.clear()
    open_recordings(session, SOURCES, replace(names, crop_mode='default'), finds_boxes)
    assert 'boxes:' not in caplog.text


def test_a_camera_with_the_calibration_of_another_is_told_of(session, tmp_path, caplog):
    names = DatasetNames(keypoint_names=JOINT_NAMES, camera_names=CAMERAS)
    open_recordings(session, SOURCES, names, True)
    assert 'same place' not in caplog.text
    rig = toy_rig()
    twin = replace(rig, R=rig.R[[0, 1, 0]], t=rig.t[[0, 1, 0]])
    write_calibration(tmp_path / 'twin.toml', twin)
    open_recordings(session, replace(SOURCES, calibration=tmp_path / 'twin.toml'), names, True)
    assert 'cameras left and top stand at the same place' in caplog.text


def test_a_folder_of_folders_of_images_says_so(session, tmp_path):
    (tmp_path / 'first').mkdir()
    cv2.imwrite(str(tmp_path / 'first' / 'image.png'), np.zeros((8, 8, 3), np.uint8))
    names = DatasetNames(keypoint_names=JOINT_NAMES, camera_names=CAMERAS)
    with pytest.raises(FileNotFoundError, match='Images are in first'):
        open_recordings(tmp_path, SOURCES, names, True)


def test_boxes_of_labels_of_a_table_and_of_a_detector_agree(checkpoint, session, tmp_path):
    def places(boxes):
        sources = SourceOptions(side=64, boxes=boxes)
        return _infer(checkpoint, session, tmp_path / str(len(list(tmp_path.iterdir()))), sources=sources)

    of_labels = places('sleap').predictions
    finder = LabelBoxes({name: read_labels(session / name / f'{name}.slp').xy for name in CAMERAS})
    rows = ['frame,camera,x,y,side']
    for frame in range(10):
        for name, (x, y, side, _) in finder(RecordedFrame(frame, {}, {})).items():
            rows.append(f'{frame},{name},{x},{y},{side}')
    table = tmp_path / 'boxes.csv'
    table.write_text('\n'.join(rows))
    np.testing.assert_allclose(places(table).predictions.keypoints3d, of_labels.keypoints3d, atol=1e-5)
    np.testing.assert_allclose(places(finder).predictions.keypoints3d, of_labels.keypoints3d, atol=1e-5)
    whole = places('whole').predictions
    assert np.abs(whole.keypoints3d - of_labels.keypoints3d).max() > 1e-4
    with pytest.raises(UnknownNameError, match="--boxes: .* got 'Labelboxes'. Did you mean 'LabelBoxes'"):
        places('Labelboxes')
    table.write_text('\n'.join(rows[:5]))
    few = places(table)
    assert few.predictions.valid.tolist() == [True, True] + [False] * 8
    assert few.report['frames_not_predicted'] == {'no view has an image (no box)': 8}


def test_an_older_checkpoint_asks_for_its_config(checkpoint, session, tmp_path):
    stored = torch.load(checkpoint, weights_only=True)
    del stored['smilfit']['config']
    old = tmp_path / 'old.pth'
    torch.save(stored, old)
    with pytest.raises(ValueError, match='--config FILE'):
        _infer(old, session, tmp_path / 'out')
    config = tmp_path / 'toy.py'
    experiment(checkpoint.parents[1]).dump(config)
    run = _infer(old, session, tmp_path / 'out', config=config)
    fresh = _infer(checkpoint, session, tmp_path / 'fresh')
    np.testing.assert_array_equal(run.predictions.keypoints3d, fresh.predictions.keypoints3d)


def test_a_checkpoint_chooses_among_registered_names_only():
    text = json.dumps({'type': 'os.system', 'command': 'true'})
    with pytest.raises(BadFileError, match='registered names'):
        model_of_checkpoint('x.pth', text)
    cfg = {'type': 'A', 'b': [{'type': 'B', 'pretrained': True}]}
    for stored in (cfg, json.dumps(cfg)):
        kept = model_of_checkpoint('x.pth', stored)
        assert kept == {'type': 'A', 'b': [{'type': 'B', 'pretrained': False}]}


def resized_video(video, factors):
    capture, images = cv2.VideoCapture(str(video)), []
    while (read := capture.read())[0]:
        width, height = (round(f * PIXELS) for f in factors)
        images.append(cv2.resize(read[1], (width, height), interpolation=cv2.INTER_AREA)[..., ::-1])
    write_video(video, images)


def test_a_video_of_another_size_needs_a_word_and_one_factor(checkpoint, tmp_path):
    folder = write_toy_session(tmp_path / 'half', n_frames=3)
    resized_video(folder / 'left' / 'left.mp4', (0.5, 0.5))
    with pytest.raises(ValueError, match=r"'left' was calibrated with, 64x64 px; got 32x32, .* by --resize"):
        _infer(checkpoint, folder, tmp_path / 'out')
    names = load_trained_regressor(checkpoint).names
    (recording,) = open_recordings(folder, replace(SOURCES, resize=True), names, False)
    rig, changed = toy_rig(), recording.cameras
    assert changed.size.tolist() == [[32, 32], [64, 64], [64, 64]]
    points = torch.randn(4, 3, dtype=torch.float64) * 0.1
    before, after = rig.project(points)[0], changed.project(points)[0]
    # The corner of the image stays its corner: -1/2 px.
    torch.testing.assert_close(after[0] + 0.5, (before[0] + 0.5) / 2)
    torch.testing.assert_close(after[1:], before[1:])
    assert _infer(
        checkpoint, folder, tmp_path / 'out', sources=replace(SOURCES, resize=True)
    ).predictions.valid.all()
    resized_video(folder / 'left' / 'left.mp4', (0.5, 0.25))
    with pytest.raises(ValueError, match='32x16, which is not scaled by one factor'):
        _infer(checkpoint, folder, tmp_path / 'again', sources=replace(SOURCES, resize=True))
