"""Learn kinds of animals during training: expectation maximisation over the shapes that a network predicts."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from smilfit.body_models import BodyModelData, ShapeMixture, load_body_model_data, save_body_model
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.files.smil_json_parts import shape_mixture
from smilfit.body_models.shape_mixture import EMRules, EMStep, em_step
from smilfit.losses import ShapeMixturePriorLoss
from smilfit.networks.engine.checkpoint_loader import read_checkpoint
from smilfit.networks.engine.data_loading import (
    SeededLoader,
    SeededSamples,
    random_state,
    seed_worker,
    set_random_state,
)
from smilfit.networks.engine.hooks.plain_checkpoint_hook import gather, inner_model
from smilfit.registry import HOOKS

# In the message hub, and so in checkpoints: the kinds as in a model file.
_KINDS = 'shape_mixture'


@HOOKS.register_module()
class ShapeMixtureEMHook(Hook):
    """Let every `ShapeMixturePriorLoss` of a regressor learn its kinds from the training set (Biggs et al. 2020).

    After an epoch the network predicts all training samples once more, without what changes their images. Each
    sample's shape is its true one where the set has it (`has_betas`), else the predicted one. From these follow which
    kind each sample is of, and new means, covariances and shares of the kinds, which the next epoch's prior is. The
    kinds are in checkpoints: a resumed run goes on with them, `learned_mixture` reads them, and the end of a training
    writes a body model file that has them.

    Args:
        interval: after every so many epochs.
        begin: after so many epochs for the first time; a network that has learned little predicts one shape for all.
        n_steps: steps of expectation and maximisation each time.
        kinds: how many kinds to begin with, their means drawn from the body model's Gaussian; None takes the model's
            own kinds, or one of its Gaussian where it has none.
        start: a body model file, a shipped model's name, or a checkpoint (`.pth`) of such a training, whose kinds to
            begin with.
        cov_count: as how many samples the mean covariance within the first kinds counts in each kind.
        weight_count: how many samples each kind has besides its own, when shares are counted.
        floor: the least variance of a kind, a share of the first kinds' largest overall variance.
        least: a kind of fewer samples is empty, which is logged.
        empty: 'keep' or 'reseed' empty kinds, see `EMRules`.
        file: name of the body model file in the work dir; None writes none.

    Raises:
        ValueError: numbers without a meaning; before training, a body without a shape space, a regressor without that
            loss, or kinds of another shape space.
    """

    # Before checkpoints are written.
    priority = 'NORMAL'

    def __init__(
        self,
        interval: int = 1,
        begin: int = 1,
        n_steps: int = 1,
        kinds: int | None = None,
        start: str | Path | None = None,
        cov_count: float = 10.0,
        weight_count: float = 1.0,
        floor: float = 1e-3,
        least: float = 2.0,
        empty: str = 'keep',
        file: str | None = 'shape_mixture.smil.json',
    ) -> None:
        counts = {
            'interval': interval,
            'begin': begin,
            'n_steps': n_steps,
            'kinds': 1 if kinds is None else kinds,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f'ShapeMixtureEMHook: {name} must be at least 1; got {value}. Correct it.')
        if kinds is not None and start is not None:
            raise ValueError(
                f'ShapeMixtureEMHook: one of kinds and start must be given; got {kinds} and {start}. Leave one out.'
            )
        self.interval, self.begin, self.n_steps = interval, begin, n_steps
        self.kinds, self.start, self.file = kinds, start, file
        self.floor, self.cov_count = floor, cov_count
        # What does not depend on the body is checked here; the rest follows in `before_run`.
        self.rules = EMRules(floor, weight_count=weight_count, least=least, empty=empty)
        self.mixture: ShapeMixture | None = None
        self._learned = False

    def before_run(self, runner: Runner) -> None:
        """Take the kinds to begin with, before any work is done."""
        data = inner_model(runner).body_model.data
        first = self._first(data)
        if not data.n_betas or first.n_betas != data.n_betas:
            raise ValueError(
                f'ShapeMixtureEMHook: kinds must be over the shape space of the body model {data.name!r}, of '
                f'{data.n_betas} coefficients, at least 1; got {first.n_betas}. Take the hook out of custom_hooks, '
                'or give another start.'
            )
        if not self._losses(runner):
            raise ValueError(
                'ShapeMixtureEMHook: a handler of the model must have a ShapeMixturePriorLoss; none has. Give one a '
                "prior_loss=dict(type='ShapeMixturePriorLoss')."
            )
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                'ShapeMixtureEMHook: training must go by epochs; got another train_cfg. Use '
                'EpochBasedTrainLoop.'
            )
        most = float(first.moments()[1].diagonal().max())
        self.rules = replace(
            self.rules, floor=self.floor * most, cov=first.within(), cov_count=self.cov_count
        )
        self._learned = False
        self._take(runner, first)

    def before_train(self, runner: Runner) -> None:
        """Go on with the kinds of a resumed run."""
        if runner._resume and _KINDS in runner.message_hub.runtime_info:
            stored = runner.message_hub.get_info(_KINDS)
            self._learned = True
            self._take(runner, _read(str(runner._load_from), stored))

    def after_train_epoch(self, runner: Runner) -> None:
        """Predict the shapes, and learn the kinds; all processes get the same ones."""
        done = runner.epoch + 1 - self.begin
        if done < 0 or done % self.interval:
            return
        assert self.mixture is not None
        shapes, n_known = _all_shapes(runner)
        mixture, steps = self.mixture, []
        for _ in range(self.n_steps):
            steps.append(em_step(mixture, shapes, self.rules))
            mixture = steps[-1].mixture
        # Processes on unlike machines may round in other ways.
        mixture = _read('process 0', gather(mixture.record())[0])
        self._learned = True
        self._take(runner, mixture)
        runner.message_hub.update_info(_KINDS, mixture.record())
        runner.logger.info(_sentence(runner.epoch + 1, mixture, steps, n_known, self.rules))

    def after_train(self, runner: Runner) -> None:
        """Write a body model with the kinds."""
        if self.file is not None and self.mixture is not None and self._learned and get_rank() == 0:
            data = with_kinds(inner_model(runner).body_model.data, self.mixture)
            path = save_body_model(data, Path(runner.work_dir) / self.file)
            runner.logger.info(f'kinds: {path} is the body model with the kinds that were learned.')

    def _first(self, data: BodyModelData) -> ShapeMixture:
        """Return the kinds to begin with."""
        if self.start is not None:
            return _mixture_of(self.start)
        if self.kinds is None and data.shape_mixture is not None:
            return data.shape_mixture
        mean = np.zeros(data.n_betas) if data.shape_mean is None else data.shape_mean
        cov = np.eye(data.n_betas) if data.shape_cov is None else data.shape_cov
        return ShapeMixture.drawn(self.kinds or 1, mean, cov)

    def _take(self, runner: Runner, mixture: ShapeMixture) -> None:
        self.mixture = mixture
        for loss in self._losses(runner):
            loss.use_mixture(mixture)

    def _losses(self, runner: Runner) -> list[ShapeMixturePriorLoss]:
        return [m for m in inner_model(runner).modules() if isinstance(m, ShapeMixturePriorLoss)]


def with_kinds(data: BodyModelData, mixture: ShapeMixture) -> BodyModelData:
    """Return a body model with these kinds; its shapes' mean and covariance are those over all of them."""
    mean, cov = mixture.moments()
    return replace(data, shape_mixture=mixture, shape_mean=mean, shape_cov=cov)


