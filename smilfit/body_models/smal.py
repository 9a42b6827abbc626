"""SMAL: the licensed quadruped model with its separate data, prior and symmetry files."""

from pathlib import Path
from typing import Any

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.smal_file import read_smal_file
from smilfit.body_models.files.smal_parts import with_smal_parts
from smilfit.body_models.smil import SMIL
from smilfit.registry import BODY_MODELS


@BODY_MODELS.register_module()
class SMAL(SMIL):
    """SMAL by Zuffi et al. 2017, from the files that its authors hand out; none of them is shipped.

    Its joints and surface points get their names, sides and groups (`torso`, `legs`, `tail`, ...), and the keypoint
    sets `smal` and `animer` (AniMer's 26 means of vertices). With a family the mean shape is that family's, and its
    covariance the shape prior's.

    Args:
        data: what the model file says, or the whole of a model that is complete.
        model_path: the model file, instead of `data`.
        data_file: `my_smpl_data_00781_4_all.pkl` or its like, for `family`.
        family: cats, dogs, horses, cows or hippos, or an index.
        pose_prior_file: `walking_toy_symmetric_pose_prior_with_cov_35parts.pkl` or its like.
        symmetry_file: `symIdx.pkl`.
        shape_prior_file: WLDO's `unity_betas.npz`, instead of a family; it knows 20 shape coefficients.
        num_betas: how many shape coefficients to keep; all if None.
        kwargs: as of `SMIL`.
    """

    def __init__(
        self,
        data: BodyModelData | None = None,
        *,
        model_path: str | Path | None = None,
        data_file: str | Path | None = None,
        family: str | int | None = None,
        pose_prior_file: str | Path | None = None,
        symmetry_file: str | Path | None = None,
        shape_prior_file: str | Path | None = None,
        num_betas: int | None = None,
        **kwargs: Any,
    ) -> None:
        if data is not None and num_betas is not None:
            raise ValueError(f'SMAL: num_betas needs model_path; got num_betas={num_betas} and data.')
        if data is None and model_path is not None:
            data = read_smal_file(model_path, max_betas=num_betas)
        elif data is None or model_path is not None:
            raise ValueError('SMAL: give the model either as data or as model_path.')
        parts = with_smal_parts(data, data_file, family, pose_prior_file, symmetry_file, shape_prior_file)
        super().__init__(parts, **kwargs)
