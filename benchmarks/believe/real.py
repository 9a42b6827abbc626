"""Real mice before several cameras, and what goes wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.io
import torch

from benchmarks.believe.sessions import Labels, renamed
from benchmarks.fitting.mouse_session import EXCLUDED
from benchmarks.measuring import real_data
from smilfit.body_models import SMIL, load_body_model
from smilfit.io import SleapSession
from smilfit.io.landmark_rows import read_landmarks
from smilfit.io.lookup import read_lookup_rows
from smilfit.io.lookup_proposals import body_axes, propose_lookup, write_proposal
from smilfit.structures import Cameras, Keypoints2d

MOUSE_TO_STICK = {
    'Nose': 'b_a_5', 'skull': 'b_a_4', 'cervical-vertebrae': 'b_a_3', 'tharocic-vertebrae': 'b_t',
    'humerus_L': 'l_1_fe_l', 'humerus_R': 'l_1_fe_r', 'femur_L': 'l_3_fe_l', 'femur_R': 'l_3_fe_r',
    'Ear_L_tip': 'l_2_fe_l', 'Ear_R_tip': 'l_2_fe_r', 'Tail_00': 'b_a_1', 'Tail_02': 'b_a_2',
}  # fmt: skip
# The keypoints of DANNCE's mouse, in their order; its paws are the toes'.
DANNCE_KEYPOINTS = (
    'EarL', 'EarR', 'Snout', 'SpineF', 'SpineM', 'TailBase', 'TailMid', 'TailTip',
    'ForepawL', 'WristL', 'ElbowL', 'ShoulderL', 'ForepawR', 'WristR', 'ElbowR', 'ShoulderR',
    'HindpawL', 'AnkleL', 'KneeL', 'HindpawR', 'AnkleR', 'KneeR',
)  # fmt: skip


def real_model(name: str) -> SMIL:
    """Load one of SMILify's models."""
    return load_body_model(_folder() / 'models' / f'{name}.pkl')


def mouse(lookup: str = 'joints', cameras_left_out: tuple[str, ...] = EXCLUDED) -> Labels:
    """Read the mouse before three cameras that agree, and `side`, whose calibration is another camera's.

    Args:
        lookup: 'joints' as somebody wrote it down by hand, 'proposed' with points of the skin as
            `smilfit landmarks` proposes them.
        cameras_left_out: of the session.
    """
    body, folder = real_model('SMILy_Mouse_static_joints'), _folder() / 'mouse_sessions'
    if lookup == 'joints':
        return body, _session(folder, folder / 'joint_lookup.csv', cameras_left_out).keypoints2d()
    bare = _session(folder, None, cameras_left_out)
    with TemporaryDirectory() as scratch:
        table = _proposed(body, bare.keypoint_names, Path(scratch))
        session = _session(folder, table, cameras_left_out)
        return body.with_landmarks(session.landmarks(body.data)), session.keypoints2d()


def stick_on_mouse() -> Labels:
    """Map the mouse's labels onto a stick insect."""
    return renamed(real_model('SMILy_STICK'), mouse()[1], MOUSE_TO_STICK)


def dannce_mouse() -> Labels:
    """Read 81 moments of another mouse, labelled in 3D and seen by six cameras."""
    path = _folder() / 'dannce_mouse' / 'label3d_dannce_mouse1.mat'
    content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    cameras = content['params']
    seen = np.stack(
        [labels.data_2d.reshape(len(labels.data_2d), -1, 2) for labels in content['labelData']], 1
    )

    def stacked(values: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(values)).double()

    rig = Cameras(
        names=tuple(str(name) for name in content['camnames']),
        # Matlab counts pixels from 1.
        K=stacked([c.K.T - np.array([[0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]]) for c in cameras]),
        R=stacked([c.r.T for c in cameras]),
        t=stacked([c.t for c in cameras]),
        size=torch.tensor([[1152.0, 1024.0]]).double().expand(len(cameras), 2).clone(),
        dist=stacked([np.array([*c.RDistort[:2], *c.TDistort, c.RDistort[2]]) for c in cameras]),
        unit='mm',
    )
    xy = torch.from_numpy(seen).double()
    there = xy.isfinite().all(-1)
    labels = Keypoints2d((xy - 1).nan_to_num(0.0), there.double(), DANNCE_KEYPOINTS, rig).to(torch.float32)
    body = real_model('SMILy_Mouse_static_joints')
    with TemporaryDirectory() as scratch:
        table = _proposed(body, DANNCE_KEYPOINTS, Path(scratch))
        given = {row.data: row.model for row in read_lookup_rows(table) if row.data and row.model}
        return renamed(body.with_landmarks(read_landmarks(table, body.data)), labels, given)


def _proposed(body: SMIL, names: Sequence[str], folder: Path) -> Path:
    """Write the lookup that `smilfit landmarks` proposes."""
    table = folder / 'joint_lookup.csv'
    return write_proposal(table, propose_lookup(body.data, names, body_axes(body.data)), body.data)


def _session(folder: Path, lookup: Path | None, left_out: tuple[str, ...]) -> SleapSession:
    return SleapSession(
        folder / 'minimal_session',
        joint_lookup=lookup,
        exclude_cameras=left_out,
        unit='mm',
        confidence_threshold=0.0,
    )


def _folder() -> Path:
    folder = real_data()
    if folder is None:
        raise FileNotFoundError('believe: there must be real data; got none. Set SMILFIT_REAL_DATA.')
    return folder
