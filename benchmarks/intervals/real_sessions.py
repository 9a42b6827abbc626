"""Two real mice: one labelled image by image, under four cameras, and one labelled in space, under six."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.io
import torch

from benchmarks.measuring import real_data
from smilfit.body_models import SMIL, Landmark, load_body_model_data
from smilfit.body_models.part_sizes import default_part_sizes
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import (
    BodyPosePriorHandler,
    Keypoint2dHandler,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
)
from smilfit.io import SleapSession
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import Cameras, FitResult, Keypoints2d

MODEL = 'SMILy_Mouse_static_joints.pkl'
# Beliefs of one who has not seen the session: labels' noise, how far joints turn, and labels from joints.
NOISE_PX, POSE_SD_RAD, OFFSET_SHARE = 2.5, 0.35, 0.02
# Labels of neighbouring frames err alike: as many independent ones would be taken for more than they know.
EVERY = 10
# Anchors of the 22 keypoints of Dunn et al. 2021 (Nature Methods 18), in their order.
DANNCE = {
    'EarL': 'Ear_L_tip', 'EarR': 'Ear_R_tip', 'Snout': 'Nose', 'SpineF': 'cervical-vertebrae',
    'SpineM': 'Lumbar-Vertebrae', 'TailB': 'Tail_00', 'TailM': 'Tail_03', 'TailE': 'Tail_07',
    **{f'{name}{side}': f'{joint}_{side}' for side in 'LR' for name, joint in (
        ('Forepaw', 'paw'), ('Wrist', 'paw'), ('Elbow', 'ulna-radius'), ('Shoulder', 'humerus'))},
    **{f'{name}{side}': f'{joint}_{side}{tip}' for side in 'LR' for name, joint, tip in (
        ('Hindpaw', 'Foot', '_tip'), ('Ankle', 'Foot', ''), ('Knee', 'tibia', ''))},
}  # fmt: skip


@dataclass(frozen=True)
class Real:
    """A recording, in words, how to read it, and the cameras that are used."""

    name: str
    read: Callable[[Path], tuple[Keypoints2d, dict[str, str]]]
    cameras: tuple[str, ...] | None = None


def sleap_mouse(folder: Path) -> tuple[Keypoints2d, dict[str, str]]:
    """Read every tenth frame of the session with `side` as in `with_side_of_boards`; and each keypoint's joint."""
    root = folder / 'mouse_sessions'
    session = SleapSession(
        root / 'minimal_session',
        joint_lookup=root / 'joint_lookup.csv',
        unit='mm',
        confidence_threshold=0.0,
    )
    seen = with_side_of_boards(session.keypoints2d())
    seen = replace(seen, confidence=(seen.confidence > 0).to(seen.xy))
    return seen[slice(0, None, EVERY)], {name: name for name in seen.names}


def with_side_of_boards(seen: Keypoints2d) -> Keypoints2d:
    """Give camera `side` of the mouse session the calibration that the rig's board pictures call for.

    Its own contradicts the others' by 72 px. This one leaves 0.70 px on the boards.
    """
    rig = seen.rig.to(torch.float64)
    c = rig.names.index('side')
    K, R, t, dist = (x.clone() for x in (rig.K, rig.R, rig.t, rig.dist))
    K[c] = torch.tensor([[751.4, 0, 639.5], [0, 751.4, 511.5], [0, 0, 1]])
    R[c] = axis_angle_to_rotmat(torch.tensor([0.1016, 1.8262, 1.6532]).double())
    t[c] = torch.tensor([-174.8, -451.3, 260.4])
    dist[c] = torch.tensor([-0.278, 0, 0, 0, 0])
    cameras = Cameras(rig.names, K, R, t, rig.size, dist, rig.unit)
    return replace(seen, cameras=cameras)


