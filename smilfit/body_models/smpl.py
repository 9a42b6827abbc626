"""SMPL: the licensed human model's files, found by gender in a folder; its names come from a data file."""

import logging
from pathlib import Path

from smilfit.body_models.human_rig import (
    as_logger,
    check_batch_size,
    find_human_file,
    limit_coefficients,
    load_rig,
    name_human,
)
from smilfit.body_models.keypoint_conventions import load_convention
from smilfit.body_models.smal_file import read_smal_file
from smilfit.body_models.smil import SMIL
from smilfit.registry import BODY_MODELS

# Where a folder has both, the pickle is read: it is what the smplx package reads.
ENDINGS = ('.pkl', '.npz')


@BODY_MODELS.register_module()
class SMPL(SMIL):
    """SMPL by Loper et al. 2015, from `SMPL_{GENDER}.pkl` or `.npz` in a folder, or one such file.

    Args:
        model_path: the folder (or the one above its `smpl/`), or the file; it is licensed and not shipped.
        gender: which file of the folder.
        num_betas: how many shape coefficients to keep.
        keypoint_convention: what callers call the model's keypoints, kept for them: `'smpl'` (24 joints), `'smpl_45'`
            (and 21 surface points, for the 6890-vertex mesh) or another. Inputs may be named in any convention.
        batch_size: only 1 or what the inputs have; parameters decide the batch.
        logger: name of or the logger to write to.
    """

    def __init__(
        self,
        model_path: str | Path,
        gender: str = 'neutral',
        num_betas: int = 10,
        keypoint_convention: str = 'smpl',
        batch_size: int = 1,
        logger: str | logging.Logger | None = None,
    ) -> None:
        check_batch_size('SMPL', batch_size)
        path = find_human_file('SMPL', Path(model_path), gender, ENDINGS)
        logger = as_logger(logger)
        logger.info('SMPL: %s', path)
        data = name_human(read_smal_file(path, max_betas=num_betas), load_rig('smpl'))
        limit_coefficients('SMPL', 'num_betas', num_betas, data.n_betas, logger)
        super().__init__(data)
        self.keypoint_convention = load_convention(keypoint_convention).name
