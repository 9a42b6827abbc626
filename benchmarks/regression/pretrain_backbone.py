r"""Make the weights that `SmallUNet(checkpoint='animals')` starts from.

    set() { smilfit synthesize $1 $2 --sessions $3 --frames $4 --seed $5 --style $6 --memory 0 --crop-mode default; }
    set quadruped q0.h5 120 20 101 varied
    set insect i0.h5 80 20 102 varied
    set bird.smil.json b0.h5 50 20 103 varied
    set quadruped q1.h5 200 20 104 varied
    set insect i1.h5 80 20 105 varied
    set quadruped q2.h5 450 5 111 wide
    set insect i2.h5 400 5 112 wide
    set bird.smil.json b2.h5 200 5 113 wide
    set quadruped q3.h5 450 5 114 wide
    python -m benchmarks.regression.pretrain_backbone --kinds q0.h5,q1.h5 i0.h5,i1.h5 b0.h5 --batch 8 5 3 \
        --minutes 85 --lr 3e-3 --out first.pth
    python -m benchmarks.regression.pretrain_backbone --kinds q0.h5,q1.h5,q2.h5,q3.h5 i0.h5,i1.h5,i2.h5 b0.h5,b2.h5 \
        --batch 8 5 3 --minutes 80 --lr 2.5e-3 --start first.pth --out weights.pth

(bird.smil.json is Mesh2Motion's CC0 bird, imported with --limits clips.) One backbone learns all kinds of animals at
once, each with a head of its own, from crops in which it may be mirrored. What is written is a running mean of the
backbone's weights in bfloat16; the losses of each kind stand in a CSV file beside it (those of the weights that come
with the package: pretrain_curves.csv).
"""

import argparse
import csv
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn

from smilfit.apis.shipped_configs import find_config
from smilfit.networks.engine import build_train_runner, load_experiment
from smilfit.networks.keypoints.crop_augment import CropBatch
from smilfit.networks.keypoints.keypoint_targets import ImageTargets
from smilfit.networks.regressors.parameter_losses import weighted_means

CONFIG = 'train/keypoint_unet.py'
WARM_UP, LAST_SHARE, MEAN, LOGGED = 300, 0.005, 0.999, 100


class Kind:
    """One kind of animals: its regressor without a lifter, and an endless stream of its images.

    Args:
        files: dataset files of one body model.
        batch: images a step.
        seed: of the order of images.
        start: weights of the backbone to begin from; None draws them.
    """

    def __init__(self, files: Sequence[str], batch: int, seed: int, start: Path | None) -> None:
        runners = [_runner(file, batch, seed, start) for file in files]
        self.model, self.batch = runners[0].model.train(), batch
        self._streams = [_endless(runner._train_dataloader) for runner in runners]
        self._draw = random.Random(seed)

    def crops(self) -> CropBatch:
        """Draw a batch of crops."""
        batch = self.model.data_preprocessor(next(self._draw.choice(self._streams)), True)
        inputs = batch['inputs']
        targets = ImageTargets.of_batch(inputs, batch['data_samples'], self.model.keypoint_weights)
        return self.model.augment(inputs['image'].flatten(0, 1), targets.px, targets.weight, self.model.swap)

    def loss(self, maps: Sequence[Tensor], crops: CropBatch) -> Tensor:
        """Compute the loss of this kind's head on the backbone's maps of its crops."""
        head = self.model.vision.head
        logits = head(maps).float()
        energy = self.model.heatmap_loss.energy(logits, crops.px, crops.weight, head.stride)
        return weighted_means({'heatmap': energy}, {'heatmap': 1.0})['heatmap']


def _runner(file: str, batch: int, seed: int, start: Path | None) -> Any:
    options = {
        'train_dataloader.batch_size': batch,
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.data_path': file,
        'train_dataloader.dataset.split': 'all',
        'model.lifter': None,
        'model.backbone.checkpoint': None if start is None else str(start),
        'model.augment.mirror': 0.5,
        'optim_wrapper.paramwise_cfg': None,
        'randomness.seed': seed,
    }
    with TemporaryDirectory() as folder:
        cfg = load_experiment(find_config(CONFIG), options, folder)
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            cfg[key] = None
        cfg.default_hooks.checkpoint = None
        return build_train_runner(cfg, device='cpu', console_level='ERROR')


