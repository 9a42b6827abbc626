"""WLDO's shape prior for SMAL, `unity_betas.npz` (Biggs et al., Who left the dogs out?, ECCV 2020).

The file holds `mean` (27) and `cov` (27, 27): 20 shape coefficients of SMAL, the logarithms of 6 scales of legs, tail
and ears, and one number that nobody uses. Only the shape coefficients are taken, whatever the scales are.
"""

from pathlib import Path

import numpy as np

from smilfit.files import BadFileError
from smilfit.files.numpy_files import read_npz

N_BETAS = 20


def read_shape_prior(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the prior; no pickle inside is opened.

    Returns:
        Mean (20,) and covariance (20, 20) of the shape coefficients.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another kind of file.
    """
    path = Path(path)
    raw = read_npz(path, ('mean', 'cov'), 'a shape prior')
    if set(raw) != {'mean', 'cov'} or any(array.dtype.kind not in 'iuf' for array in raw.values()):
        raise BadFileError(
            f'{path}: a shape prior must hold the numbers mean (27) and cov (27, 27); got {sorted(raw)}. Is it '
            'unity_betas.npz?'
        )
    mean, cov = raw['mean'].astype(np.float64), raw['cov'].astype(np.float64)
    if mean.ndim != 1 or len(mean) < N_BETAS or cov.shape != (len(mean), len(mean)):
        raise BadFileError(
            f'{path}: mean and cov must have at least {N_BETAS} dimensions, and equally many; got {mean.shape} and '
            f'{cov.shape}. Is it unity_betas.npz?'
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise BadFileError(f'{path}: mean and cov must be finite; got NaN or inf. Mend the file.')
    return mean[:N_BETAS], cov[:N_BETAS, :N_BETAS]