def learned_mixture(checkpoint: str | Path) -> ShapeMixture:
    """Read the kinds that a training had learned by one of its checkpoints.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no checkpoint, or kinds that are none.
        ValueError: a training without `ShapeMixtureEMHook`, or a checkpoint of before its first step.
    """
    hub = read_checkpoint(checkpoint).get('message_hub', {})
    runtime = hub.get('runtime_info') if isinstance(hub, Mapping) else None
    if not isinstance(runtime, Mapping) or _KINDS not in runtime:
        raise ValueError(
            f'{checkpoint}: a checkpoint must hold kinds of animals to be read; this one holds none. Train with '
            'ShapeMixtureEMHook, for more epochs than its `begin`.'
        )
    return _read(checkpoint, runtime[_KINDS])


def _read(where: str | Path, stored: object) -> ShapeMixture:
    result = shape_mixture(stored, JsonValues(Path(where), 'Take another checkpoint.'))
    if result is None:
        raise ValueError(f'{where}: a mixture must have a kind; got none. Take another checkpoint.')
    return result


def _mixture_of(start: str | Path) -> ShapeMixture:
    if Path(start).suffix == '.pth':
        return learned_mixture(start)
    result = load_body_model_data(start).shape_mixture
    if result is None:
        raise ValueError(
            f'ShapeMixtureEMHook: start must be a body model with kinds; {start} has none. Give kinds=NUMBER.'
        )
    return result


