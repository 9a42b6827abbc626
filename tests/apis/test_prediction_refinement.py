"""A refinement brings a prediction to what the network saw, and is judged by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis.progress import ignore
from smilfit.evaluation.verdict import NOT_BELIEVABLE, NOT_FITTED
from smilfit.handlers import TermHandler
from smilfit.io.recordings.synchronised_videos import SynchronisedVideos
from smilfit.networks.engine import TrainedRegressor
from smilfit.networks.inference.frame_cutter import CropOptions
from smilfit.networks.inference.prediction_files import PredictedRecording
from smilfit.networks.inference.predictions import Predictions
from smilfit.networks.inference.recordings import RecordedVideos
from smilfit.networks.inference.refined_recording import Refiner, refined
from smilfit.networks.training_set import DatasetNames
from smilfit.registry import HANDLERS
from smilfit.structures import BodyParams
from tests.apis.inference_session import CAMERAS, toy_rig, write_toy_session
from tests.toy_regressor import make_regressor
from tests.toy_samples import JOINT_NAMES, toy_body, toy_sample

T = 6


@pytest.fixture
def made(tmp_path):
    folder = write_toy_session(tmp_path / 's', n_frames=T)
    reader = SynchronisedVideos({name: folder / name / f'{name}.mp4' for name in CAMERAS}, toy_rig())
    recording = RecordedVideos('s', reader, toy_rig(), CropOptions(64))
    # One animal that moves a little from frame to frame.
    start = toy_sample(0)['data_samples']['params']
    truth = BodyParams.of({n: value.expand(T, *value.shape).clone() for n, value in start.items()})
    steps = torch.linspace(0, 0.2, T)
    truth = truth.replace(
        body_pose=truth.body_pose + steps[:, None, None], transl=truth.transl + steps[:, None]
    )
    with torch.no_grad():
        truth3d = toy_body()(truth).joints
    wrong = truth.replace(
        body_pose=truth.body_pose + 0.2 * torch.randn_like(truth.body_pose),
        transl=truth.transl + 0.1 * torch.randn_like(truth.transl),
    )
    seen = toy_rig().project(truth3d.double())[0].numpy()
    rig, model = toy_rig(), make_regressor(with_cameras=False)
    names = DatasetNames(keypoint_names=JOINT_NAMES, camera_names=CAMERAS, unit='mm')
    valid = np.arange(T) != 2
    predictions = Predictions(
        frames=np.arange(T),
        valid=valid,
        reasons=tuple('' if v else 'the image does not decode' for v in valid),
        params={n: v.numpy() for n, v in wrong.as_dict().items()},
        keypoints3d=np.zeros((T, 5, 3)),
        confidence3d=np.ones((T, 5)) * valid[:, None],
        keypoints2d=seen,
        confidence2d=np.ones(seen.shape[:-1]) * valid[:, None, None],
        view_mask=np.ones((T, 3), np.bool_),
        camera_K=rig.K.repeat(T, 1, 1, 1).numpy(),
        camera_R=rig.R.repeat(T, 1, 1, 1).numpy(),
        camera_t=rig.t.repeat(T, 1, 1).numpy(),
        further={'seen2d': seen, 'seen2d_confidence': np.ones(seen.shape[:-1])},
    )
    trained = TrainedRegressor(model, names, tmp_path / 'x.pth', tmp_path / 'toy.smil.json', {'type': 'Toy'})
    return PredictedRecording.of(recording, trained, predictions, 25.0, {}), truth3d.numpy()


def test_the_truth_is_found_from_what_was_seen_and_judged(made):
    made, truth = made
    refiner = Refiner(made, 'fit/multiview_keypoints_lm.py', ignore)
    result = refiner.fit()
    after = refiner.applied(result)
    known = np.arange(T) != 2
    with torch.no_grad():
        before = toy_body()(made.predictions.body_params).joints.numpy()
    error, start = (
        np.linalg.norm(points - truth, axis=-1)[known] for points in (after.predictions.keypoints3d, before)
    )
    assert np.median(error) < 0.2 * np.median(start)
    # The frame that nobody saw is not made up.
    assert after.predictions.valid.tolist() == known.tolist()
    assert (after.predictions.confidence3d[2] == 0).all()
    assert all(np.isfinite(v).all() for v in after.predictions.arrays().values() if v.dtype.kind == 'f')
    verdict, cameras = refiner.judged(result)
    assert verdict.word
    assert [row['camera'] for row in cameras] == list(CAMERAS)


def changed(made, **params):
    """Return a recording with other predicted parameters."""
    return replace(made, predictions=replace(made.predictions, params={**made.predictions.params, **params}))


@pytest.mark.parametrize('factors', [{'scale': 1e-25}, {'transl': 1e20}], ids=['no size', 'too far'])
def test_bad_predictions_are_refined_from_what_was_seen(made, factors):
    made, truth = made
    ((name, factor),) = factors.items()
    start = made.predictions.params[name]
    bad = changed(made, **{name: (factor * start).astype(start.dtype)})
    result = refined(bad, 'fit/multiview_keypoints_lm.py', ignore)
    assert result.verdict is not None
    points = result.made.predictions.keypoints3d
    assert np.isfinite(points).all()
    far = np.linalg.norm(points - truth, axis=-1)[np.arange(T) != 2].max() > 1
    # What is not brought back is not believed.
    assert result.verdict.word == NOT_BELIEVABLE or not far


class NoFrame(TermHandler):
    """Has no energy in any frame."""

    default_key = 'sick'

    def residual(self, state, related_input):
        return torch.nan * state.params.transl


def test_predictions_of_which_none_can_be_refined_stay_and_are_not_believable(made, tmp_path):
    made, _ = made
    HANDLERS.register_module(module=NoFrame, force=True)
    stage = {'name': 'all', 'n_iter': 2, 'keypoints2d_mse_weight': 1.0, 'sick_weight': 1.0}
    config = tmp_path / 'sick.py'
    handlers = [{'type': 'Keypoint2dHandler'}, {'type': 'NoFrame'}]
    config.write_text(f"type = 'SMPLify'\nhandlers = {handlers}\nstages = [{stage}]\n")
    result = refined(made, config, ignore)
    assert result.verdict.word == NOT_BELIEVABLE
    assert 'could not be fitted: 5 (frame 0: the term sick cannot be computed' in result.verdict.reasons[0]
    assert result.verdict.frame_words[2] == NOT_FITTED
    assert result.made is made


def test_a_fit_to_the_bodys_own_projections_is_not_judged(made):
    made, _ = made
    blind = replace(made, predictions=replace(made.predictions, further={}))
    refiner = Refiner(blind, 'fit/multiview_keypoints_lm.py', ignore)
    assert refiner.judged(made.fit) is None


def test_predictions_of_which_no_frame_is_valid_are_not_believable(made):
    made, _ = made
    nothing = replace(made.predictions, valid=np.zeros(T, np.bool_), reasons=('unsure',) * T)
    result = refined(replace(made, predictions=nothing), 'fit/multiview_keypoints_lm.py', ignore)
    assert result.verdict.word == NOT_BELIEVABLE
    assert result.verdict.reasons == ('no keypoint was seen in any of the 0 frames that are predicted',)
    assert result.verdict.frame_words == (NOT_FITTED,) * T


def test_a_fit_whose_energy_is_nowhere_finite_is_not_believable(made, monkeypatch):
    made, _ = made

    def fail(self):
        raise FloatingPointError('the energy must be finite')

    monkeypatch.setattr(Refiner, 'fit', fail)
    result = refined(made, 'fit/multiview_keypoints_lm.py', ignore)
    assert result.verdict.word == NOT_BELIEVABLE
    assert 'the energy must be finite' in result.verdict.reasons[0]
    assert result.made is made
