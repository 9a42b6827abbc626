"""The network that lifts keypoints to body parameters, its mean body, and what lifted bodies miss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from smilfit.body_models import SMIL
from smilfit.body_models.pose_sampling import PoseSampler, mirror_partners, mirrored_joints
from smilfit.geometry.alignment import procrustes
from smilfit.geometry.rotation import rot6d_to_rotmat, rotmat_to_rot6d
from smilfit.losses import Energies, reduced
from smilfit.networks.attention import zero_linear
from smilfit.networks.lifter.point_evidence import PointCorruption, PointEvidence
from smilfit.networks.lifter.point_tokens import (
    POINT_NUMBERS,
    FeatureReader,
    PointFrame,
    PointTokens,
    RayReader,
    only_view,
    tokens_of,
)
from smilfit.registry import MODELS, reject_unknown
from smilfit.structures import PARAMETERS, BodyParams

N_DRAWN = 2000
ROUNDS = 3
# Of the body's length: what is assumed of keypoints where nothing is sampled, and the least that is believed.
PLAIN_SPREAD = 0.1
LEAST_SPREAD = 0.01


class MeanBody(NamedTuple):
    """The mean of a body's poses, not turned, at the origin, scale 1."""

    pose: Float[Tensor, 'j 3 3']
    betas: Float[Tensor, ' S']
    scale: float
    # Keypoints, model unit, and their variance per axis over poses, model unit^2.
    points: Float[Tensor, 'K 3']
    spread: Float[Tensor, ' K']


@torch.no_grad()
def mean_body(body: SMIL, names: Sequence[str], sampler: PoseSampler | None) -> MeanBody:
    """Find the mean of sampled bodies; the rest pose where there is no sampler.

    Keypoints of the samples are laid on those of the mean pose, each weighing by how little it strays.
    """
    like, length = body.v_template, body.rest_size
    rest = body.zero_params()
    if sampler is None:
        pose = torch.eye(3).to(like).expand(body.n_joints - 1, 3, 3)
        betas, scale = rest.betas[0], 1.0
    else:
        drawn = sampler(N_DRAWN, torch.Generator(device=like.device).manual_seed(0)).to(like)
        turns = drawn.rotations()[:, 1:].mean(0)
        U, _, Vh = torch.linalg.svd(turns)
        sign = torch.ones_like(U[..., 0])
        sign[..., 2] = torch.linalg.det(U @ Vh)
        pose = (U * sign.unsqueeze(-2)) @ Vh
        betas, scale = drawn.betas.mean(0), float(drawn.scale.log().mean().exp())
    mean = BodyParams(torch.eye(3).to(like)[None], pose[None], betas[None], rest.transl, rest.scale)
    points = body(mean, need=tuple(names)).keypoints[0]
    spread = torch.full_like(points[:, 0], (PLAIN_SPREAD * length) ** 2)
    if sampler is not None:
        drawn_points = body(drawn, need=tuple(names)).keypoints / drawn.scale[:, None, None]
        source = points.expand_as(drawn_points)
        for _ in range(ROUNDS):
            weights = (spread.mean() / spread).expand(len(drawn_points), -1)
            laid = procrustes(source, drawn_points, weights)
            off = (laid.apply(source) - drawn_points).square().sum(-1) / laid.scale.square().unsqueeze(1)
            spread = (off.mean(0) / 3).clamp_min((LEAST_SPREAD * length) ** 2)
    return MeanBody(pose, betas, scale, points, spread)


# Lengths are shares of the body's length, betas standard deviations. The two priors hold rows without parameters.
LOSS_WEIGHTS = {
    'keypoints3d': 20.0,
    'global_orient': 1.0,
    'body_pose': 1.0,
    'betas': 0.05,
    'scale': 1.0,
    'part_sizes': 5.0,
    'landmark_offsets': 20.0,
    'pose_prior': 0.05,
    'shape_prior': 0.005,
}
# Below this share of the body's length a distance counts by its square.
_SMOOTH = 2e-3


