"""Several animals from the command line's call to the files: each has its own, and labels and videos have all."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis import FrameOptions, InferenceOutputs, SourceOptions, infer
from smilfit.files import MadeOf
from smilfit.io import read_labels, read_track_names
from smilfit.networks.engine import build_train_runner, load_trained_regressor
from smilfit.networks.inference.prediction_files import PredictedRecording
from smilfit.networks.inference.predictions import Predictions, read_predictions
from smilfit.networks.inference.recorded_animals import AnimalCount, AnimalsFolder, parted
from smilfit.networks.inference.sources import open_recordings
from tests.apis.inference_session import CAMERAS, train_toy, write_toy_session
from tests.toy_experiment import experiment, keypoint_model

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')
N_FRAMES, K = 6, 3


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A network that learnt for a moment and takes every peak for an animal: what it says does not matter here."""
    folder = tmp_path_factory.mktemp('toy')
    cfg = experiment(folder, **{'train_cfg.max_epochs': 1})
    cfg.model = keypoint_model(
        cfg.model.body_model,
        backbone={'type': 'SmallUNet', 'widths': (16, 16, 24, 24), 'fine_dim': 16},
        heatmap_head={'type': 'KeypointHeatmapHead', 'stride': 2, 'centre': True},
        lifter={'type': 'PointLifter', 'sampler': {'type': 'PoseSampler'}, 'dim': 64, 'n_blocks': 1},
        augment={'type': 'CropAugment', 'side': 64, 'mirror': 0.0},
        search={'type': 'AnimalSearch', 'least': 1e-6, 'gate': 0.9},
        lifter_samples=8,
    )
    cfg.custom_hooks = []
    build_train_runner(cfg, device='cpu').train()
    return folder / 'work' / 'epoch_1.pth'


@pytest.fixture(scope='module')
def session(tmp_path_factory):
    return write_toy_session(tmp_path_factory.mktemp('recorded') / 'toy_session', N_FRAMES)


def _infer(checkpoint, session, out, animals=2, fps=None, **outputs):
    return infer(
        checkpoint,
        session,
        out,
        sources=SourceOptions(side=64),
        frames=FrameOptions(batch_size=4, block_size=4),
        outputs=InferenceOutputs(**outputs),
        animals=animals,
        fps=fps,
        device='cpu',
    )


def test_each_animal_has_a_folder_and_what_shows_all_lies_above(checkpoint, session, tmp_path):
    out = tmp_path / 'out'
    runs = _infer(checkpoint, session, out, video='overlay', window_px=64)
    names = [f'animal_{i}' for i in range(len(runs))]
    assert [run.name for run in runs] == [f'toy_session/{name}' for name in names]
    for run, name in zip(runs, names):
        assert run.file == out / name / 'predictions.npz'
        again, _ = read_predictions(run.file)
        assert again.frames.tolist() == list(range(N_FRAMES))
        assert run.identities['frames'] == int(again.valid.sum())
        for file in ('joint_angles.csv', 'animation.glb'):
            assert (out / name / file).is_file()
        assert not (out / name / 'labels').exists()
    notes = json.loads((out / 'animals.json').read_text())
    assert notes['asked'] == 2
    assert len(notes['animals']) == len(runs)
    assert read_track_names(out / 'labels' / f'{CAMERAS[0]}.slp') == tuple(names)
    assert (out / 'overlay.mp4').is_file()
    times = [run.file.stat().st_mtime_ns for run in runs]
    again = _infer(checkpoint, session, out)
    assert [run.file.stat().st_mtime_ns for run in again] == times
    # Who is who depends on the time between frames.
    slower = _infer(checkpoint, session, out, fps=5.0)
    assert not {run.file.stat().st_mtime_ns for run in slower} & set(times)
    # One animal alone in the same folder leaves nothing of several.
    (alone,) = _infer(checkpoint, session, out, animals=None)
    assert alone.file == out / 'predictions.npz'
    assert not [*out.glob('animal_*/predictions.npz'), *out.glob('animals.json')]


