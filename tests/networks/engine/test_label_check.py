"""Data without the labels that a loss needs are named before the first step."""

import pytest
import torch

from smilfit.apis import train
from smilfit.networks.engine import build_train_runner
from smilfit.networks.engine.label_check import check_labels, switched_on
from smilfit.registry import DATASETS
from tests.toy_experiment import experiment, keypoint_model
from tests.toy_samples import ToyDataset


@DATASETS.register_module(force=True)
class BareToys(ToyDataset):
    """Toys without some of their labels.

    Args:
        without: names of what says that a label is there.
    """

    def __init__(self, *args, without=(), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.without = tuple(without)

    def __getitem__(self, index: int) -> dict:
        sample = super().__getitem__(index)
        truth = dict(sample['data_samples'])
        truth |= {name: torch.zeros_like(truth[name]) for name in self.without}
        return {**sample, 'data_samples': truth}


def bare(folder, without, **changes):
    cfg = experiment(folder, **changes)
    cfg.train_dataloader.dataset.update(type='BareToys', without=without)
    return cfg


@pytest.mark.parametrize(
    ('without', 'losses', 'words'),
    [
        (('has_params',), 'transl', 'must have body parameters for the loss transl; none of the 8'),
        (('confidence3d',), 'keypoints3d', 'must have keypoints in space for the loss keypoints3d'),
        (('confidence2d',), 'keypoints2d', 'must have keypoints in images for the loss keypoints2d'),
    ],
)
def test_a_loss_without_labels_is_told_before_training(tmp_path, caplog, without, losses, words):
    build_train_runner(bare(tmp_path, without), device='cpu')
    assert words in caplog.text
    caplog.clear()
    # Switched off, and never switched on by the curriculum, it needs nothing.
    cfg = bare(tmp_path, without, **{f'model.loss_weights.{losses}': 0.0, 'custom_hooks': []})
    build_train_runner(cfg, device='cpu')
    assert words not in caplog.text


def test_a_set_that_no_loss_learns_from_is_refused():
    seen = batch([False, False], [0, 0])
    with pytest.raises(ValueError, match='must have body parameters for the loss transl; none of the 2'):
        check_labels({'transl': 'params'}, ('transl',), seen, 2, ('a.h5',))


def test_a_curriculum_that_switches_a_loss_on_later_counts():
    schedule = {0: {'betas': 0.0}, 7: {'transl': 0.5}}
    hooks = [{'type': 'LossCurriculumHook', 'schedule': schedule}]
    assert switched_on({'betas': 0.0, 'transl': 0.0, 'scale': 1.0}, hooks) == ('transl', 'scale')


def test_heat_maps_without_keypoints_stop_the_command(tmp_path):
    cfg = bare(
        tmp_path, ('confidence2d', 'confidence3d'), val_dataloader=None, val_cfg=None, val_evaluator=None
    )
    cfg.default_hooks = {}
    cfg.custom_hooks = []
    cfg.model = keypoint_model(cfg.model.body_model)
    cfg.dump(tmp_path / 'bare.py')
    with pytest.raises(ValueError, match='must have keypoints, in images or in space for the loss heatmap'):
        train(tmp_path / 'bare.py', tmp_path / 'work', device='cpu')


def batch(known, which):
    count = len(known)
    zeros = torch.zeros(count, 4)
    truth = {
        'has_params': torch.tensor(known),
        'confidence2d': zeros[:, None],
        'confidence3d': zeros,
        'dataset': torch.tensor(which),
    }
    return {'data_samples': truth}


def test_sets_of_a_mixture_without_labels_are_told_with_counts(caplog):
    seen = batch([True, True, False, False, False], [0, 0, 1, 1, 1])
    check_labels({'transl': 'params'}, ('transl',), seen, 5, ('a.h5', 'b.h5'))
    assert 'b.h5 has no body parameters for the loss transl (0 of 3 samples looked at)' in caplog.text


def test_labels_that_are_rare_are_no_error_where_not_all_was_looked_at(caplog):
    seen = batch([False, False], [0, 0])
    check_labels({'transl': 'params'}, ('transl',), seen, 900, ('a.h5',))
    assert 'none of the 2 that were looked at has, of 900 in a.h5' in caplog.text