def _endless(loader: Any) -> Iterator[dict]:
    epoch = 0
    while True:
        loader.begin(epoch)
        yield from loader
        epoch += 1


def pretrain(kinds: Sequence[Kind], minutes: float, lr: float, out: Path) -> None:
    """Train for some minutes, and write the weights and the curves."""
    backbone = kinds[0].model.vision.backbone
    trained = nn.ModuleList([backbone, *(kind.model.vision.head for kind in kinds)]).train()
    optimizer = torch.optim.AdamW(trained.parameters(), lr, weight_decay=0.02, fused=True)
    mean = {name: value.detach().clone() for name, value in backbone.state_dict().items()}
    sums, total = [0.0] * len(kinds), sum(kind.batch for kind in kinds)
    with out.with_suffix('.csv').open('w', newline='') as file:
        curves = csv.writer(file)
        for step, share in enumerate(_shares(minutes)):
            cosine = LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * share)) / 2
            for group in optimizer.param_groups:
                group['lr'] = lr * min(1, (step + 1) / WARM_UP) * cosine
            crops = [kind.crops() for kind in kinds]
            images = torch.cat([part.images for part in crops]).contiguous(memory_format=torch.channels_last)
            with torch.autocast('cpu', torch.bfloat16):
                maps = backbone(images)
                parts = zip(*(level.split([kind.batch for kind in kinds]) for level in maps))
                losses = [kind.loss(part, crop) for kind, part, crop in zip(kinds, parts, crops)]
            optimizer.zero_grad()
            torch.stack([x * kind.batch / total for kind, x in zip(kinds, losses)]).sum().backward()
            nn.utils.clip_grad_norm_(trained.parameters(), 5.0)
            optimizer.step()
            _take_into_mean(mean, backbone, min(MEAN, (1 + step) / (10 + step)))
            sums = [a + float(b.detach()) / LOGGED for a, b in zip(sums, losses)]
            if (step + 1) % LOGGED == 0:
                curves.writerow([step + 1, *(f'{x:.4f}' for x in sums)])
                file.flush()
                sums = [0.0] * len(kinds)
    weights = {n: v.bfloat16() if v.is_floating_point() else v for n, v in mean.items()}
    torch.save(weights, out)


def _shares(minutes: float) -> Iterator[float]:
    """Return what share of the time is spent before each step, with a bar."""
    begin, ticks = time.monotonic(), 1000
    for tick in track(range(ticks), description='pretraining'):
        while (share := (time.monotonic() - begin) / (60 * minutes)) < (tick + 1) / ticks:
            yield share


@torch.no_grad()
def _take_into_mean(mean: dict[str, Tensor], network: nn.Module, keep: float) -> None:
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            mean[name].lerp_(value, 1 - keep)
        else:
            mean[name].copy_(value)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--kinds', nargs='+', required=True, help='dataset files of each kind, with commas')
    parser.add_argument('--batch', type=int, nargs='+', required=True, help='images a step of each kind')
    parser.add_argument('--minutes', type=float, default=85.0, help='how long')
    parser.add_argument('--lr', type=float, default=3e-3, help='largest learning rate')
    parser.add_argument('--start', type=Path, help='weights of the backbone to begin from')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, required=True, help='the file of weights')
    options = parser.parse_args()
    if len(options.kinds) != len(options.batch):
        parser.error('--batch must have a number for each of --kinds.')
    torch.set_num_threads(1)
    kinds = [Kind(k.split(','), b, options.seed, options.start) for k, b in zip(options.kinds, options.batch)]
    pretrain(kinds, options.minutes, options.lr, options.out)


if __name__ == '__main__':
    main()
