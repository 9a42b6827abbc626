"""Kinds of animals are learned during training: found, of use, resumed, written, the same in all processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from smilfit.body_models import ShapeMixture, load_body_model_data
from smilfit.body_models.shape_mixture import log_densities
from smilfit.losses import ShapeMixturePriorLoss
from smilfit.networks.engine import (
    ShapeMixtureEMHook,
    build_train_runner,
    learned_mixture,
    read_checkpoint,
    set_resume,
)
from smilfit.networks.engine.hooks.shape_mixture_hook import _all_shapes
from smilfit.solvers.processes import process_group
from tests.kinds_of_shapes import ShapeDataset, kind_means, shape_experiment, shapes_body
from tests.ranks import on_two_ranks

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')
EPOCHS = 25
LEARNING = {'begin': 10, 'interval': 5, 'n_steps': 5}


def hook_of(runner) -> ShapeMixtureEMHook:
    return next(hook for hook in runner.hooks if isinstance(hook, ShapeMixtureEMHook))


def trained(folder: Path, epochs: int, hook: dict, resume: bool = False, **changes):
    cfg = shape_experiment(folder, epochs, hook, **changes)
    set_resume(cfg, 'auto' if resume else None)
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    return runner


def rand_index(a: np.ndarray, b: np.ndarray) -> float:
    """Return the adjusted Rand index of two partitions (Hubert and Arabie 1985)."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    pairs = lambda n: (n * (n - 1) / 2).sum()  # noqa: E731
    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    chance = rows * columns / pairs(np.array([len(a)]))
    return (together - chance) / ((rows + columns) / 2 - chance)


