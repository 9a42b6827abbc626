"""A network adapted to a recording of which some frames are labelled: it finds the others; wrong labels show."""

import cv2
import numpy as np
import pytest
import torch

from smilfit.apis import SourceOptions, adapt, infer
from smilfit.apis.infer_options import InferenceOutputs
from smilfit.cli.main import main
from smilfit.drawing.video import write_image
from smilfit.evaluation.verdict import GOOD, NOT_BELIEVABLE
from smilfit.io import ImageMask, read_labels, write_calibration, write_slp
from smilfit.networks.engine import load_trained_regressor
from smilfit.networks.inference.predictions import read_predictions
from smilfit.networks.video.adaptation import FrameLabels
from smilfit.networks.video.held_out import HeldOut, folds, judged_labels, sides_exchanged
from smilfit.networks.video.tracking import windows
from smilfit.registry import UnknownNameError
from tests.apis.inference_session import CAMERAS, toy_rig, write_video
from tests.networks.video.moving_animal import FRAMES, LABELLED, blob, drawn, places, walking
from tests.toy_experiment import train_keypoints
from tests.toy_samples import JOINT_NAMES

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A network that has learned nothing of what the videos show."""
    folder = tmp_path_factory.mktemp('run')
    train_keypoints(folder, side=64, noise={'type': 'ImageNoise', 'erase': 0.0})
    return folder / 'work' / 'epoch_1.pth'


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """A video of coloured joints that move, and labels of some frames."""
    folder = tmp_path_factory.mktemp('recorded')
    video = write_video(folder / 'animal.mp4', [drawn(xy) for xy in places()])
    labels = np.full((FRAMES, 5, 2), np.nan)
    labels[LABELLED] = places()[LABELLED]
    write_slp(folder / 'animal.slp', labels, JOINT_NAMES, video)
    return video, folder / 'animal.slp', labels


def adapted_run(checkpoint, video, labels, out, **changes):
    given = {'steps': 150, 'lr': 3e-3, 'device': 'cpu', 'outputs': InferenceOutputs(animation=False)}
    return adapt(checkpoint, video, labels, out, **given | changes)


def test_what_was_not_labelled_is_found_and_the_network_is_kept(checkpoint, recording, tmp_path):
    video, labels, _ = recording
    run = adapted_run(checkpoint, video, labels, tmp_path, comparison=True, held_out=False, steps=250)
    others = np.setdiff1d(np.arange(FRAMES), LABELLED)
    found = read_labels(tmp_path / 'paths' / 'camera.slp').xy
    off = np.linalg.norm(found - places(), axis=-1)[others]
    lines = np.stack(
        [[np.interp(others, LABELLED, places()[LABELLED, k, i]) for i in range(2)] for k in range(5)]
    ).transpose(2, 0, 1)
    between = np.linalg.norm(lines - places()[others], axis=-1)
    assert np.median(off) < 0.5 * np.median(between)
    # What the body is fitted to are the paths.
    predictions, _ = read_predictions(run.inference.file)
    np.testing.assert_allclose(predictions.further['seen2d'][:, 0], found, atol=1e-3)
    # A labelled place is where the label is.
    assert np.linalg.norm(found - places(), axis=-1)[LABELLED].max() < 1
    # The network by itself, of another call.
    (alone,) = infer(run.checkpoint, video, tmp_path / 'alone', device='cpu', least_confidence=0.0)
    seen = alone.predictions.further['seen2d'][:, 0]
    assert np.median(np.linalg.norm(seen - places(), axis=-1)[others]) < np.median(between)
    assert load_trained_regressor(checkpoint).model.keypoint_names == JOINT_NAMES
    capture = cv2.VideoCapture(str(tmp_path / 'comparison' / 'camera.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 3 * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)


def test_masks_of_some_frames_become_masks_of_all(checkpoint, recording, tmp_path, caplog):
    _, labels, _ = recording
    video = write_video(tmp_path / 'blob.mp4', [walking(t) for t in range(FRAMES)])
    for t in (3, 12, 21, 30, 38):
        mask = np.repeat(255 * blob(t)[..., None].astype(np.uint8), 3, -1)
        (tmp_path / 'few' / 'camera').mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / 'few' / 'camera' / f'{t:06d}.png', mask)
    # Of no frame.
    write_image(tmp_path / 'few' / 'camera' / '000999.png', mask)
    given = {'steps': 2, 'held_out': False, 'masks': tmp_path / 'few'}
    adapted_run(checkpoint, video, labels, tmp_path / 'out', **given)
    files = sorted((tmp_path / 'out' / 'masks' / 'camera').glob('*.png'))
    assert [int(p.stem) for p in files] == list(range(FRAMES))
    assert '5 of 6 masks are used' in caplog.text
    found = ImageMask(files[16]).read()
    assert (found & blob(16)).sum() / (found | blob(16)).sum() > 0.8
    with pytest.raises(ValueError, match='must not be one of the inputs'):
        adapted_run(
            checkpoint, video, labels, tmp_path / 'out', **given | {'masks': tmp_path / 'out' / 'masks'}
        )
    with pytest.raises(FileNotFoundError, match='masks must be in a folder'):
        adapted_run(checkpoint, video, labels, tmp_path / 'out', **given | {'masks': tmp_path / 'none'})


def test_equal_work_is_not_done_twice(checkpoint, recording, tmp_path):
    video, labels, _ = recording
    told = []
    given = {'steps': 3, 'held_out': False}
    adapted_run(checkpoint, video, labels, tmp_path, **given, progress=lambda p: told.append(p.task))
    assert any('adapting' in task for task in told)
    told.clear()
    run = adapted_run(checkpoint, video, labels, tmp_path, **given, progress=lambda p: told.append(p.task))
    assert not told
    assert run.labels is None
    # What is asked for later is made then, without training again.
    told.clear()
    given['comparison'] = True
    adapted_run(checkpoint, video, labels, tmp_path, **given, progress=lambda p: told.append(p.task))
    assert (tmp_path / 'comparison' / 'camera.mp4').is_file()
    assert not any('adapting' in task for task in told)


def test_right_labels_are_good_and_those_of_other_frames_not_believable(checkpoint, recording, tmp_path):
    video, _, _ = recording
    labelled, order = np.arange(1, FRAMES, 4), np.random.default_rng(0)
    for name, rows in (('right', labelled), ('wrong', order.permutation(labelled))):
        labels = np.full((FRAMES, 5, 2), np.nan)
        labels[labelled] = places()[rows]
        write_slp(tmp_path / f'{name}.slp', labels, JOINT_NAMES, video)
    for path, code in ((tmp_path / 'right.slp', 0), (tmp_path / 'wrong.slp', 3)):
        given = ['adapt', str(checkpoint), str(video), str(path), '--out', str(tmp_path / path.stem)]
        given += ['--steps', '300', '--lr', '3e-3', '--no-animation', '--refine', '', '--device', 'cpu']
        assert main(given) == code, path


def test_cameras_meet_in_space(checkpoint, tmp_path):
    rig = toy_rig()
    points = np.random.default_rng(0).normal(0, 0.8, (5, 3)) + np.linspace(0, 0.5, 8)[:, None, None]
    pixels = rig.project(torch.from_numpy(points))[0].numpy()
    for c, name in enumerate(CAMERAS):
        video = write_video(tmp_path / 's' / name / f'{name}.mp4', [drawn(xy, 64) for xy in pixels[:, c]])
        labels = np.full((8, 5, 2), np.nan)
        labels[[1, 4, 6]] = pixels[[1, 4, 6], c]
        write_slp(tmp_path / 'labels' / f'{name}.slp', labels, JOINT_NAMES, video)
    write_calibration(tmp_path / 's' / 'calibration.toml', rig)
    run = adapted_run(
        checkpoint, tmp_path / 's', tmp_path / 'labels', tmp_path / 'out', held_out=False,
        outputs=InferenceOutputs(animation=False, labels=False),
    )  # fmt: skip
    off = np.linalg.norm(run.inference.predictions.further['seen2d'] - pixels, axis=-1)
    assert np.median(off) < 2
    assert sorted(p.name for p in (tmp_path / 'out' / 'paths').iterdir()) == [
        f'{n}.slp' for n in sorted(CAMERAS)
    ]


def test_bad_input_is_named(checkpoint, recording, tmp_path):
    video, labels, _ = recording
    given = {'steps': 1, 'held_out': False}

    def refused(kind, match, annotations=labels, source=video, **more):
        with pytest.raises(kind, match=match):
            adapted_run(checkpoint, source, annotations, tmp_path / 'out', **given, **more)

    nothing = np.full((FRAMES, 5, 2), np.nan)
    nothing[3, :2] = 5.0
    write_slp(tmp_path / 'few.slp', nothing, JOINT_NAMES, video)
    refused(ValueError, 'at least one frame must have 4 labelled keypoints', tmp_path / 'few.slp')
    longer = np.full((FRAMES + 20, 5, 2), 5.0)
    write_slp(tmp_path / 'longer.slp', longer, JOINT_NAMES, video)
    refused(ValueError, f'must be of the video, which has {FRAMES}', tmp_path / 'longer.slp')
    write_slp(tmp_path / 'other.slp', longer[:9], ('a', 'b', 'c', 'd', 'head'), video)
    refused(ValueError, '1 of a, b, c, d, head are. Name the others by --keypoints', tmp_path / 'other.slp')
    refused(UnknownNameError, "no keypoint 'x' is labelled", keypoints={'x': 'head'})
    refused(UnknownNameError, "no keypoint 'x' of the network", keypoints={'head': 'x'})
    refused(FileNotFoundError, 'the labels must exist', tmp_path / 'none.slp')
    (tmp_path / 'empty').mkdir()
    refused(FileNotFoundError, 'must hold a file of labels', tmp_path / 'empty')
    one = np.full((FRAMES, 5, 2), np.nan)
    one[3] = places()[3]
    write_slp(tmp_path / 'one.slp', one, JOINT_NAMES, video)
    # One labelled frame teaches, and nothing can be left out.
    run = adapted_run(
        checkpoint, video, tmp_path / 'one.slp', tmp_path / 'of_one', steps=2, sources=SourceOptions()
    )
    assert run.labels is None


def test_windows_cover_a_recording_once():
    for n in (2, 256, 257, 500, 1000):
        parts = windows(n)
        assert [a for _, asked in parts for a in range(asked.start, asked.stop)] == list(range(n))
        assert all(rows.start <= asked.start < asked.stop <= rows.stop for rows, asked in parts)
        assert all(rows.stop - rows.start <= 256 for rows, _ in parts)
        # Inner ends are far from where frames are asked about.
        assert all(a[0].stop - a[1].stop >= 16 for a in parts[:-1])


def test_sides_that_change_between_labels_are_named():
    rng = np.random.default_rng(0)
    labels = FrameLabels(rng.uniform(0, 100, (8, 5, 2)), np.ones((8, 5), np.bool_), np.arange(8.0))
    swap, every = [0, 2, 1, 4, 3], np.arange(8)
    right = [HeldOut.of(labels, every, labels.xy)]
    xy, known = labels.xy / labels.size_px, labels.known
    seen = xy + rng.normal(0, 0.02, xy.shape)
    exchanged, of = sides_exchanged(seen, xy, known, swap)
    assert (exchanged, of) == (0, 8)
    assert judged_labels(right, exchanged, of).word == GOOD
    xy[::2] = xy[::2][:, swap]
    exchanged, of = sides_exchanged(seen, xy, known, swap)
    assert (exchanged, of) == (4, 8)
    verdict = judged_labels(right, exchanged, of)
    assert verdict.word == NOT_BELIEVABLE
    assert 'left and right the other way round' in verdict.reasons[0]
    # What the network does not see tells nothing, and neither do sides at one place.
    assert sides_exchanged(seen + 5, xy, known, swap) == (0, 0)
    assert sides_exchanged(np.zeros_like(xy), np.zeros_like(xy), known, swap) == (0, 0)
    assert judged_labels(right, 1, 2).word == GOOD
    # Labels that are missed by far are named, too.
    missed = [HeldOut.of(labels, every, labels.xy + 500)]
    assert judged_labels(missed, 0, 8).word == NOT_BELIEVABLE
    assert [t.tolist() for t in folds(np.arange(6))] == [[0, 4], [1, 5], [2], [3]]
    assert folds(np.arange(1)) == []
