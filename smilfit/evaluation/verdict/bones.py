"""Bones of a fit against those of the body at rest: lengths, both sides, and joints that left their places."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.evaluation.verdict.sides import side_pairs
from smilfit.structures import BodyParams
from smilfit.structures.frame_blocks import by_blocks

# Shorter bones (shares of the body's length) have no ratio worth the name.
SHORTEST = 0.01


@torch.no_grad()
def unposed_joints(body: SMIL, params: BodyParams) -> Float[Tensor, 'B J 3']:
    """Give the joints of bodies with all turns taken back, model unit: what shape and skeleton alone make."""
    zeros = torch.zeros_like
    plain = params.as_axis_angle()
    rest = plain.replace(
        global_orient=zeros(plain.global_orient),
        body_pose=zeros(plain.body_pose),
        transl=zeros(plain.transl),
        scale=torch.ones_like(plain.scale),
    )
    return body(rest.to(body.v_template), ('joints',)).joints


def bone_ratios(body: SMIL, params: BodyParams) -> Float[Tensor, 'B b']:
    """Divide each bone's length by that at rest of a body of the same shape; bones as all joints but the root.

    What shape coefficients make of bones is judged by how usual these are. Scale is taken out: a body that is drawn
    smaller with bones that are all longer is the same body. So ratios are against the median one. NaN of bones too
    short for a ratio (`SHORTEST`).
    """
    return by_blocks(params.batch_size, lambda rows: _bone_ratios(body, params[rows]))


def _bone_ratios(body: SMIL, params: BodyParams) -> Float[Tensor, 'B b']:
    fitted = lengths(body, unposed_joints(body, params))
    shaped = body.zero_params(params.batch_size).to(params.betas).replace(betas=params.betas)
    rest = lengths(body, unposed_joints(body, shaped)).to(fitted)
    ratio = torch.where(rest > SHORTEST * body.rest_size, fitted / rest, torch.nan)
    return ratio / ratio.nanmedian(1, keepdim=True).values


def bone_asymmetry(body: SMIL, params: BodyParams) -> Float[Tensor, 'B P']:
    """Say how many times longer one side's bone is than the other's, beyond rest; at least 1, of each pair."""
    ratio = bone_ratios(body, params)
    # Bone j - 1 ends at joint j.
    pairs = [(a - 1, b - 1) for a, b in side_pairs(body.data, body.joint_names) if a > 0]
    if not pairs:
        return ratio.new_zeros(len(ratio), 0)
    left, right = (ratio[:, list(side)] for side in zip(*pairs))
    return (left / right).log().abs().exp()


def joint_moves(body: SMIL, params: BodyParams) -> Float[Tensor, 'B J']:
    """Give how far `joint_offsets` move each joint from its place on its parent, in body lengths."""
    if params.joint_offsets is None:
        return params.transl.new_zeros(params.batch_size, body.n_joints)
    return params.joint_offsets.norm(dim=-1) / body.rest_size


def lengths(body: SMIL, joints: Float[Tensor, 'B J 3']) -> Float[Tensor, 'B b']:
    """Measure every bone: from each joint but the root to its parent."""
    parents = torch.as_tensor(body.data.parents[1:].copy())
    return (joints[:, 1:] - joints[:, parents]).norm(dim=-1)
