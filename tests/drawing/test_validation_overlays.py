"""Pictures of predictions on validation samples, drawn while a model is trained."""

import cv2
import numpy as np
import pytest

from smilfit.drawing import ValidationOverlayHook, prediction_images
from smilfit.networks.engine import build_train_runner
from tests.toy_experiment import experiment
from tests.toy_keypoint_regressor import make_keypoint_regressor
from tests.toy_samples import ToyDataset


def test_a_run_leaves_pictures_of_some_validations(tmp_path):
    hook = {'type': 'ValidationOverlayHook', 'interval': 2, 'count': 2}
    cfg = experiment(tmp_path, **{'train_cfg.max_epochs': 3, 'custom_hooks': [hook]})
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    # Of the first and the third of three validations, after 2 and 6 steps.
    names = sorted(p.name for p in tmp_path.glob('work/*/vis_data/vis_image/*.png'))
    assert names == [f'validation_{i}_{step}.png' for i in (0, 1) for step in (2, 6)]
    first, third = (
        cv2.imread(str(next(tmp_path.rglob(f'validation_0_{step}.png')))).astype(float) for step in (2, 6)
    )
    assert first.shape == third.shape
    # The same sample, of which the model says something else by now.
    assert 0 < np.abs(first - third).mean() < 30


@pytest.mark.parametrize('lifter', [True, False])
def test_bodies_or_keypoints_are_drawn_beside_what_was_annotated(lifter):
    model = make_keypoint_regressor(lifter=lifter).train()
    images = prediction_images(model, ToyDataset(n=3), 2)
    assert len(images) == 2
    assert model.training
    bare = prediction_images(model.eval(), ToyDataset(n=3), 2)
    assert all(np.array_equal(image, bare[place]) for place, image in images.items())
    assert not model.training


def test_a_hook_that_draws_nothing_is_refused():
    with pytest.raises(ValueError, match='count must be at least 1'):
        ValidationOverlayHook(count=0)