def dannce_mouse(folder: Path) -> tuple[Keypoints2d, dict[str, str]]:
    """Read every second of 81 frames drawn from ten minutes; labels in images are projections of those in space."""
    found = scipy.io.loadmat(folder / 'dannce_mouse' / 'label3d_dannce_mouse1.mat', simplify_cells=True)
    names, order = tuple(DANNCE), _label3d_order()
    xy = np.stack([np.asarray(v['data_2d']).reshape(-1, 22, 2) for v in found['labelData']], 1)
    xy = torch.from_numpy(xy[:, :, order]).double()
    params = found['params']

    def stacked(of: Callable[[dict], np.ndarray]) -> torch.Tensor:
        return torch.tensor(np.stack([of(p) for p in params])).double()

    # Written for MATLAB: rows of X R + t, and pixels from 1.
    K = stacked(lambda p: p['K'].T)
    K[:, :2, 2] -= 1
    rig = Cameras(
        tuple(str(n) for n in found['camnames']),
        K,
        stacked(lambda p: p['r'].T),
        stacked(lambda p: p['t']),
        torch.tensor([[1152.0, 1024.0]]).double().expand(len(K), 2),
        stacked(lambda p: np.concatenate((p['RDistort'][:2], p['TDistort'], p['RDistort'][2:]))),
        'mm',
    )
    there = xy.isfinite().all(-1)
    seen = Keypoints2d(xy.nan_to_num(0.0) - there.unsqueeze(-1).double(), there.double(), names, rig)
    return seen[slice(0, None, 2)], dict(DANNCE)


def _label3d_order() -> list[int]:
    """Give the columns of the file, where sides take turns by limb, in the order of `DANNCE`."""
    file = [
        'EarL', 'EarR', 'Snout', 'SpineF', 'SpineM', 'TailB', 'TailM', 'TailE',
        'ForepawL', 'WristL', 'ElbowL', 'ShoulderL', 'ForepawR', 'WristR', 'ElbowR', 'ShoulderR',
        'HindpawL', 'AnkleL', 'KneeL', 'HindpawR', 'AnkleR', 'KneeR',
    ]  # fmt: skip
    return [file.index(name) for name in DANNCE]


REAL = (
    Real('mouse, labels by image, 3 cameras', sleap_mouse, ('back', 'mid', 'top')),
    Real('mouse, labels by image, 4 cameras', sleap_mouse),
    Real('mouse, labels in space, 6 cameras', dannce_mouse),
)


def read_real(kind: Real) -> tuple[SMIL, Keypoints2d] | None:
    """Read a recording, every keypoint with an offset that is not known; None where there are no real data."""
    folder = real_data()
    if folder is None:
        return None
    seen, anchors = kind.read(folder)
    if kind.cameras is not None:
        rows = [seen.rig.names.index(name) for name in kind.cameras]
        seen = replace(
            seen,
            xy=seen.xy[:, rows],
            confidence=seen.confidence[:, rows],
            cameras=seen.rig.select(kind.cameras),
        )
    data = load_body_model_data(folder / 'models' / MODEL)
    sd = OFFSET_SHARE * float(np.ptp(data.v_template, axis=0).max())
    marks = {f'label_{name}': Landmark(joint, joint, sd=sd) for name, joint in anchors.items()}
    data = replace(data, landmarks=marks, part_sizes=data.part_sizes or default_part_sizes(data))
    names = tuple(f'label_{name}' for name in seen.names)
    return SMIL(data).double(), replace(seen, names=names).to(torch.float64)


def fit_real(body: SMIL, seen: Keypoints2d, camera: str) -> FitResult:
    """Fit with weights in standard deviations, without one camera, from the default start."""
    confidence = seen.confidence.clone()
    confidence[:, seen.rig.names.index(camera)] = 0
    handlers = [
        Keypoint2dHandler(KeypointMSELoss(reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
        LandmarkOffsetPriorHandler(),
        PartSizePriorHandler(),
    ]
    place = ('global_orient', 'transl', 'scale')
    whole = (*place, 'body_pose', 'landmark_offsets', 'part_sizes')
    keypoints = {'keypoints2d_mse': NOISE_PX**-2}
    priors = {'landmark_offset_prior': 1.0, 'part_size_prior': 1.0, 'pose': POSE_SD_RAD**-2}
    stages = [
        Stage(n_iter=10, fit=place, weights=keypoints),
        # Sizes first, while poses are held near rest.
        Stage(n_iter=20, fit=whole, weights=keypoints | priors | {'pose': 25 * POSE_SD_RAD**-2}),
        Stage(n_iter=60, ftol=1e-6, fit=whole, weights=keypoints | priors),
    ]
    solver = LevenbergMarquardt(covariance=True)
    fitter = SMPLify(body, stages, handlers, solver, use_one_betas_per_video=True)
    return fitter([replace(seen, confidence=confidence)])
