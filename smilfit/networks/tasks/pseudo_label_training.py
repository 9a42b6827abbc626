"""Put pseudo-labels into a training: its datasets get them, and what comes of them is counted and told."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, get_rank

from smilfit.apis.run_options import TrainOptions
from smilfit.datasets import AddPseudoLabels, PseudoLabels
from smilfit.datasets.open_dataset import open_dataset
from smilfit.networks.tasks.pseudo_label_files import read_pseudo_labels

logger = logging.getLogger('smilfit')

# In the work dir: what a run was begun with, for one that goes on.
FILE = 'pseudo_labels.npz'
# What a training that is only looked at would be begun with.
_CHECKED = 'checked_pseudo_labels.npz'


def add_pseudo_labels(
    cfg: Config,
    paths: Sequence[str | Path],
    weight: float = TrainOptions.pseudo_weight,
    checked: bool = False,
) -> None:
    """Let the training's datasets have pseudo-labels; a run that goes on has those that it was begun with.

    Args:
        cfg: the config; changed in place. The labels are kept in its work dir.
        paths: what `read_pseudo_labels` takes; none for none.
        weight: how much a found body counts beside a known one, in (0, 1].
        checked: the training is only looked at: what one in this work dir was begun with stays.

    Raises:
        ValueError: no frame is good, or none is of the training's sessions.
    """
    file = Path(cfg.work_dir) / (_CHECKED if checked and paths else FILE)
    if not kept(cfg, file, partial(_good_labels, paths, weight) if paths else None, checked, 'pseudo-labels'):
        return
    labels = PseudoLabels.load(file)
    taking = [d for d in training_datasets(cfg.train_dataloader.dataset) if _has_sessions(d, labels)]
    for dataset in taking:
        give(dataset, file)
    if not taking:
        named = ', '.join(sorted({labels.sessions[n] for n in labels.session.tolist()}))
        raise ValueError(
            f'--pseudo-labels: must be of the sessions of the training; they are of {named[:200]}, which no dataset '
            'file of the config has. Preprocess these recordings into it (--unlabelled).'
        )


def count_pseudo_labels(dataset: Any) -> int:
    """Count the frames of a built training set that have pseudo-labels, and tell it.

    Raises:
        ValueError: it should have some, and has none.
    """
    parts = getattr(dataset, 'datasets', [dataset])
    adding = [
        (part, t) for part in parts for t in getattr(part, 'transforms', ()) if isinstance(t, AddPseudoLabels)
    ]
    if not adding:
        return 0
    result = sum(transform.count(*part.session_frames) for part, transform in adding)
    total = sum(len(transform.labels) for _, transform in adding)
    called = ' and '.join(dict.fromkeys(t.called for _, t in adding))
    logger.info(
        '%s: %d of %d frames are in the training split%s',
        *(called, result, total),
        '' if result == total else '; the others are held out, or not in the dataset file',
    )
    if not result:
        raise ValueError(
            f'--{called}: a frame of the training split must have one; none of {total} does. Label other frames, or '
            'change the split.'
        )
    return result


def kept(cfg: Config, file: Path, read: Callable[[], PseudoLabels] | None, checked: bool, what: str) -> bool:
    """Write labels to the work dir, by the first process; a run that goes on has those that it was begun with.

    Args:
        cfg: of the training.
        file: in its work dir.
        read: makes the labels; None where none are given.
        checked: the training is only looked at: what one in this work dir was begun with stays.
        what: they are called.

    Returns:
        Whether there are labels in the file.
    """
    if read is not None:
        if get_rank() == 0:
            read().save(file)
        barrier()
        return True
    if cfg.get('resume') and file.is_file():
        logger.info('%s: the run goes on with the %s that it was begun with.', file, what)
        return True
    if get_rank() == 0 and not checked:
        # Else a run that goes on from this one would take those of another.
        file.unlink(missing_ok=True)
    return False


def give(dataset: Any, file: Path, **more: str) -> None:
    """Let a dataset's config have the labels of a file."""
    added = {'type': 'AddPseudoLabels', 'labels': str(file), 'weight': 1.0, **more}
    dataset['transforms'] = [added, *(dataset.get('transforms') or ())]


def _good_labels(paths: Sequence[str | Path], weight: float) -> PseudoLabels:
    if not 0 < weight <= 1:
        raise ValueError(f'--pseudo-weight: must be above 0, and at most 1; got {weight}.')
    source = read_pseudo_labels(paths)
    logger.info('%s', source.told())
    if source.labels is None:
        raise ValueError(
            f'--pseudo-labels: a frame must be judged good to teach; none is. {source.told()}\nTrain on '
            'more labels first, or look at the verdicts.'
        )
    return replace(source.labels, weight=weight * source.labels.weight)


def training_datasets(cfg: Any) -> Iterator[Any]:
    """Return the configs of the datasets that read files: that of the training, or those that it mixes."""
    if 'datasets' in cfg:
        for part in cfg['datasets']:
            yield from training_datasets(part)
    elif isinstance(cfg, Mapping):
        yield cfg


def _has_sessions(cfg: Any, labels: PseudoLabels) -> bool:
    # A file that is not there is told of when the dataset is built.
    path = cfg.get('data_path')
    if path is None or not Path(path).is_file():
        return path is not None
    file = open_dataset(path)
    own = {labels.sessions[n] for n in labels.session.tolist()}
    return bool(own & set(file.session_names))