def test_labels_and_videos_show_all_animals(checkpoint, session, tmp_path):
    trained = load_trained_regressor(checkpoint)
    (recording,) = open_recordings(session, SourceOptions(side=64), trained.names, True)
    (first, *_) = _infer(checkpoint, session, tmp_path / 'out')
    whole = replace(first.predictions, valid=np.ones(N_FRAMES, bool), confidence2d=np.ones((N_FRAMES, 3, 5)))
    moved = replace(whole, keypoints2d=whole.keypoints2d + 5.0)
    _, fit = read_predictions(first.file, trained.body)
    made = [PredictedRecording(recording, trained, one, fit, 25.0) for one in (whole, moved)]
    together = AnimalsFolder(tmp_path / 'both')
    together.show(made, InferenceOutputs(video='overlay', view_videos=True, window_px=64), {})
    for camera in CAMERAS:
        path = tmp_path / 'both' / 'labels' / f'{camera}.slp'
        one, other = (read_labels(path, f'animal_{i}') for i in (0, 1))
        np.testing.assert_allclose(other.xy - one.xy, 5.0, atol=1e-6)
        assert (tmp_path / 'both' / 'videos' / f'{camera}.mp4').is_file()


def test_a_former_run_with_more_animals_leaves_nothing(tmp_path):
    together, made_of = AnimalsFolder(tmp_path), MadeOf({}, {})
    for place in range(3):
        with together.animal(place).make('predictions', made_of) as staging:
            (staging / 'predictions.npz').write_bytes(b'x')
    together.keep(made_of, {'animals': [{}, {}, {}]}, 3)
    assert together.holds(made_of)
    together.keep(made_of, {'animals': [{}]}, 1)
    assert list(together.animals()) == ['animal_0']
    assert [path.parent.name for path in tmp_path.glob('animal_*/predictions.npz')] == ['animal_0']
    together.drop()
    assert not [path for path in tmp_path.rglob('*') if path.name in ('predictions.npz', 'animals.json')]


def test_a_model_without_a_map_of_centres_is_refused(session, tmp_path):
    with pytest.raises(ValueError, match='keypoint_several'):
        _infer(train_toy(tmp_path), session, tmp_path / 'out')


@pytest.mark.parametrize('said', ['0', 'two', -1])
def test_a_number_that_is_none_is_refused(said):
    with pytest.raises(ValueError, match="a number from 1 on, or 'auto'"):
        AnimalCount.of(said)


def _rows(places, there):
    """Rows of places (T, S, 3), as a predictor gives them."""
    T, S = there.shape
    n = T * S
    eye = np.tile(np.eye(3), (n, 2, 1, 1))
    valid = there.reshape(-1)
    points = places.reshape(n, 1, 3) + np.zeros((n, K, 3))
    return Predictions(
        frames=np.repeat(np.arange(T) * 2, S),
        valid=valid,
        reasons=tuple('' if v else 'no animal was found' for v in valid),
        params={'transl': points[:, 0].astype(np.float32)},
        keypoints3d=points,
        confidence3d=np.ones((n, K)) * valid[:, None],
        keypoints2d=np.zeros((n, 2, K, 2)),
        confidence2d=np.ones((n, 2, K)),
        view_mask=np.ones((n, 2), bool),
        camera_K=eye,
        camera_R=eye,
        camera_t=np.zeros((n, 2, 3)),
        further={'sure': np.ones(n)},
    )


def test_rows_become_animals_and_a_frame_without_one_says_so():
    t = torch.linspace(-1, 1, 20).numpy()[:, None]
    paths = np.stack(
        (np.concatenate((50 * t, 0 * t + 4, 0 * t), 1), np.concatenate((-50 * t, 0 * t, 0 * t), 1)), 1
    )
    valid = np.ones((20, 2), bool)
    valid[15:, 1] = False
    # Slots say nothing of who is who.
    paths[1::2], valid[1::2] = paths[1::2, ::-1].copy(), valid[1::2, ::-1].copy()
    result = parted(_rows(paths, valid), 2, AnimalCount(2), extent=20.0, fps=30.0, in_space=True)
    one, other = result.predictions
    for animal in (one, other):
        steps = np.diff(animal.keypoints3d[animal.valid, 0, 0])
        assert (steps > 0).all() or (steps < 0).all()
    gone = one if not one.valid.all() else other
    assert gone.valid.sum() == 15
    assert set(gone.reasons) == {'', 'the animal was not found'}
    assert not gone.confidence2d[~gone.valid].any()
    assert sorted(a['lost'] for a in result.report['animals']) == [0, 5]
    assert result.report['frames_of_fewer_animals'] == 5


def test_nothing_found_is_an_error():
    with pytest.raises(ValueError, match='one animal at least must be found'):
        parted(_rows(np.zeros((4, 2, 3)), np.zeros((4, 2), bool)), 2, AnimalCount(2), 20.0, 30.0, True)