def test_the_index_is_one_of_the_same_partition_and_about_zero_of_chance():
    a, b = np.repeat(np.arange(3), 20), np.random.default_rng(0).integers(0, 3, 60)
    assert rand_index(a, (a + 1) % 3) == 1
    assert abs(rand_index(a, b)) < 0.1


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A training that begins with three wrong kinds."""
    folder = tmp_path_factory.mktemp('kinds')
    return trained(folder, EPOCHS, {'kinds': 3, **LEARNING}), folder / 'work'


@pytest.fixture(scope='module')
def gaussian(tmp_path_factory):
    """The same with one Gaussian, which is learned too."""
    return trained(tmp_path_factory.mktemp('one'), EPOCHS, LEARNING)


def predicted(runner, dataset: ShapeDataset) -> np.ndarray:
    runner.model.eval()
    samples = runner.model.test_step(default_collate([dataset[i] for i in range(len(dataset))]))
    return np.stack([sample['params']['betas'].numpy() for sample in samples])


def test_kinds_are_found_and_make_shapes_better(run, gaussian):
    """Of images that the training never saw. A start that knows nothing finds the kinds."""
    runner, _ = run
    first = ShapeMixture.drawn(3, np.zeros(4), np.eye(4))
    held_out = ShapeDataset(n=150, seed=9)
    shapes = predicted(runner, held_out)
    found, wrong = (log_densities(m, shapes, 1e-6).argmax(1) for m in (hook_of(runner).mixture, first))
    assert rand_index(found, held_out.kinds) >= 0.9
    assert rand_index(wrong, held_out.kinds) < 0.8
    error = [np.sqrt(((predicted(r, held_out) - held_out.shapes) ** 2).mean()) for r in (runner, gaussian)]
    assert error[0] < 0.9 * error[1]
    means = hook_of(runner).mixture.means
    assert np.linalg.norm(means[:, None] - kind_means(), axis=2).min(0).max() < 1.5
    assert hook_of(gaussian).mixture.names == ('all',)


def test_checkpoint_model_file_and_prior_hold_the_kinds(run):
    runner, work = run
    mixture = hook_of(runner).mixture
    read = learned_mixture(work / f'epoch_{EPOCHS}.pth')
    written = load_body_model_data(work / 'shape_mixture.smil.json')
    for other in (read, written.shape_mixture):
        assert other.names == mixture.names == ('kind_1', 'kind_2', 'kind_3')
        for name in ('weights', 'means', 'covs'):
            assert np.array_equal(getattr(other, name), getattr(mixture, name))
    np.testing.assert_array_equal(written.shape_cov, mixture.moments()[1])
    np.testing.assert_array_equal(written.shape_mean, mixture.moments()[0])
    loss = next(m for m in runner.model.modules() if isinstance(m, ShapeMixturePriorLoss))
    assert torch.equal(loss.means, torch.tensor(mixture.means, dtype=torch.float32))
    # Another training begins with them, of either file.
    for file in (work / f'epoch_{EPOCHS}.pth', work / 'shape_mixture.smil.json'):
        hook = ShapeMixtureEMHook(start=file)
        assert np.array_equal(hook._first(shapes_body().data).means, mixture.means)


def test_a_resumed_run_is_the_unbroken_one(tmp_path):
    hook = {'kinds': 2, 'begin': 1, 'interval': 2}
    whole = trained(tmp_path / 'whole', 6, hook)
    trained(tmp_path / 'broken', 4, hook)
    broken = trained(tmp_path / 'broken', 6, hook, resume=True)
    assert hook_of(whole).mixture.record() == hook_of(broken).mixture.record()
    for a, b in zip(whole.model.parameters(), broken.model.parameters()):
        assert torch.equal(a, b)


def test_the_pass_over_all_samples_leaves_training_as_it_was(tmp_path):
    """Without a prior, learning its kinds changes nothing: neither weights nor random numbers."""
    changes = {'model.loss_weights.shape_prior': 0.0}
    runs = [trained(tmp_path / str(n), 3, {'kinds': 2, 'begin': n}, **changes) for n in (1, 99)]
    for a, b in zip(*(run.model.parameters() for run in runs)):
        assert torch.equal(a, b)
    assert not (tmp_path / '99' / 'work' / 'shape_mixture.smil.json').exists()
    with pytest.raises(ValueError, match='must hold kinds of animals'):
        learned_mixture(tmp_path / '99' / 'work' / 'epoch_3.pth')


def test_true_shapes_count_where_they_are_known(tmp_path):
    cfg = shape_experiment(tmp_path, 1)
    cfg.train_dataloader.dataset.known = 0.5
    runner = build_train_runner(cfg, device='cpu')
    dataset = runner.train_dataloader.dataset.dataset
    shapes, n_known = _all_shapes(runner)
    assert n_known == dataset.known.sum() > 30
    known = dataset.known
    np.testing.assert_allclose(shapes[known], dataset.shapes[known].astype(np.float32))
    np.testing.assert_allclose(shapes[~known], predicted(runner, dataset)[~known], atol=1e-6)


def _two_processes(folder: str) -> None:
    with process_group('pytorch', 'cpu'):
        cfg = shape_experiment(Path(folder), 2, {'kinds': 3}, launcher='pytorch')
        # An odd number, which samplers pad: here every sample counts once.
        cfg.train_dataloader.dataset.n, cfg.train_dataloader.batch_size = 25, 6
        runner = build_train_runner(cfg, device='cpu')
        before = _all_shapes(runner)[0]
        runner.train()
        mixture = hook_of(runner).mixture
        torch.save(
            {'before': torch.from_numpy(before), 'means': torch.from_numpy(mixture.means)},
            f'{folder}/{runner.rank}.pth',
        )
        del runner


def test_processes_share_samples_and_agree_on_the_kinds(tmp_path):
    cfg = shape_experiment(tmp_path, 2, {'kinds': 3})
    cfg.train_dataloader.dataset.n, cfg.train_dataloader.batch_size = 25, 6
    alone = torch.from_numpy(_all_shapes(build_train_runner(cfg, device='cpu'))[0])
    on_two_ranks(_two_processes, str(tmp_path), grouped=False)
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in (0, 1))
    torch.testing.assert_close(first['before'], alone, rtol=1e-5, atol=1e-6)
    assert torch.equal(first['before'], second['before'])
    assert torch.equal(first['means'], second['means'])
    stored = learned_mixture(tmp_path / 'work' / 'epoch_2.pth')
    assert np.array_equal(stored.means, first['means'].numpy())
    assert len(read_checkpoint(tmp_path / 'work' / 'epoch_2.pth')['smilfit']['random_state']) == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'interval': 0}, 'interval must be at least 1'),
        ({'kinds': 2, 'start': 'quadruped'}, 'one of kinds and start must be given'),
        ({'floor': 0.0}, 'floor and least must be above 0'),
        ({'empty': 'drop'}, "must be 'keep' or 'reseed'"),
    ],
)
def test_numbers_without_a_meaning(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShapeMixtureEMHook(**arguments)


ITERATIONS = {'type': 'IterBasedTrainLoop', 'max_iters': 2}


@pytest.mark.parametrize(
    ('hook', 'loss', 'loop', 'message'),
    [
        ({'start': 'quadruped'}, None, None, "over the shape space of the body model 'shapes', of 4 coeff"),
        ({}, 'ShapePriorLoss', None, 'must have a ShapeMixturePriorLoss'),
        ({}, None, ITERATIONS, 'must go by epochs'),
    ],
)
def test_what_cannot_learn_kinds_is_refused_before_training(tmp_path, hook, loss, loop, message):
    cfg = shape_experiment(tmp_path, 1, hook)
    cfg.model.handlers[1].prior_loss.type = loss or cfg.model.handlers[1].prior_loss.type
    cfg.train_cfg = loop or cfg.train_cfg
    runner = build_train_runner(cfg, device='cpu')
    with pytest.raises(ValueError, match=message):
        runner.train()
    assert runner.iter == 0
