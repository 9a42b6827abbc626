"""Put what fits found into a training: pseudo-labels of good frames, or the parameters of its own sessions."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import barrier, get_rank

from smilfit.apis.fitting.fit_session import FIT
from smilfit.apis.run_options import TrainOptions
from smilfit.datasets import AddPseudoLabels, DatasetFile, PseudoLabels, open_dataset
from smilfit.datasets.store.store_layout import PARAM_NAMES
from smilfit.evaluation.verdict import NOT_BELIEVABLE, NOT_FITTED
from smilfit.files import BadFileError
from smilfit.networks.tasks.labels_of_fits import (
    fitted_labels,
    plain_reason,
    read_pseudo_labels,
    results_in,
)
from smilfit.structures import FitCovariance, FitResult

logger = logging.getLogger('smilfit')

DatasetConfig = MutableMapping[str, Any]

# In the work dir: what a run was begun with, for one that goes on.
LABELS_FILE = 'pseudo_labels.npz'
# What a training that is only looked at would be begun with.
_CHECKED_LABELS = 'checked_pseudo_labels.npz'


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
    file = Path(cfg.work_dir) / (_CHECKED_LABELS if checked and paths else LABELS_FILE)
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


def count_pseudo_labels(dataset: object) -> int:
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


def give(dataset: DatasetConfig, file: Path, **more: str) -> None:
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


def training_datasets(cfg: DatasetConfig) -> Iterator[DatasetConfig]:
    """Return the configs of the datasets that read files: that of the training, or those that it mixes."""
    if 'datasets' in cfg:
        for part in cfg['datasets']:
            yield from training_datasets(part)
    elif isinstance(cfg, Mapping):
        yield cfg


def _has_sessions(cfg: DatasetConfig, labels: PseudoLabels) -> bool:
    # A file that is not there is told of when the dataset is built.
    path = cfg.get('data_path')
    if path is None or not Path(path).is_file():
        return path is not None
    file = open_dataset(path)
    own = {labels.sessions[n] for n in labels.session.tolist()}
    return bool(own & set(file.session_names))


# In the work dir: what a run was begun with, for one that goes on; and of one that is only looked at.
TARGETS_FILE, _CHECKED_TARGETS = 'targets.npz', 'checked_targets.npz'


def add_targets(cfg: Config, folder: str | Path | None, checked: bool = False) -> None:
    """Let the training's datasets have the parameters that fits of their sessions found.

    Args:
        cfg: the config; changed in place. The targets are kept in its work dir.
        folder: of `smilfit fit`; none for none.
        checked: the training is only looked at: what one in this work dir was begun with stays.

    Raises:
        ValueError: fits of another dataset or body model, or none that is believable.
    """
    file = Path(cfg.work_dir) / (_CHECKED_TARGETS if checked and folder else TARGETS_FILE)

    def read(fits: str | Path) -> PseudoLabels:
        datasets = training_datasets(cfg.train_dataloader.dataset)
        paths = [Path(d['data_path']) for d in datasets if 'data_path' in d]
        return read_targets(fits, [path for path in paths if path.is_file()])

    # The config is looked at only where something is given: what it must hold is checked later, in words.
    if kept(cfg, file, None if folder is None else partial(read, folder), checked, 'targets'):
        for dataset in training_datasets(cfg.train_dataloader.dataset):
            give(dataset, file, called='targets')


def read_targets(folder: str | Path, datasets: Sequence[str | Path]) -> PseudoLabels:
    """Read the parameters that fits found, of frames that are not judged unbelievable, and tell what is left out.

    A frame's weight is the median variance of the turns of joints over its own, at most 1, where the fit has
    covariances: what is known half as well counts half.

    Args:
        folder: of `smilfit fit`.
        datasets: dataset files of the training.

    Raises:
        FileNotFoundError: no fit there.
        BadFileError: a fit that does not say of which dataset it is.
        ValueError: fits of another dataset or body model, or no frame that is believable.
    """
    known = {file.fingerprint: file for file in map(open_dataset, datasets)}
    parts, refused = [], Counter[str]()
    for path in results_in(Path(folder), (FIT,)):
        fit = FitResult.load(path)
        _check(path, fit, known)
        labels, words, reasons = fitted_labels(path, fit)
        # What was annotated stays: parameters alone are taught.
        labels = _weighted(replace(labels, keypoints3d=None, keypoint_names=()), fit)
        whole = fit.verdict is not None and fit.verdict.word == NOT_BELIEVABLE
        good = np.array([not whole and word not in (NOT_BELIEVABLE, NOT_FITTED) for word in words], np.bool_)
        good &= np.all([np.isfinite(v).reshape(len(v), -1).all(1) for v in labels.params.values()], 0)
        (session,) = labels.sessions
        refused.update(
            f'{session}: {"the whole fit is " if whole else ""}{NOT_BELIEVABLE if whole else word}'
            f'{": " + plain_reason(reason) if reason else ""}'
            for word, reason, valid in zip(words, reasons, good.tolist())
            if not valid
        )
        if fit.verdict is None:
            logger.info('%s: was not judged; all its fitted frames are taken.', path)
        _report_unused(path, fit)
        parts.append(labels[good])
    parts = [part for part in parts if len(part)]
    taken = sum(map(len, parts))
    logger.info('targets: %d frames of fits taken, %d left out', taken, sum(refused.values()))
    for reason, count in refused.most_common():
        logger.info('  - %d: %s', count, reason)
    if not parts:
        raise ValueError(
            f'--targets: a frame of {folder} must be believable to teach; none is. Look at the verdicts of its fits.'
        )
    return PseudoLabels.cat(parts)


def _check(path: Path, fit: FitResult, known: Mapping[str, DatasetFile]) -> None:
    if fit.origin is None or fit.model is None:
        raise BadFileError(
            f'{path}: must say of which dataset and body model it is; files of earlier versions do not. Fit again.'
        )
    dataset = known.get(fit.origin.fingerprint or '')
    if dataset is None:
        named = ', '.join(str(file.path) for file in known.values())
        raise ValueError(
            f'{path}: --targets must be fits of the dataset of the training, {named or "none"}; this is of '
            f'{fit.origin.dataset}. Fit the sessions of the training.'
        )
    if dataset.body_model_hash != fit.model.content_hash:
        raise ValueError(
            f'{path}: --targets must be fits of the body model of the training ({dataset.body_model_hash}); '
            f'this is of {fit.model.name} ({fit.model.content_hash}). Fit with the model that the dataset names.'
        )


def _weighted(labels: PseudoLabels, fit: FitResult) -> PseudoLabels:
    if fit.covariance is None:
        return labels
    variance = _rotation_variance(fit.covariance)
    known = np.isfinite(variance) & (variance > 0)
    if not known.any():
        return labels
    typical = float(np.median(variance[known]))
    # What nothing tells of in a frame counts as badly as the worst that is known.
    share = np.where(known, typical / np.where(known, variance, 1.0), (typical / variance[known]).min())
    return replace(labels, weight=np.minimum(share, 1.0))


def _rotation_variance(covariance: FitCovariance) -> np.ndarray:
    """Return each frame's mean variance of the turns that something is known of, rad squared."""
    columns = [i for i, name in enumerate(covariance.columns) if '.turn_' in name]
    variance = covariance.parameter_sd()[:, columns].double().square().cpu().numpy()
    valid = np.isfinite(variance)
    total = np.where(valid, variance, 0.0).sum(1)
    return np.where(valid.any(1), total / np.maximum(valid.sum(1), 1), np.nan)


def _report_unused(path: Path, fit: FitResult) -> None:
    unused = [
        n for n, v in fit.params.as_dict().items() if n not in PARAM_NAMES and bool(v.nan_to_num().any())
    ]
    if unused:
        logger.info(
            '%s: %s of the fit are not taught: networks do not predict them.', path, ', '.join(unused)
        )
