"""SMAL's pose priors: pickles with `mean_pose` and `cov` or `pic`, chumpy inside."""

from pathlib import Path

import numpy as np

from smilfit.body_models.pickle_reader import as_array, read_pickle


def read_pose_prior(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a pose prior through the allow-list unpickler.

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
        found = sorted(raw) if isinstance(raw, dict) else type(raw).__name__
        raise ValueError(f'{path}: a pose prior must hold mean_pose and cov or pic; got {found}.')
    mean = as_array(raw['mean_pose'], 'mean_pose').astype(np.float64).ravel()
    if 'cov' in raw:
        return mean, as_array(raw['cov'], 'cov').astype(np.float64)
    factor = as_array(raw['pic'], 'pic').astype(np.float64)
    return mean, np.linalg.pinv(factor @ factor.T, hermitian=True)
