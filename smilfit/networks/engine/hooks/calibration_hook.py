"""Confidences that are chances: what a validation shows of them goes into the checkpoint."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from smilfit.files import write_bytes
from smilfit.networks.calibration import Checked, checked
from smilfit.networks.engine.checkpoint_loader import ENTRY, LAST, read_checkpoint
from smilfit.networks.engine.hooks.plain_checkpoint_hook import gather, inner_model
from smilfit.registry import HOOKS


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Calibrate a network's confidences on the frames of each validation (`Checked.calibration`).

    Later checkpoints hold the result, and that of the end, which was written before its validation, gets it. A
    network that gives no confidences has none.
    """

    # Before the best checkpoint is written.
    priority = 'NORMAL'

    def __init__(self) -> None:
        self._parts: list[Checked] = []

    def before_val(self, runner: Runner) -> None:
        """Forget the validation before."""
        self._parts = []

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Compare predictions with their truth."""
        self._parts += [
            checked(sample, sample['truth'], sample['cameras'])
            for sample in outputs or ()
            if isinstance(sample, Mapping) and {'seen_confidence', 'truth', 'cameras'} <= sample.keys()
        ]

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Fit the calibration, of all processes' frames."""
        parts = [part for process in gather(self._parts) for part in process]
        if parts:
            result = Checked.cat(parts).calibration()
            inner_model(runner).statistics.calibration = result.record()
            runner.logger.info(
                f'confidences are calibrated on {len(parts)} frames; the least of a frame is '
                f'{max(result.least, default=0):.3g}.'
            )

    def after_train(self, runner: Runner) -> None:
        """Put the calibration of the last validation into the last checkpoint."""
        note = Path(runner.work_dir) / LAST
        if get_rank() != 0 or not self._parts or not note.is_file():
            return
        path = Path(note.read_text(encoding='utf-8').strip())
        if path.is_file():
            stored = dict(read_checkpoint(path))
            stored[ENTRY] = {**stored[ENTRY], 'calibration': inner_model(runner).statistics.calibration}
            buffer = io.BytesIO()
            torch.save(stored, buffer)
            write_bytes(path, buffer.getvalue())