def _all_shapes(runner: Runner) -> tuple[np.ndarray, int]:
    """Return the shapes (N, S) of all training samples in their order, of all processes, and how many are true.

    Random numbers are drawn as if nothing had happened.
    """
    model = inner_model(runner)
    was_training, state = model.training, random_state()
    model.eval()
    try:
        parts = [part for process in gather(list(_own_shapes(runner))) for part in process]
    finally:
        model.train(was_training)
        set_random_state(state)
    order, betas, known = (np.concatenate(each) for each in zip(*parts))
    # Which process had a sample must not matter.
    rows = np.argsort(order, kind='stable')
    betas, known = betas[rows], known[rows]
    finite = np.isfinite(betas).all(1)
    if not finite.all():
        runner.logger.warning(f'kinds: {int((~finite).sum())} shapes are not finite, and left out.')
    return betas[finite], int(known[finite].sum())


@torch.no_grad()
def _own_shapes(runner: Runner) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Predict this process's samples: their numbers, shapes, and whether these are true ones."""
    model, loader = inner_model(runner), runner.train_dataloader
    dataset = _unchanged(loader.dataset)
    mine = range(get_rank(), len(dataset), get_world_size())
    samples = SeededLoader(
        dataset,
        runner.seed or 0,
        sampler=mine,
        batch_size=loader.batch_size or 1,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        worker_init_fn=seed_worker,
        generator=torch.Generator(),
    )
    first = 0
    for batch in samples:
        truth: Mapping[str, Any] = batch['data_samples']
        predicted = torch.stack([sample['params']['betas'] for sample in model.test_step(batch)])
        count = len(predicted)
        known = torch.zeros(count, dtype=torch.bool)
        if 'params' in truth:
            known = truth.get('has_betas', truth['has_params']).bool().cpu()
            true = truth['params']['betas'].cpu().to(predicted)
            predicted = torch.where(known.unsqueeze(1), true, predicted)
        order = np.array(mine[first : first + count])
        first += count
        yield order, predicted.double().numpy(), known.numpy()


def _unchanged(dataset: Any) -> Any:
    """Return a dataset without the transforms that change images; those that add labels stay."""
    result = copy.copy(dataset.dataset if isinstance(dataset, SeededSamples) else dataset)
    if hasattr(result, 'transforms'):
        result.transforms = [t for t in result.transforms if getattr(t, 'keeps_images', False)]
    if hasattr(result, 'datasets'):
        result.datasets = [_unchanged(part) for part in result.datasets]
    return result


def _sentence(epoch: int, mixture: ShapeMixture, steps: list[EMStep], n_known: int, rules: EMRules) -> str:
    last = steps[-1]
    n = len(last.shares)
    kinds = ', '.join(
        f'{name} {count:.1f}' for name, count in zip(mixture.names, last.shares.sum(0).tolist())
    )
    done = {'keep': 'kept as they were', 'reseed': 'begun again at samples that others explain worst'}
    empty = f'; empty, and {done[rules.empty]}: {", ".join(last.empty)}' if last.empty else ''
    return (
        f'kinds after epoch {epoch}: of {n} samples ({n_known} with a true shape) {kinds}{empty}; log-likelihood '
        f'of a sample {steps[0].log_likelihood / n:.3f}'
        + (f' to {last.log_likelihood / n:.3f}' if len(steps) > 1 else '')
    )
