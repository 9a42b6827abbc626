"""Toy samples that are drawn anew each time, and some whose loss is not finite."""

import random
from collections.abc import Sequence

import numpy as np
import torch

from smilfit.registry import DATASETS
from tests.toy_samples import ToyDataset


@DATASETS.register_module(force=True)
class NoisyToys(ToyDataset):
    """Toys whose images get noise of all three generators, and of which some have a loss that is not finite.

    Args:
        bad: frames with an image that is not finite.
        file: gets a line for each sample that is asked for.
    """

    def __init__(self, *args, bad: Sequence[int] = (), file: str | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.bad, self.file = tuple(bad), file

    def __getitem__(self, index: int) -> dict:
        sample = super().__getitem__(index)
        if self.file is not None:
            with open(self.file, 'a') as file:
                file.write(f'{index}\n')
        image = sample['inputs']['image']
        shift = random.random() + np.random.rand() + float(torch.rand(()))  # noqa: NPY002
        noise = torch.randint(0, 1 + int(20 * shift), image.shape, dtype=torch.uint8)
        sample['inputs']['image'] = image // 2 + noise
        if self.bad:
            sample['inputs']['image'] = sample['inputs']['image'] / 255
        if index in self.bad:
            sample['inputs']['image'][0] = torch.nan
        return sample
