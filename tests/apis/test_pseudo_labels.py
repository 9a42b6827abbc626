"""Pseudo-labels: made by a model and a fit, judged, kept in a file, given to training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from smilfit.apis import make_pseudo_labels
from smilfit.body_models import SMIL
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.body_models.sides import mirrored_order
from smilfit.datasets import AddPseudoLabels, PseudoLabels
from smilfit.evaluation.verdict import GOOD, NOT_BELIEVABLE, NOT_FITTED, load_thresholds
from smilfit.evaluation.verdict.frames import judge_frames
from smilfit.files import BadFileError
from smilfit.structures import Keypoints2d
from smilfit.synthetic import make_quadruped
from tests.networks.cameras_around import cameras_around
from tests.networks.test_refinement import make_refinement

N = 8


@pytest.fixture(scope='module')
def body():
    return SMIL(make_quadruped())


class Recorded(Dataset):
    """Frames of known bodies; those of even number have no parameters."""

    def __init__(self, body):
        self.truth = PoseSampler(body, scale_sd=0.05)(N, torch.Generator().manual_seed(0))
        self.truth = self.truth.replace(part_sizes=None)
        self.cameras = cameras_around(N, 3, distance=4.0, focal=400.0)
        self.px, _, _ = self.cameras.project(body(self.truth).joints)
        self.metainfo = {'session_names': ('one', 'two')}

    def __len__(self):
        return N

    def __getitem__(self, row):
        cameras = {n: getattr(self.cameras, n)[row] for n in ('K', 'R', 't', 'size')}
        known = {n: v[row] for n, v in self.truth.as_dict().items()}
        truth = {
            'params': known,
            'has_params': torch.tensor(row % 2 == 1),
            'has_betas': torch.tensor(row % 2 == 1),
        }
        at = {'session': torch.tensor(row // 4), 'frame': torch.tensor(10 * row), 'index': torch.tensor(row)}
        inputs = {'view_mask': torch.ones(3, dtype=torch.bool), **cameras}
        return {'inputs': inputs, 'data_samples': {**truth, **at}}


class Predictor(nn.Module):
    """Knows the bodies but for a small error; what it saw of frame 2 is wrong."""

    def __init__(self, body, recorded):
        super().__init__()
        self.body_model, self.recorded = body, recorded
        self.keypoint_names, self.weight = body.joint_names, nn.Parameter(torch.zeros(1))
        self.refine = make_refinement(body)

    def forward(self, inputs, data_samples=None, mode='predict'):
        places = [self._row(K) for K in inputs['t']]
        return [self._prediction(row) for row in places]

    def _row(self, t):
        return int((self.recorded.cameras.t - t).abs().sum((1, 2)).argmin())

    def _prediction(self, row):
        px = self.recorded.px[row].clone()
        px[0] += 40.0 if row == 2 else 0.0
        near = self.recorded.truth[row]
        near = near.replace(body_pose=near.body_pose + 0.05 * torch.randn_like(near.body_pose))
        params = {n: v[0] for n, v in near.as_dict().items()}
        return {'params': params, 'seen2d': px, 'seen_confidence': torch.ones(px.shape[:2])}


@pytest.fixture(scope='module')
def recorded(body):
    result = Recorded(body)
    # The stand-in finds a frame by its cameras.
    result.cameras.t.add_(1e-4 * torch.arange(N)[:, None, None])
    return result


@pytest.mark.parametrize('refined', [True, False])
def test_good_frames_without_parameters_are_kept(body, recorded, tmp_path, refined):
    model = Predictor(body, recorded)
    if not refined:
        model.refine = None
    reports = []
    run = make_pseudo_labels(model, recorded, tmp_path / 'found', batch_size=3, progress=reports.append)
    labels = PseudoLabels.load(run.path)
    assert labels.frame.tolist() == [0, 40, 60]
    assert labels.session.tolist() == [0, 1, 1]
    assert labels.sessions == ('one', 'two')
    assert run.n_kept == 3
    assert run.words[GOOD] == 3
    assert sum(run.words.values()) == 4
    assert run.reasons
    assert reports[-1].done == reports[-1].total == 3
    error = np.abs(labels.params['body_pose'] - recorded.truth.body_pose[[0, 4, 6]].numpy()).mean()
    assert error < 0.06
    whole = make_pseudo_labels(model, recorded, tmp_path / 'all', only_unlabelled=False, left_out=False)
    assert sum(whole.words.values()) == N
    assert run.path.is_file()


def test_frames_are_judged_one_by_one(body, recorded):
    truth = recorded.truth
    turned = truth.body_pose.clone()
    turned[1] = 2.5
    place = truth.transl.index_fill(0, torch.tensor([3]), torch.nan)
    xy = recorded.px.clone()
    xy[0, 0] += 60.0
    seen = Keypoints2d(xy, torch.ones(xy.shape[:3]), body.joint_names, recorded.cameras)
    params = truth.replace(body_pose=turned, transl=place)
    refine = make_refinement(body)
    verdict = judge_frames(body, params, seen, load_thresholds(), lambda p, s: refine(p, s).params)
    assert verdict.frame_words[1] == NOT_BELIEVABLE
    assert verdict.frame_words[3] == NOT_FITTED
    assert verdict.frame_words[0] != GOOD
    assert set(verdict.frame_words[4:]) == {GOOD}


@pytest.mark.parametrize('wrong', ['shuffled', 'mirrored'])
def test_a_wrong_map_or_a_mirrored_animal_is_refused(body, recorded, tmp_path, wrong):
    swapped = mirrored_order(body.joint_names, body.data)
    order = swapped if wrong == 'mirrored' else np.random.default_rng(1).permutation(len(swapped)).tolist()

    class Confused(Predictor):
        def _prediction(self, row):
            found = super()._prediction(row)
            return found | {'seen2d': found['seen2d'][:, order]}

    run = make_pseudo_labels(Confused(body, recorded), recorded, tmp_path / 'found', only_unlabelled=False)
    assert run.n_kept == 0
    assert run.reasons


def test_training_samples_get_them_with_a_weight(body, recorded, tmp_path):
    run = make_pseudo_labels(Predictor(body, recorded), recorded, tmp_path / 'found.npz', left_out=False)
    add = AddPseudoLabels(run.path, weight=0.25)
    weights = [float(add(recorded[row])['data_samples']['params_weight']) for row in range(4)]
    assert weights == [0.25, 1.0, 1.0, 1.0]
    sample = add(recorded[0])['data_samples']
    assert bool(sample['has_params'])
    labels = PseudoLabels.load(run.path)
    np.testing.assert_allclose(sample['params']['transl'], labels.params['transl'][0])
    labels.check(('two', 'three'), body.data.hash_without_landmarks(), 'here')
    with pytest.raises(ValueError, match='must be of the sessions'):
        labels.check(('three',), body.data.hash_without_landmarks(), 'here')


def test_what_is_no_file_of_them_is_refused(body, recorded, tmp_path):
    np.savez(tmp_path / 'other.npz', format='other', params=np.zeros(3))
    with pytest.raises(BadFileError, match='must be a file of pseudo-labels'):
        PseudoLabels.load(tmp_path / 'other.npz')
    with pytest.raises(ValueError, match='weight must be above 0'):
        AddPseudoLabels(tmp_path / 'other.npz', weight=0.0)
    labels = PseudoLabels(
        {n: np.zeros((1, 2)) for n in recorded.truth.as_dict()},
        np.zeros(1, int),
        np.zeros(1, int),
        np.ones(1),
    )
    with pytest.raises(ValueError, match='must be .* as in the dataset'):
        AddPseudoLabels(labels)(recorded[0])


def test_a_model_that_does_not_say_what_it_saw_is_refused(body, recorded, tmp_path):
    class Blind(Predictor):
        def _prediction(self, row):
            return {'params': super()._prediction(row)['params']}

    with pytest.raises(TypeError, match='must say what was seen'):
        make_pseudo_labels(Blind(body, recorded), recorded, tmp_path / 'found')
