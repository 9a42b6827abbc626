"""SMAL's pose priors: pickles with `mean_pose` and `cov` or `pic`, chumpy inside."""

from pathlib import Path

import numpy as np

from smilfit.body_models.pickle_reader import as_array, read_pickle
from smilfit.files.pickles import shown, shown_names


def read_pose_prior(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a pose prior through the allow-list reader.

    `pic` is the lower Cholesky factor of the precision.

    Returns:
        Mean (D,) rad and covariance (D, D) rad^2 of axis-angle poses.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the pose prior must be there; it is not. Check the path.')
    raw = read_pickle(path)
    if not isinstance(raw, dict) or 'mean_pose' not in raw or not {'cov', 'pic'} & set(raw):
        found = shown_names(raw) if isinstance(raw, dict) else shown(raw)
        raise ValueError(
            f'{path}: a pose prior must hold mean_pose and cov or pic; got {found}. Is it a pose prior?'
        )
    mean = as_array(raw['mean_pose'], f'{path}: mean_pose').astype(np.float64).ravel()
    key = 'cov' if 'cov' in raw else 'pic'
    square = as_array(raw[key], f'{path}: {key}').astype(np.float64)
    if square.shape != (len(mean), len(mean)):
        raise ValueError(
            f'{path}: {key} must have shape {(len(mean), len(mean))}, as mean_pose has {len(mean)} numbers; got '
            f'{square.shape}. Is it a pose prior?'
        )
    if not (np.isfinite(mean).all() and np.isfinite(square).all()):
        raise ValueError(f'{path}: mean_pose and {key} must be finite; got NaN or inf. Mend the file.')
    return mean, square if key == 'cov' else np.linalg.pinv(square @ square.T, hermitian=True)
