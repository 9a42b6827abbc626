"""Let a training start from fits: their parameters are what losses on parameters compare with."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.config import Config

from smilfit.apis.fitting.fit_session import FIT
from smilfit.datasets import PseudoLabels
from smilfit.datasets.open_dataset import open_dataset
from smilfit.datasets.store.store_layout import PARAM_NAMES
from smilfit.evaluation.verdict import NOT_BELIEVABLE, NOT_FITTED
from smilfit.files import BadFileError
from smilfit.networks.tasks.pseudo_label_files import fitted_labels, plain_reason, results_in
from smilfit.networks.tasks.pseudo_label_training import give, kept, training_datasets
from smilfit.structures import FitCovariance, FitResult

logger = logging.getLogger('smilfit')

# In the work dir: what a run was begun with, for one that goes on; and of one that is only looked at.
FILE, _CHECKED = 'targets.npz', 'checked_targets.npz'


def add_targets(cfg: Config, folder: str | Path | None, checked: bool = False) -> None:
    """Let the training's datasets have the parameters that fits of their sessions found.

    Args:
        cfg: the config; changed in place. The targets are kept in its work dir.
        folder: of `smilfit fit`; none for none.
        checked: the training is only looked at: what one in this work dir was begun with stays.

    Raises:
        ValueError: fits of another dataset or body model, or none that is believable.
    """
    file = Path(cfg.work_dir) / (_CHECKED if checked and folder else FILE)

    def read() -> PseudoLabels:
        paths = [
            Path(d['data_path']) for d in training_datasets(cfg.train_dataloader.dataset) if 'data_path' in d
        ]
        return read_targets(folder, [path for path in paths if path.is_file()])

    # The config is looked at only where something is given: what it must hold is checked later, in words.
    if kept(cfg, file, None if folder is None else read, checked, 'targets'):
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
        _tell_unused(path, fit)
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


def _check(path: Path, fit: FitResult, known: dict[str, object]) -> None:
    if fit.origin is None or fit.model is None:
        raise BadFileError(
            f'{path}: must say of which dataset and body model it is; files of earlier versions do not. Fit again.'
        )
    if fit.origin.fingerprint not in known:
        named = ', '.join(str(getattr(file, 'path', '')) for file in known.values())
        raise ValueError(
            f'{path}: --targets must be fits of the dataset of the training, {named or "none"}; this is of '
            f'{fit.origin.dataset}. Fit the sessions of the training.'
        )
    wanted = getattr(known[fit.origin.fingerprint], 'body_model_hash', None)
    if wanted != fit.model.content_hash:
        raise ValueError(
            f'{path}: --targets must be fits of the body model of the training ({wanted}); this is of '
            f'{fit.model.name} ({fit.model.content_hash}). Fit with the model that the dataset names.'
        )


def _weighted(labels: PseudoLabels, fit: FitResult) -> PseudoLabels:
    if fit.covariance is None:
        return labels
    variance = _turn_variance(fit.covariance)
    known = np.isfinite(variance) & (variance > 0)
    if not known.any():
        return labels
    typical = float(np.median(variance[known]))
    # What nothing tells of in a frame counts as badly as the worst that is known.
    share = np.where(known, typical / np.where(known, variance, 1.0), (typical / variance[known]).min())
    return replace(labels, weight=np.minimum(share, 1.0))


def _turn_variance(covariance: FitCovariance) -> np.ndarray:
    """Return each frame's mean variance of the turns that something is known of, rad squared."""
    columns = [i for i, name in enumerate(covariance.columns) if '.turn_' in name]
    variance = covariance.parameter_sd()[:, columns].double().square().cpu().numpy()
    valid = np.isfinite(variance)
    total = np.where(valid, variance, 0.0).sum(1)
    return np.where(valid.any(1), total / np.maximum(valid.sum(1), 1), np.nan)


def _tell_unused(path: Path, fit: FitResult) -> None:
    unused = [
        n for n, v in fit.params.as_dict().items() if n not in PARAM_NAMES and bool(v.nan_to_num().any())
    ]
    if unused:
        logger.info(
            '%s: %s of the fit are not taught: networks do not predict them.', path, ', '.join(unused)
        )
