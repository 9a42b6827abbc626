"""Sessions of made animals with landmarks off the joints and parts of other sizes, drawn as the priors say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData, Landmark, load_body_model_data
from smilfit.body_models.part_sizes import default_part_sizes
from smilfit.body_models.shipped_models import find_body_model
from smilfit.handlers import (
    BaseHandler,
    BetasPriorHandler,
    BodyPosePriorHandler,
    Keypoint2dHandler,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
    SmoothMotionHandler,
)
from smilfit.losses import KeypointMSELoss, MahalanobisPosePriorLoss, PoseRegLoss, SmoothPointsLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import BodyParams, FitResult, Keypoints2d
from smilfit.synthetic import make_quadruped, random_motion
from smilfit.synthetic.camera_rig import make_rig

# What `Made` is drawn with.
N_FRAMES, N_CAMERAS, SCALE, SIZE = 40, 4, 90.0, (640, 512)
NOISE_PX, POSE_SD_RAD, MISSING = 1.5, 0.2, 0.1
# Standard deviation of a landmark's offset, share of the body's length.
OFFSET_SHARE = 0.015
# Labels that are wrong lie so far off, px; the robust loss's width where there are any.
WRONG_PX, SIGMA_PX = 40.0, 6.0
LEFT_OUT = 'cam_1'


@dataclass(frozen=True)
class Made:
    """A kind of made session.

    Args:
        name: in words.
        animal: a shipped model, or `'procedural'` for the demo's.
        walks: the animal walks, and the prior of its pose is that of walks; else each pose is drawn by itself.
        wrong: share of labels that are wrong; the loss is robust then.
        smooth_weight: of smooth motion, a term that is no prior of what was drawn.
    """

    name: str
    animal: str
    walks: bool = False
    wrong: float = 0.0
    smooth_weight: float = 0.0


@dataclass(frozen=True)
class Session:
    """A made session: body, truth, labels, which are wrong, true places in the images, and poses of others."""

    body: SMIL
    truth: BodyParams
    seen: Keypoints2d
    wrong: Tensor
    true_xy: Tensor
    poses: Tensor | None


MADE = (
    Made('quadruped, poses drawn', 'quadruped'),
    Made('insect, poses drawn', 'insect'),
    Made("the demo's animal, poses drawn", 'procedural'),
    Made('quadruped, walking', 'quadruped', walks=True),
    Made('insect, walking', 'insect', walks=True),
    Made('quadruped, 5 % of labels wrong', 'quadruped', wrong=0.05),
    Made('insect, walking, smooth motion weighted', 'insect', walks=True, smooth_weight=3e3),
)


def animal_of(name: str) -> BodyModelData:
    """Load a model, and give it landmarks near its keypoints whose offsets are not known."""
    data = make_quadruped() if name == 'procedural' else load_body_model_data(find_body_model(name))
    sd = OFFSET_SHARE * float(np.ptp(data.v_template, axis=0).max())
    weights = data.weights.to_dense()
    marks = {}
    for keypoint, place in data.keypoint_sets['sleap'].items():
        bone = place if isinstance(place, str) else data.joint_names[_carrier(weights, place)]
        anchor = place if isinstance(place, str) else dict(place)
        marks[f'mark_{keypoint}'] = Landmark(anchor, bone, sd=sd)
    return replace(data, landmarks=marks, part_sizes=data.part_sizes or default_part_sizes(data))


def _carrier(weights: np.ndarray, place: Mapping[int, float]) -> int:
    return int(sum(share * weights[v] for v, share in place.items()).argmax())


def make_session(kind: Made, seed: int) -> Session:
    """Draw a session."""
    rng = np.random.default_rng(seed)
    g = torch.Generator().manual_seed(seed)
    data = animal_of(kind.animal)
    body = SMIL(data).double()
    radius = 0.75 * SCALE * float(np.ptp(data.v_template, axis=0).max())
    betas = _betas(data, rng)
    truth = random_motion(body, N_FRAMES, rng, 0.35 * radius, SCALE, betas)
    poses = None
    if kind.walks:
        # Of walks that the session is none of.
        others = [random_motion(body, 200, rng, 0.35 * radius, SCALE, betas).body_pose for _ in range(5)]
        poses = torch.cat(others)
    else:
        truth = truth.replace(
            body_pose=POSE_SD_RAD * torch.randn(truth.body_pose.shape, generator=g).double()
        )
    offset_sd = torch.tensor([data.landmarks[n].sd for n in data.unknown_landmarks]).double()
    size_sd = torch.tensor([p.sd for p in data.part_sizes.values()]).double()
    limits = torch.tensor([p.limit for p in data.part_sizes.values()]).double()
    offsets = offset_sd[:, None] * torch.randn(len(offset_sd), 3, generator=g).double()
    sizes = size_sd * torch.randn(len(size_sd), generator=g).double()
    sizes = torch.minimum(torch.maximum(sizes, -limits), limits)
    truth = truth.replace(
        landmark_offsets=offsets.expand(N_FRAMES, -1, -1).clone(),
        part_sizes=sizes.expand(N_FRAMES, -1).clone(),
    )
    names = tuple(data.landmarks)
    rig = make_rig(N_CAMERAS, radius, rng, SIZE)
    with torch.no_grad():
        xy, _, valid = rig.project(body(truth, names).select(names))
    labels = xy + NOISE_PX * torch.randn(xy.shape, generator=g).double()
    spoilt = torch.rand(xy.shape[:-1], generator=g) < kind.wrong
    way = torch.nn.functional.normalize(torch.randn(xy.shape, generator=g).double(), dim=-1)
    labels = torch.where(spoilt.unsqueeze(-1), xy + WRONG_PX * way, labels)
    there = valid & (torch.rand(valid.shape, generator=g) >= MISSING)
    return Session(body, truth, Keypoints2d(labels, there.double(), names, rig), spoilt, xy, poses)


def _betas(data: BodyModelData, rng: np.random.Generator) -> np.ndarray:
    mean = np.zeros(data.n_betas) if data.shape_mean is None else data.shape_mean
    root = np.eye(data.n_betas) if data.shape_cov is None else np.linalg.cholesky(data.shape_cov)
    return mean + root @ rng.standard_normal(data.n_betas)


def fit_without(kind: Made, session: Session, camera: str) -> FitResult:
    """Fit with weights in standard deviations, without one camera, from the default start."""
    seen, rig = session.seen, session.seen.rig
    confidence = seen.confidence.clone()
    confidence[:, rig.names.index(camera)] = 0
    data = session.body.data
    pose = PoseRegLoss(reduction='sum')
    pose_weight = POSE_SD_RAD**-2
    if session.poses is not None:
        pose, pose_weight = MahalanobisPosePriorLoss.from_poses(session.poses, reduction='sum'), 1.0
    handlers: list[BaseHandler] = [
        Keypoint2dHandler(KeypointMSELoss(sigma=SIGMA_PX if kind.wrong else None, reduction='sum')),
        BodyPosePriorHandler(pose, handler_key='pose'),
        LandmarkOffsetPriorHandler(),
        PartSizePriorHandler(),
        BetasPriorHandler(handler_key='shape'),
    ]
    keypoints = {'keypoints2d_mse': NOISE_PX**-2}
    weights = keypoints | {
        'pose': pose_weight,
        'landmark_offset_prior': 1.0,
        'part_size_prior': 1.0,
        # A mean over frames and coefficients of one shape.
        'shape': float(data.n_betas),
    }
    if kind.smooth_weight:
        handlers.append(SmoothMotionHandler(SmoothPointsLoss(order=2, reduction='sum'), handler_key='smooth'))
        weights['smooth'] = kind.smooth_weight
    place = ('global_orient', 'transl', 'scale')
    shape = ('body_pose', 'betas', 'landmark_offsets', 'part_sizes')
    stages = [
        Stage(n_iter=10, fit=place, weights=keypoints),
        Stage(n_iter=60, ftol=1e-6, fit=(*place, *shape), weights=weights),
    ]
    solver = LevenbergMarquardt(covariance=True)
    fitter = SMPLify(session.body, stages, handlers, solver, use_one_betas_per_video=True)
    return fitter([replace(seen, confidence=confidence)])