@dataclass(frozen=True)
class LifterTruth:
    """What is known of a batch: keypoints, and parameters of some rows."""

    keypoints3d: Float[Tensor, 'B K 3']
    confidence3d: Float[Tensor, 'B K']
    params: BodyParams | None
    has_params: Bool[Tensor, ' B']
    has_betas: Bool[Tensor, ' B']
    weight: Float[Tensor, ' B']

    @classmethod
    def of(
        cls,
        keypoints3d: Tensor,
        confidence3d: Tensor | None = None,
        params: BodyParams | None = None,
        has_params: Tensor | None = None,
        has_betas: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> 'LifterTruth':
        """Fill in what is not said: all points are known, all rows where there are parameters, and all weigh 1."""
        rows = keypoints3d.new_full(keypoints3d.shape[:1], float(params is not None)) > 0
        has_params = rows if has_params is None or params is None else has_params
        has_betas = has_params if has_betas is None or params is None else has_betas
        if confidence3d is None:
            confidence3d = torch.ones_like(keypoints3d[..., 0])
        weight = torch.ones_like(confidence3d[:, 0]) if weight is None else weight
        return cls(keypoints3d, confidence3d, params, has_params, has_betas, weight)


def lifter_energies(
    lifter: 'PointLifter', lifted: BodyParams, evidence: PointEvidence, frame: PointFrame, truth: LifterTruth
) -> dict[str, Energies]:
    """Compare lifted bodies with the truth; each entry is of what is known of it, and weighs 0 where nothing is.

    One view does not tell size from distance: there the points are compared after the found body is brought to the
    true distance and grown with it, so that it looks the same.

    Args:
        lifter: its body and means.
        lifted: in the world.
        evidence: from which.
        frame: in which they were found; its scale is the unit of lengths.
        truth: in the world.
    """
    unit = lifter.body_model.rest_size * frame.scale
    points = lifter.body_model(lifted, need=lifter.keypoint_names).keypoints
    known = truth.confidence3d > 0
    goal = torch.where(known.unsqueeze(-1), truth.keypoints3d, torch.zeros_like(truth.keypoints3d))
    points = _at_true_distance(points, goal, known, evidence)
    squared = ((points - goal) / unit[:, None, None]).square().sum(-1)
    stated = {'keypoints3d': Energies((squared + _SMOOTH**2).sqrt() - _SMOOTH, truth.confidence3d)}
    if truth.params is not None:
        stated |= _parameter_energies(lifter, lifted, truth)
    off = (lifted.body_pose - lifter.mean_pose).square().sum((-1, -2)).mean(1)
    stated['pose_prior'] = Energies(off, (~truth.has_params).float())
    shape = [((lifted.betas - lifter.mean_betas) / lifter.betas_sd.clamp_min(1e-6)).square()]
    shape += [getattr(lifted, n).flatten(1).square() for n in lifter.further]
    stated['shape_prior'] = Energies(torch.cat(shape, 1).sum(1), (~truth.has_betas).float())
    return stated


def _at_true_distance(points: Tensor, goal: Tensor, known: Tensor, evidence: PointEvidence) -> Tensor:
    """Move what only one camera saw along its rays, to the mean distance of the truth."""
    centre = only_view(evidence)[0].unsqueeze(1)
    valid = known.to(points)
    true, result = (((x - centre).norm(dim=-1) * valid).sum(1) for x in (goal, points))
    factor = torch.where(
        (evidence.n_views <= 1) & (result > 0), true / result.clamp_min(1e-12), torch.ones_like(result)
    )
    return centre + factor[:, None, None] * (points - centre)


def _parameter_energies(lifter: 'PointLifter', lifted: BodyParams, truth: LifterTruth) -> dict[str, Energies]:
    assert truth.params is not None
    posed, shaped = (known.float() * truth.weight for known in (truth.has_params, truth.has_betas))
    stated = {}
    for name in ('global_orient', 'body_pose', 'betas', 'scale', *lifter.further):
        goal, row = getattr(truth.params, name), shaped if PARAMETERS[name].kind == 'vector' else posed
        # A body without a shape space has no coefficient to miss.
        if goal is None or not goal[0].numel():
            continue
        # Numbers of rows that are not known must not enter, not even as NaN.
        valid = (row > 0).reshape(-1, *(1,) * (goal.ndim - 1))
        safe = torch.ones_like(goal) if name == 'scale' else torch.zeros_like(goal)
        goal = PARAMETERS[name].free(PARAMETERS[name].as_matrix(torch.where(valid, goal, safe)))
        off = PARAMETERS[name].free(getattr(lifted, name)) - goal
        if name == 'betas':
            off = off / lifter.betas_sd.clamp_min(1e-6)
        squared = off.square()
        squared = squared.sum((-1, -2)) if PARAMETERS[name].kind == 'rotation' else squared
        stated[name] = Energies(squared.flatten(1).mean(1) if squared.ndim > 1 else squared, row)
    return stated


# Parameters beside rotations, betas, position and scale that may be asked for.
FURTHER = ('part_sizes', 'landmark_offsets')
# How much of a body's length two keypoints may miss each other's mirror image by and still be a pair.
PAIR_TOLERANCE = 0.05
# What an output of 1 means: rotations (6D), betas in standard deviations, position in body lengths, log scale.
ROTATION_GAIN, BETAS_GAIN, POSITION_GAIN, SCALE_GAIN = 0.3, 1.5, 0.3, 0.3


@MODELS.register_module()
class PointLifter(nn.Module):
    """Lift keypoints to body parameters.

    Heading, place and size come in closed form: the mean pose is laid on the points, or on the rays of a single view.
    A residual network then reads every keypoint's displacement from the mean pose in that frame, how sure it is, and,
    where there are few views, every ray that each view holds possible; it corrects rotations (6D), shape, place and
    scale. Untrained, it gives the mean pose. Turning, moving or scaling the world does the same to the answer; only
    with a single view the scale is the expected one.

    `loss` trains it on bodies drawn by the sampler, without images; `energies` are of what was seen, with or
    without known parameters.

    Args:
        body_model: the body.
        keypoint_names: of the points, in order; the body's joints if None.
        sampler: draws bodies to train on, and says the mean pose; None only where a checkpoint will say it.
        corruption: what errors the points of drawn bodies have.
        further: parameters to predict beside the necessary ones: `part_sizes`, `landmark_offsets`.
        feature_dim: channels of image features at the points; 0 for none. Bodies that are drawn have none.
        dim: channels of the network.
        n_blocks: of the network.
        ray_dim: channels of what a keypoint's rays or features are read into.
        loss_weights: by key, see `LOSS_WEIGHTS`; what is not given has its weight there.
    """

    mean_pose: Tensor
    mean_betas: Tensor
    mean_scale: Tensor
    reference: Tensor
    spread: Tensor
    partner: Tensor
    betas_sd: Tensor
    up: Tensor | None

    def __init__(
        self,
        body_model: SMIL,
        keypoint_names: Sequence[str] | None = None,
        sampler: PoseSampler | None = None,
        corruption: PointCorruption | None = None,
        further: Sequence[str] = (),
        feature_dim: int = 0,
        dim: int = 384,
        n_blocks: int = 3,
        ray_dim: int = 16,
        loss_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        reject_unknown('PointLifter', 'further parameter', further, FURTHER)
        reject_unknown('PointLifter', 'loss key', loss_weights or {}, LOSS_WEIGHTS)
        self.body_model, self.sampler = body_model, sampler
        self.corruption = PointCorruption() if corruption is None else corruption
        self.keypoint_names = tuple(keypoint_names or body_model.joint_names)
        self.loss_weights = {**LOSS_WEIGHTS, **(loss_weights or {})}
        self._keep_mean()
        n_joints, n_betas, sizes = body_model.n_joints, body_model.n_betas, body_model.sizes
        self.further = tuple(n for n in further if sizes[{'part_sizes': 'G', 'landmark_offsets': 'K'}[n]])
        more = {'part_sizes': sizes['G'], 'landmark_offsets': 3 * sizes['K']}
        self.out_sizes = (6 * n_joints, n_betas, 3, 1, *(more[n] for n in self.further))
        n_points = len(self.keypoint_names)
        self.rays = RayReader(n_points, ray_dim)
        self.features = FeatureReader(feature_dim, n_points, ray_dim, dim) if feature_dim else None
        # The two last numbers say whether a frame has one view, or few.
        self.embed = nn.Linear(n_points * (POINT_NUMBERS + ray_dim) + 2, dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
            for _ in range(n_blocks)
        )
        self.out = zero_linear(dim, sum(self.out_sizes))

    def _keep_mean(self) -> None:
        body = self.body_model
        mean = mean_body(body, self.keypoint_names, self.sampler)
        self.register_buffer('mean_pose', mean.pose.clone())
        self.register_buffer('mean_betas', mean.betas.clone())
        self.register_buffer('mean_scale', torch.tensor(mean.scale))
        self.register_buffer('reference', mean.points.clone())
        self.register_buffer('spread', mean.spread.clone())
        cov = body.data.shape_cov
        variance = torch.ones(body.n_betas) if cov is None else torch.as_tensor(cov.diagonal().copy())
        self.register_buffer('betas_sd', variance.clamp_min(0).sqrt().float(), persistent=False)
        mirror = mirrored_joints(body.data)
        partner = torch.arange(len(self.keypoint_names))
        if mirror is not None:
            at_rest = body(body.zero_params(), need=self.keypoint_names).keypoints[0].detach().cpu().double()
            axis = int(mirror[1].argmax())
            partner = torch.as_tensor(mirror_partners(at_rest.numpy(), axis, PAIR_TOLERANCE * body.rest_size))
        self.register_buffer('partner', partner, persistent=False)
        self.register_buffer('up', _direction(body.data.up_axis), persistent=False)

    def forward(self, evidence: PointEvidence) -> BodyParams:
        """Lift; rotations are matrices, all in the world.

        Args:
            evidence: points of `keypoint_names`, in order.
        """
        return self.lift(evidence)[0]

    def lift(self, evidence: PointEvidence) -> tuple[BodyParams, PointFrame]:
        """Lift, and give the closed-form frame of each row too."""
        self._check(evidence)
        tokens = tokens_of(evidence, self.reference, self.spread, self.mean_scale)
        return self._params(self._answer(evidence, tokens), tokens.frame), tokens.frame

    def _check(self, evidence: PointEvidence) -> None:
        if evidence.xyz.shape[1] != len(self.keypoint_names):
            raise ValueError(
                f'PointLifter: points must be those of its {len(self.keypoint_names)} keypoints; got '
                f'{evidence.xyz.shape[1]}. Select them by `keypoint_names`.'
            )

    def _answer(self, evidence: PointEvidence, tokens: PointTokens) -> Tensor:
        read = torch.cat((tokens.points, self.rays(tokens.rays, tokens.ray_mass)), -1)
        kind = torch.stack((tokens.single, tokens.few), -1).to(tokens.points)
        hidden = self.embed(torch.cat((read.flatten(1), kind), -1))
        if self.features is not None:
            hidden = hidden + self.features(evidence)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.out(hidden).float()

    def _params(self, answer: Float[Tensor, 'B n'], frame: PointFrame) -> BodyParams:
        body = self.body_model
        rotation, betas, place, log_scale, *further = answer.split(self.out_sizes, 1)
        eye = torch.eye(3, dtype=answer.dtype, device=answer.device)
        base = rotmat_to_rot6d(torch.cat((eye[None], self.mean_pose.to(answer))))
        rotations = rot6d_to_rotmat(base + ROTATION_GAIN * rotation.unflatten(1, (-1, 6)))
        scale = frame.scale * (SCALE_GAIN * log_scale.squeeze(1)).exp()
        result = dict(zip(self.further, further))
        params = BodyParams(
            global_orient=frame.rotation @ rotations[:, 0],
            body_pose=rotations[:, 1:],
            betas=self.mean_betas + BETAS_GAIN * self.betas_sd * betas,
            transl=frame.origin,
            scale=scale,
            part_sizes=0.1 * result['part_sizes'] if 'part_sizes' in result else None,
            landmark_offsets=body.rest_size * 0.03 * result['landmark_offsets'].unflatten(1, (-1, 3))
            if 'landmark_offsets' in result
            else None,
        )
        # The root turns about itself, so its place is what is found, and the shift follows.
        mean = self.mean_betas.expand(len(answer), -1)
        start = root_at_rest(
            body, BodyParams.zeros(len(answer), body.n_joints, body.n_betas, answer).replace(betas=mean)
        )
        root = frame.points_to_world((start + POSITION_GAIN * body.rest_size * place).unsqueeze(1)).squeeze(1)
        return params.replace(transl=root - scale.unsqueeze(1) * root_at_rest(body, params))

    def loss(self, n_samples: int, generator: Generator | None = None) -> dict[str, Tensor]:
        """Compute the losses on bodies drawn at random, seen with errors; no image is needed.

        Args:
            n_samples: how many bodies.
            generator: of random numbers; None uses torch's own.
        """
        stated = self.energies(*self.draw(n_samples, generator))
        return {
            f'loss_{name}': reduced((terms,), self.loss_weights[name], 'mean')
            for name, terms in stated.items()
        }

    @torch.no_grad()
    def draw(self, n: int, generator: Generator | None = None) -> tuple[PointEvidence, LifterTruth]:
        """Draw bodies and what is seen of them."""
        if self.sampler is None:
            raise ValueError(
                'PointLifter: a sampler must be given to draw bodies; got None. Give sampler=PoseSampler(body_model).'
            )
        dropped = {name: None for name in FURTHER if name not in self.further}
        known = self.sampler(n, generator).replace(**dropped)
        points = self.body_model(known, need=self.keypoint_names).keypoints
        length = self.body_model.rest_size * known.scale
        evidence = self.corruption(points, length, self.partner, self.up, generator)
        return evidence, LifterTruth.of(points, params=known)

    def energies(self, evidence: PointEvidence, truth: LifterTruth) -> dict[str, Energies]:
        """State what the lifted bodies miss of the truth, for each loss whose weight is not 0.

        Where parameters are not known, the 3D keypoints and the priors towards the mean body are all there is. Every
        output has a gradient in either case.

        Args:
            evidence: of the views.
            truth: keypoints in the order of `keypoint_names`, and parameters of those rows that have any.
        """
        result, frame = self.lift(evidence)
        stated = lifter_energies(self, result, evidence, frame, truth)
        return {name: terms for name, terms in stated.items() if self.loss_weights[name] > 0}


def root_at_rest(body: SMIL, params: BodyParams) -> Float[Tensor, '_ 3']:
    """Return the place of the root joint at rest, model unit: the point about which a body turns."""
    joints = body.rest_joints_of(params, body.rest_shape(params.betas))[:, 0]
    _, offsets = body.joint_scales_and_offsets(params)
    return joints if offsets is None else joints + offsets[:, 0]


def _direction(axis: str | None) -> Tensor | None:
    """Return an axis such as '+z' as a vector."""
    if axis is None:
        return None
    return torch.eye(3)['xyz'.index(axis[1])] * (1.0 if axis[0] == '+' else -1.0)
