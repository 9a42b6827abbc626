"""Whether a training set has the labels that the losses ask for: looked at before the first step."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from smilfit.networks.engine.configs import PartConfig
from smilfit.networks.training_set import SampleBatch

logger = logging.getLogger('smilfit')

# What a loss may need of samples, in words.
KINDS = {
    'keypoints2d': 'keypoints in images',
    'keypoints3d': 'keypoints in space',
    'keypoints': 'keypoints, in images or in space',
    'params': 'body parameters',
    'betas': 'a known shape',
    'masks': 'silhouettes',
}


def has_labels(batch: SampleBatch) -> dict[str, Tensor]:
    """Return for each sample which kinds of labels it has, by kind: (B,) bool."""
    truth = batch['data_samples']
    params = truth['has_params'].bool()
    flat = truth['confidence2d'].flatten(1) > 0, truth['confidence3d'].flatten(1) > 0
    in_images, in_space = (known.any(1) for known in flat)
    none = torch.zeros_like(params)
    return {
        'keypoints2d': in_images,
        'keypoints3d': in_space,
        'keypoints': in_images | in_space,
        'params': params,
        'betas': truth.get('has_betas', params).bool(),
        'masks': truth['has_mask'].flatten(1).any(1) if 'has_mask' in truth else none,
    }


def switched_on(weights: Mapping[str, float], hooks: Iterable[PartConfig] = ()) -> tuple[str, ...]:
    """Name the losses that have a weight at the start, or get one from a curriculum."""
    result = {key for key, weight in weights.items() if weight > 0}
    for hook in hooks:
        if hook.get('type') == 'LossCurriculumHook':
            for changes in hook.get('schedule', {}).values():
                result |= {key for key, weight in changes.items() if weight > 0}
    return tuple(key for key in weights if key in result)


def check_labels(
    needs: Mapping[str, str],
    losses: Sequence[str],
    batch: SampleBatch,
    count: int,
    files: Sequence[str],
) -> None:
    """Check that some sample has what the losses compare with, and tell which losses have nothing.

    A loss without labels is told of, with counts, and so are those of several mixed files that have none: recordings
    without parameters are learnt from by their keypoints. Where no loss has any labels nothing can be learnt. Labels
    that are rare may be missed where only some samples were looked at: then that is told, and no error.

    Args:
        needs: by loss, the kind of label; see `KINDS`.
        losses: those that are switched on.
        batch: the samples that were looked at.
        count: how many there are in all.
        files: of the training set; the samples' `dataset` says which each is of.

    Raises:
        ValueError: no loss has any label.
    """
    valid = has_labels(batch)
    n = len(valid['params'])
    which = batch['data_samples'].get('dataset', torch.zeros(n, dtype=torch.int64))
    kinds = list(dict.fromkeys(needs[key] for key in losses if key in needs))
    hopeless = bool(kinds) and n >= count and not any(bool(valid[kind].any()) for kind in kinds)
    for kind in kinds:
        named = ', '.join(key for key in losses if needs.get(key) == kind)
        known = valid[kind]
        if not bool(known.any()):
            text = (
                f'training: samples must have {KINDS[kind]} for the loss {named}; none of the {n} that were looked '
                f'at has, of {count} in {", ".join(files) or "the dataset"}. Until data with such labels '
                'are given it teaches nothing.'
            )
            if hopeless:
                raise ValueError(text)
            logger.warning('%s', text)
            continue
        shares = [(name, which == i) for i, name in enumerate(files)] if len(files) > 1 else []
        for name, rows in shares:
            if bool(rows.any()) and not bool(known[rows].any()):
                logger.warning(
                    'training: %s has no %s for the loss %s (0 of %d samples looked at); the other sets have some.',
                    name, KINDS[kind], named, int(rows.sum()),
                )  # fmt: skip


def files_of(dataset: object) -> tuple[str, ...]:
    """Name the files of a training set, in the order of its parts."""
    parts = getattr(dataset, 'datasets', [dataset])
    paths = [getattr(getattr(part, 'file', part), 'path', None) for part in parts]
    return tuple(str(path) for path in paths if path is not None)
