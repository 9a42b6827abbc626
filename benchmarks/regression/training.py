"""Train a config within a budget of CPU time."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from smilfit.apis.shipped_configs import find_config
from smilfit.networks.engine import build_train_runner, load_experiment
from smilfit.networks.tasks.training import keypoint_summaries, prepare_runner

CHECKPOINT, RECORD = 'budget.pth', 'budget.json'


class BudgetSpentError(Exception):
    """The budget is spent; the checkpoint is written."""


class CpuBudgetHook(Hook):
    """End the training at a budget of this process's CPU time.

    Args:
        seconds: of CPU time.
    """

    priority = 'VERY_LOW'

    def __init__(self, seconds: float) -> None:
        self.seconds, self.begin, self.steps = seconds, 0.0, 0

    def before_train(self, runner: Any) -> None:
        """Begin to count."""
        self.begin = time.process_time()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count a step.

        Raises:
            BudgetSpentError: the budget is spent.
        """
        self.steps += 1
        if time.process_time() - self.begin >= self.seconds:
            raise BudgetSpentError


@dataclass(frozen=True)
class Trained:
    """A checkpoint, and what it took; `ended` says by what: its schedule, or the budget."""

    checkpoint: Path
    cpu_s: float
    steps: int
    ended: str


def train_within(
    config: str,
    data: Path,
    work_dir: Path,
    budget_s: float,
    seed: int,
    options: Mapping[str, Any] | None = None,
) -> Trained:
    """Train on all samples of a file, in this process alone; what the same call left in the folder is taken.

    Args:
        config: a config's path, or a shipped one's name.
        data: a dataset file.
        work_dir: where the checkpoint goes.
        budget_s: CPU time, s. A schedule that has not ended by then is cut short; choose its length to fit.
        seed: of weights and samples.
        options: of the config, by dotted key.
    """
    asked = {
        'config': config,
        'data': str(data),
        'budget_s': budget_s,
        'seed': seed,
        'options': options or {},
    }
    record = work_dir / RECORD
    if record.is_file():
        kept = json.loads(record.read_text())
        if kept['asked'] == asked:
            return Trained(work_dir / CHECKPOINT, **kept['found'])
    cfg = load_experiment(find_config(config), options, work_dir)
    cfg.train_dataloader.dataset.update(data_path=str(data), split='all')
    # What workers do would be no time of this process.
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    cfg.default_hooks.checkpoint = None
    cfg.randomness = {'seed': seed}
    runner = build_train_runner(cfg, device='cpu', summarise=keypoint_summaries)
    prepare_runner(runner)
    hook = CpuBudgetHook(budget_s)
    runner.register_hook(hook)
    ended = 'schedule'
    try:
        runner.train()
    except BudgetSpentError:
        ended = 'budget'
    cpu_s = time.process_time() - hook.begin
    runner.save_checkpoint(
        str(work_dir), CHECKPOINT, save_optimizer=False, save_param_scheduler=False, by_epoch=False
    )
    done = Trained(work_dir / CHECKPOINT, cpu_s, hook.steps, ended)
    found = {k: v for k, v in asdict(done).items() if k != 'checkpoint'}
    record.write_text(json.dumps({'asked': asked, 'found': found}))
    return done
