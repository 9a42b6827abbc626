"""SMPL-X: body, hands and face in one licensed model; its names come from a data file."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.files.smplx_file import read_smplx_file
from smilfit.body_models.human_models import as_logger, check_batch_size, find_human_file
from smilfit.body_models.keypoint_conventions import load_convention
from smilfit.body_models.smil import SMIL
from smilfit.registry import BODY_MODELS
from smilfit.structures import BodyParams

HANDS = ('left_hand', 'right_hand')
# smplx's names for the rotations of all joints but the root, in the joints' order, and how many joints each has.
PARTS = {
    'body_pose': 21, 'jaw_pose': 1, 'leye_pose': 1, 'reye_pose': 1, 'left_hand_pose': 15, 'right_hand_pose': 15,
}  # fmt: skip
# A hand this far (rad) from what its PCA coefficients can say is not called those coefficients.
PCA_TOLERANCE_RAD = 1e-3


@BODY_MODELS.register_module()
class SMPLX(SMIL):
    """SMPL-X by Pavlakos et al. 2019, from `SMPLX_{GENDER}.npz` or `.pkl` in a folder, or one such file.

    `BodyParams` hold the rotation of every joint as it is. smplx's own parameters differ in the hands: they are
    PCA coefficients, or axis-angles, to which the mean hand is added unless `flat_hand_mean`. `params` takes those
    and `parts` gives them; so what has been fitted means one mesh, however the model was made. `zero_params` is what
    smplx calls zero: the mean hand, or the flat one.

    Args:
        model_path: the folder (or the one above its `smplx/`), or the file; it is licensed and not shipped.
        gender: which file of the folder.
        num_betas: how many shape coefficients to keep.
        num_expression_coeffs: how many expression coefficients to keep.
        use_pca: whether `params` and `parts` speak of hands in PCA coefficients.
        num_pca_comps: how many a hand.
        flat_hand_mean: whether hands are relative to the flat hand instead of the mean one.
        use_face_contour: the 17 points of the face's contour slide over the mesh as the head turns and are not
            computed; True is reported in the log, and inputs may name them.
        keypoint_convention: what callers call the model's keypoints, kept for them. Its set `'smplx'` has 127:
            joints, surface points and landmarks. Inputs may be named in any convention.
        batch_size: only 1 or what the inputs have; parameters decide the batch.
        logger: name of or the logger to write to.
    """

    def __init__(
        self,
        model_path: str | Path,
        gender: str = 'neutral',
        num_betas: int = 10,
        num_expression_coeffs: int = 10,
        use_pca: bool = True,
        num_pca_comps: int = 6,
        flat_hand_mean: bool = False,
        use_face_contour: bool = False,
        keypoint_convention: str = 'smplx',
        batch_size: int = 1,
        logger: str | logging.Logger | None = None,
    ) -> None:
        check_batch_size('SMPLX', batch_size)
        path = find_human_file('SMPLX', Path(model_path), gender)
        logger = as_logger(logger)
        logger.info('SMPLX: %s', path)
        if use_face_contour:
            logger.warning(
                'SMPLX: the 17 contour points of the face are not computed; inputs of them do not count.'
            )
        data = read_smplx_file(path, num_betas, num_expression_coeffs, logger)
        n_components = min(len(space.components) for space in data.pose_spaces.values())
        if not 1 <= num_pca_comps <= n_components:
            raise ValueError(f'SMPLX: num_pca_comps must be 1 to {n_components}; got {num_pca_comps}.')
        super().__init__(data)
        self.use_pca = use_pca
        self.num_pca_comps = num_pca_comps
        self.flat_hand_mean = flat_hand_mean
        self.keypoint_convention = load_convention(keypoint_convention).name
        for hand, space in data.pose_spaces.items():
            self._keep(f'{hand}_components', space.components[:num_pca_comps])
            self._keep(f'{hand}_mean', np.zeros_like(space.mean) if flat_hand_mean else space.mean)

    def zero_params(self, batch_size: int = 1) -> BodyParams:
        """Return the mean shape at the origin, at rest but for the hands: they have smplx's zero pose."""
        return self.params(transl=self.v_template.new_zeros(batch_size, 3))

    def params(
        self,
        global_orient: Tensor | None = None,
        body_pose: Tensor | None = None,
        jaw_pose: Tensor | None = None,
        leye_pose: Tensor | None = None,
        reye_pose: Tensor | None = None,
        left_hand_pose: Tensor | None = None,
        right_hand_pose: Tensor | None = None,
        betas: Tensor | None = None,
        expression: Tensor | None = None,
        transl: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> BodyParams:
        """Make parameters of those of smplx; what is not given is zero. Differentiable.

        Args:
            global_orient: (B, 3) axis-angle, rad.
            body_pose: (B, 21, 3) or (B, 63).
            jaw_pose: (B, 3).
            leye_pose: (B, 3).
            reye_pose: (B, 3).
            left_hand_pose: (B, num_pca_comps) with `use_pca`; (B, 15, 3), or without `use_pca` (B, 45), axis-angles.
                The mean hand is added to either.
            right_hand_pose: the same.
            betas: (B, S).
            expression: (B, E).
            transl: (B, 3).
            scale: (B,); smplx has none.

        Raises:
            ValueError: a shape that is none of these, or batches of different sizes.
        """
        given = dict(
            body_pose=body_pose, jaw_pose=jaw_pose, leye_pose=leye_pose, reye_pose=reye_pose,
            left_hand_pose=left_hand_pose, right_hand_pose=right_hand_pose,
        )  # fmt: skip
        plain = dict(
            global_orient=global_orient, betas=betas, expression=expression, transl=transl, scale=scale
        )
        batch = _batch({n: v for n, v in (given | plain).items() if v is not None})
        params = super().zero_params(batch)
        parts = []
        for name, n_joints in PARTS.items():
            value = given[name]
            if name.removesuffix('_pose') in HANDS:
                value = self.hand_rotations(name.removesuffix('_pose'), value)
            elif value is None:
                value = params.transl.new_zeros(1, n_joints, 3)
            else:
                value = _rotations(value, name, n_joints)
            parts.append(value.expand(batch, -1, -1))
        changes = {n: v.expand(batch, *v.shape[1:]) for n, v in plain.items() if v is not None}
        return params.replace(body_pose=torch.cat(parts, 1), **changes)

    def parts(self, params: BodyParams, use_pca: bool | None = None) -> dict[str, Tensor]:
        """Return parameters by smplx's names: the inverse of `params`.

        Args:
            params: of this model; rotations may be matrices.
            use_pca: whether hands become PCA coefficients (B, num_pca_comps); the model's `use_pca` if None.
                Axis-angles (B, 15, 3) are relative to the mean hand too.

        Raises:
            ValueError: hands that so few coefficients cannot say.
        """
        self._check_params(params)
        params = params.as_axis_angle()
        parts = dict(zip(PARTS, params.body_pose.split(list(PARTS.values()), 1), strict=True))
        use_pca = self.use_pca if use_pca is None else use_pca
        for hand in HANDS:
            relative = parts[f'{hand}_pose'] - getattr(self, f'{hand}_mean').reshape(15, 3)
            parts[f'{hand}_pose'] = self.hand_coefficients(hand, relative.flatten(1)) if use_pca else relative
        for name in ('jaw_pose', 'leye_pose', 'reye_pose'):
            parts[name] = parts[name].squeeze(1)
        others = {n: v for n, v in params.as_dict().items() if n != 'body_pose'}
        return {'global_orient': others.pop('global_orient'), **parts, **others}

    def hand_rotations(self, hand: str, pose: Tensor | None) -> Float[Tensor, 'B 15 3']:
        """Turn smplx's pose of a hand into the joints' axis-angles; None is its zero pose."""
        mean = getattr(self, f'{hand}_mean')
        if pose is None:
            return mean.reshape(1, 15, 3)
        if pose.ndim == 2 and self.use_pca:
            if pose.shape[1] != self.num_pca_comps:
                raise ValueError(
                    f'SMPLX: {hand}_pose must have {self.num_pca_comps} PCA coefficients, or be axis-angles '
                    f'(B, 15, 3); got {tuple(pose.shape)}. See num_pca_comps and use_pca.'
                )
            pose = pose @ getattr(self, f'{hand}_components')
        return _rotations(pose, f'{hand}_pose', 15) + mean.reshape(15, 3)

    def hand_coefficients(self, hand: str, relative: Float[Tensor, 'B 45']) -> Float[Tensor, 'B n']:
        """Find the PCA coefficients of a hand relative to its mean.

        Raises:
            ValueError: a hand that they cannot say.
        """
        components = getattr(self, f'{hand}_components')
        result = relative @ torch.linalg.pinv(components)
        worst = float((result @ components - relative).detach().abs().max())
        if worst > PCA_TOLERANCE_RAD:
            raise ValueError(
                f'SMPLX: the {hand.replace("_", " ")} must lie within {PCA_TOLERANCE_RAD} rad of '
                f'{self.num_pca_comps} PCA coefficients; got {worst:.3g} rad. '
                'Ask for axis-angles: parts(params, use_pca=False).'
            )
        return result


def _rotations(value: Tensor, name: str, n_joints: int) -> Tensor:
    if value.shape[1:] not in ((n_joints, 3), (3 * n_joints,)):
        raise ValueError(
            f'SMPLX: {name} must be axis-angles (B, {n_joints}, 3) or (B, {3 * n_joints}); got {tuple(value.shape)}.'
        )
    return value.reshape(-1, n_joints, 3)


def _batch(given: Mapping[str, Tensor]) -> int:
    sizes = {name: value.shape[0] for name, value in given.items()}
    result = set(sizes.values()) - {1}
    if len(result) > 1:
        raise ValueError(f'SMPLX: all parameters must have as many rows, or one; got {sizes}.')
    return result.pop() if result else 1
