"""Results of fits as labels of the next training: what is good is taken, what is wrong is refused and counted."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.utils.data import default_collate

from smilfit.apis import read_pseudo_labels
from smilfit.apis.fitting.verdict_file import write_verdict
from smilfit.apis.progress import ignore
from smilfit.body_models import SMIL
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.body_models.sides import mirrored_order
from smilfit.datasets import (
    MultiViewDataset,
    PictureDataset,
    PreprocessOptions,
    PseudoLabels,
    open_dataset,
    preprocess,
)
from smilfit.evaluation.verdict import GOOD, NOT_BELIEVABLE, NOT_FITTED, Verdict
from smilfit.files import BadFileError
from smilfit.networks.engine import TrainedRegressor
from smilfit.networks.inference.prediction_files import PredictedRecording
from smilfit.networks.inference.predictions import Predictions
from smilfit.networks.inference.refined_recording import refined
from smilfit.networks.keypoints.keypoint_targets import ImageTargets
from smilfit.networks.regressors.modal_regressor import ModalRegressor
from smilfit.networks.tasks.training_labels import add_pseudo_labels, count_pseudo_labels
from smilfit.networks.training_set import DatasetNames, TrainingStatistics
from smilfit.structures import Cameras, FitResult, Keypoints3d
from smilfit.structures.fit_record import FittedModel
from smilfit.synthetic import make_quadruped
from tests.datasets.blob_session import NAMES, BlobSession, make_body
from tests.networks.cameras_around import cameras_around

T = 2


@pytest.fixture(scope='module')
def body():
    return SMIL(make_quadruped())


@dataclass
class Recorded:
    """A recording of which nothing is read."""

    cameras: Cameras
    name: str = 'wild'
    fps: float | None = 25.0
    numbers: tuple[int, ...] = tuple(range(0, 10 * T, 10))
    undistorted: bool = False

    @property
    def camera_names(self):
        return self.cameras.names

    def fingerprint(self):
        return {}

    def prepared(self, numbers):
        return iter(())

    shown = prepared

    def video_of(self, camera):
        return camera


class Regressor(ModalRegressor):
    """Has a body, and keypoints of its joints; nothing is asked of it."""

    predict_parameters = predict = loss = None

    def __init__(self, body):
        super().__init__()
        self.body_model, self.keypoint_names = body, body.joint_names
        self.statistics = TrainingStatistics.neutral(body.n_joints)


def predicted(body, order=None):
    """Predictions near the truth; what the network saw is the truth, keypoints dealt out by `order`."""
    names = body.joint_names
    truth = PoseSampler(body, scale_sd=0.05)(T, torch.Generator().manual_seed(0)).replace(part_sizes=None)
    truth = truth.replace(betas=truth.betas[:1].expand(T, -1), scale=truth.scale[:1].expand(T))
    rig = cameras_around(1, 3, distance=4.0, focal=400.0).map(lambda x: x[0].double())
    seen = rig.project(body(truth).joints.double())[0].numpy()
    seen = seen if order is None else seen[:, :, order]
    near = truth.replace(body_pose=truth.body_pose + 0.05, transl=truth.transl + 0.02)
    n, shape = len(names), seen.shape
    predictions = Predictions(
        frames=10 * np.arange(T),
        valid=np.ones(T, np.bool_),
        reasons=('',) * T,
        params={name: value.numpy() for name, value in near.as_dict().items()},
        keypoints3d=np.zeros((T, n, 3)),
        confidence3d=np.ones((T, n)),
        keypoints2d=seen,
        confidence2d=np.ones(shape[:-1]),
        view_mask=np.ones(shape[:2], np.bool_),
        **{f'camera_{m}': np.repeat(getattr(rig, m).numpy()[None], T, 0) for m in ('K', 'R', 't')},
        further={'seen2d': seen, 'seen2d_confidence': np.ones(shape[:-1])},
    )
    recording = Recorded(rig)
    facts = DatasetNames(keypoint_names=names, camera_names=rig.names, unit='m')
    trained = TrainedRegressor(Regressor(body), facts, Path('x.pth'), Path('x.smil.json'), {})
    return PredictedRecording.of(recording, trained, predictions, 25.0, {'recording': 'wild'}), truth


def write(folder, made, verdict):
    made.save(folder / 'refined.npz')
    write_verdict(folder, verdict, [])
    return folder


def test_good_frames_of_a_refined_recording_are_taken(body, tmp_path):
    made, truth = predicted(body)
    result = refined(made, 'fit/multiview_keypoints_lm.py', ignore)
    source = read_pseudo_labels([write(tmp_path, result.made, result.verdict)])
    assert source.labels.frame.tolist() == [0, 10]
    assert source.labels.sessions == ('wild',)
    assert source.labels.body_model_hash == body.data.hash_without_landmarks()
    with torch.no_grad():
        error = np.abs(source.labels.keypoints3d - body(truth).joints.numpy()).max()
    assert error < 0.05 * float(body.rest_size)
    assert source.refused == {}


@pytest.mark.parametrize('wrong', ['shuffled', 'mirrored'])
def test_a_wrong_map_or_a_mirrored_animal_is_refused(body, tmp_path, wrong):
    swapped = mirrored_order(body.joint_names, body.data)
    order = swapped if wrong == 'mirrored' else np.random.default_rng(1).permutation(len(swapped))
    made, _ = predicted(body, list(order))
    result = refined(made, 'fit/multiview_keypoints_lm.py', ignore)
    assert result.verdict.word == NOT_BELIEVABLE
    source = read_pseudo_labels([write(tmp_path, result.made, result.verdict)])
    assert source.labels is None
    assert sum(source.refused.values()) == T
    assert all('the whole fit is not believable' in reason for reason in source.refused)
    cfg = Config({'work_dir': str(tmp_path / 'w'), 'train_dataloader': {'dataset': {}}})
    with pytest.raises(ValueError, match='must be judged good to teach; none is'):
        add_pseudo_labels(cfg, [tmp_path])


def result_of(folder, session, frames, words, body, word=GOOD, keypoints=NAMES, recording=None):
    """Write a result with these words of its frames; gives the points of its body."""
    model, n = SMIL(body), len(frames)
    params = model.zero_params(n)
    points = torch.arange(n * len(keypoints) * 3).reshape(n, -1, 3).float()
    seen = Keypoints3d(points, torch.ones(points.shape[:2]), tuple(keypoints), 'mm')
    done = torch.ones(n, dtype=torch.bool)
    report = {} if recording is None else {'recording': recording}
    fit = FitResult(params, torch.zeros(n), done, keypoints3d=seen, model=FittedModel.of(body), report=report)
    fit.save(folder / session / 'fit.npz', frames=np.asarray(frames))
    reasons = tuple(
        '' if w in (GOOD, NOT_FITTED) else f'camera top is {i} px off' for i, w in enumerate(words)
    )
    write_verdict(folder / session, Verdict(word, (), (), tuple(words), reasons), [])
    return points


def test_what_is_refused_is_counted_by_its_reason(tmp_path):
    body = make_body()
    result_of(tmp_path, 'one', [3, 4, 5, 6], [GOOD, 'doubtful', 'doubtful', NOT_FITTED], body)
    result_of(tmp_path, 'two', [1, 2], [GOOD, GOOD], body, word=NOT_BELIEVABLE)
    source = read_pseudo_labels([tmp_path])
    assert source.labels.frame.tolist() == [3]
    assert source.refused == {
        'one: doubtful: camera top is … px off': 2,
        'two: the whole fit is not believable: no reason is given': 2,
        'one: not fitted': 1,
    }
    assert source.told().splitlines()[0] == 'pseudo-labels: 1 frames taken, 5 refused'


def test_several_animals_of_one_recording_are_not_taken_for_one(tmp_path):
    for animal in ('animal_0', 'animal_1'):
        result_of(tmp_path, animal, [1, 2], [GOOD, GOOD], make_body(), recording='wild')
    with pytest.raises(ValueError, match="both of 'wild', as those of several animals are"):
        read_pseudo_labels([tmp_path])
    assert len(read_pseudo_labels([tmp_path / 'animal_1']).labels) == 2


def test_results_that_nobody_judged_are_refused(tmp_path):
    result_of(tmp_path, 'one', [1, 2], [GOOD, GOOD], make_body())
    (tmp_path / 'one' / 'verdict.json').unlink()
    with pytest.raises(BadFileError, match='a fit must be judged before it teaches'):
        read_pseudo_labels([tmp_path])
    result_of(tmp_path, 'one', [1, 2], [GOOD], make_body())
    with pytest.raises(BadFileError, match='must judge each of its 2 frames; got 1'):
        read_pseudo_labels([tmp_path])
    (tmp_path / 'one' / 'fit.npz').unlink()
    with pytest.raises(FileNotFoundError, match='must hold refined.npz or fit.npz'):
        read_pseudo_labels([tmp_path])
    with pytest.raises(FileNotFoundError, match='must be a file of pseudo-labels, or a folder'):
        read_pseudo_labels([tmp_path / 'nowhere'])


@pytest.fixture
def store(tmp_path):
    """A session of eight frames of which two are labelled; four of the others are stored too."""
    bare = [(frame, c, k) for frame in range(1, 7) for c in range(3) for k in range(len(NAMES))]
    session = BlobSession('one', 8, missing=bare, with_3d=False)
    options = PreprocessOptions(target_resolution=48, unlabelled=4)
    path = tmp_path / 'few.h5'
    report = preprocess([session], path, make_body(), options, body_model_file='b.smil.json')
    return path, report


def test_unlabelled_frames_are_stored_without_labels(store):
    path, _ = store
    file = open_dataset(path)
    assert file.frame_of.tolist() == [0, 1, 3, 4, 6, 7]
    assert file.view_mask_of[1:5].all()
    assert file.report['sessions']['one']['frames_stored_unlabelled'] == 4
    assert [int((file.record(i).confidence2d > 0).sum()) for i in (1, 2, 3, 4)] == [0] * 4
    assert [int((file.record(i).confidence3d > 0).sum()) for i in (1, 2, 3, 4)] == [0] * 4
    with pytest.raises(ValueError, match="must be 'default' or 'centred' for unlabelled frames"):
        PreprocessOptions(crop_mode='bbox_crop', unlabelled=4)


def experiment(path, folder, kind='PictureDataset'):
    dataset = {'type': kind, 'data_path': str(path), 'split': 'all'}
    return Config({'work_dir': str(folder / 'work'), 'train_dataloader': {'dataset': dataset}})


def test_a_training_learns_where_the_found_keypoints_appear(store, tmp_path):
    path, _ = store
    # Another order than the file's, and one keypoint less.
    words = [GOOD, GOOD, 'doubtful']
    points = result_of(tmp_path / 'fits', 'one', [1, 2, 3], words, make_body(), keypoints=NAMES[:0:-1])
    cfg = experiment(path, tmp_path)
    add_pseudo_labels(cfg, [tmp_path / 'fits'], weight=0.4)
    dataset = PictureDataset(**{k: v for k, v in cfg.train_dataloader.dataset.items() if k != 'type'})
    # Frame 2 is not in the file.
    assert count_pseudo_labels(dataset) == 1
    rows = [i for i in range(len(dataset)) if int(dataset[i]['data_samples']['frame']) == 1]
    assert len(rows) == 3
    batch = default_collate([dataset[i] for i in rows])
    result = batch['data_samples']
    assert torch.equal(result['keypoints3d'][0, 1:], points[0].flip(0))
    torch.testing.assert_close(result['confidence3d'][0], torch.tensor([0.0, 0.4, 0.4, 0.4, 0.4]))
    assert result['params_weight'].tolist() == pytest.approx([0.4] * 3)
    assert result['has_params'].all()
    targets = ImageTargets.of_batch(batch['inputs'], result)
    assert targets.weight.max() <= 0.2 + 1e-6
    # Labelled frames stay as they are.
    first = dataset[0]['data_samples']
    assert int(first['frame']) == 0
    assert float(first['params_weight']) == 1.0
    assert not bool(first['has_params'])


def test_a_run_that_goes_on_keeps_its_labels_and_a_new_one_does_not(store, tmp_path):
    path, _ = store
    result_of(tmp_path / 'fits', 'one', [1, 3], [GOOD, GOOD], make_body())
    begun = experiment(path, tmp_path, 'MultiViewDataset')
    add_pseudo_labels(begun, [tmp_path / 'fits'])
    resumed = experiment(path, tmp_path, 'MultiViewDataset')
    resumed.resume = True
    add_pseudo_labels(resumed, [])
    assert resumed.train_dataloader == begun.train_dataloader
    dataset = MultiViewDataset(path, 'all', transforms=begun.train_dataloader.dataset.transforms)
    assert count_pseudo_labels(dataset) == 2
    # One that is only looked at changes nothing of the run that is there.
    result_of(tmp_path / 'others', 'one', [4], [GOOD], make_body())
    for paths in ([], [tmp_path / 'others']):
        add_pseudo_labels(experiment(path, tmp_path, 'MultiViewDataset'), paths, checked=True)
    assert PseudoLabels.load(tmp_path / 'work' / 'pseudo_labels.npz').frame.tolist() == [1, 3]
    anew = experiment(path, tmp_path, 'MultiViewDataset')
    add_pseudo_labels(anew, [])
    assert 'transforms' not in anew.train_dataloader.dataset
    assert not (tmp_path / 'work' / 'pseudo_labels.npz').exists()


def test_labels_that_no_frame_takes_are_an_error(store, tmp_path):
    path, _ = store
    result_of(tmp_path / 'fits', 'elsewhere', [1], [GOOD], make_body())
    with pytest.raises(ValueError, match='must be of the sessions of the training'):
        add_pseudo_labels(experiment(path, tmp_path), [tmp_path / 'fits'])
    result_of(tmp_path / 'late', 'one', [900], [GOOD], make_body())
    cfg = experiment(path, tmp_path)
    add_pseudo_labels(cfg, [tmp_path / 'late'])
    dataset = PictureDataset(path, split='all', transforms=cfg.train_dataloader.dataset.transforms)
    with pytest.raises(ValueError, match='a frame of the training split must have one'):
        count_pseudo_labels(dataset)
    other = replace(make_body(), unit='mm', v_template=1.1 * make_body().v_template)
    result_of(tmp_path / 'other', 'one', [1], [GOOD], other)
    cfg = experiment(path, tmp_path)
    add_pseudo_labels(cfg, [tmp_path / 'other'])
    with pytest.raises(ValueError, match='must be of the body model of the training'):
        PictureDataset(path, split='all', transforms=cfg.train_dataloader.dataset.transforms)
    kept = PseudoLabels.load(tmp_path / 'work' / 'pseudo_labels.npz')
    both = [kept, read_pseudo_labels([tmp_path / 'late']).labels]
    with pytest.raises(ValueError, match='all must have one body_model_hash'):
        PseudoLabels.cat(both)
