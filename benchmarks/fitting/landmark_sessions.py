"""Sessions with landmarks off the joints and parts of other sizes: the kernel against dense equations."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks.fitting.mouse_session import read_session
from benchmarks.fitting.setting import Setting
from benchmarks.intervals.made_sessions import Made, make_session
from benchmarks.measuring import Row, real_data, seconds_of
from smilfit.body_models import SMIL, Landmark, load_body_model_data
from smilfit.body_models.part_sizes import default_part_sizes
from smilfit.handlers import (
    BodyPosePriorHandler,
    Keypoint2dHandler,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
)
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import FitResult, Keypoints2d

MODEL = 'SMILy_Mouse_static_joints.pkl'
NOISE_PX, POSE_SD_RAD, OFFSET_SHARE = 2.0, 0.35, 0.02
# Fitted beside the pose and place, by what a row is about.
FITTED = {
    'pose and scale': (),
    'and landmark offsets': ('landmark_offsets',),
    'and part sizes': ('landmark_offsets', 'part_sizes'),
}


def landmarks(setting: Setting) -> list[Row]:
    """CPU ms a frame of one stage, kernel against torch in turns, and their energies; one shape for the clip."""
    rows = []
    for name, make in _sessions().items():
        body, seen = make()
        seen = seen[slice(setting.size(None, 4))]
        for what, further in FITTED.items():
            row: Row = {'session': name, 'frames': seen.batch_size, 'fitted': what}
            found: dict[str, tuple[float, FitResult]] = {}
            for backend in ('auto', 'torch'):
                fitter = _fitter(body, further, setting.size(30, 2), backend)
                # Kernels are compiled once.
                fitter([seen[:2]])
                found[backend] = seconds_of(lambda f=fitter, s=seen: f([s]))
            (kernel_s, kernel), (torch_s, dense) = found['auto'], found['torch']
            per_frame = 1e3 / seen.batch_size
            energies = [float(r.per_frame_loss.double().sum()) for r in (kernel, dense)]
            row |= {
                'kernel ms': per_frame * kernel_s,
                'torch ms': per_frame * torch_s,
                'ratio': torch_s / kernel_s,
                'engine': kernel.history[-1]['engine'],
                'steps': f'{kernel.history[-1]["steps"]}, {dense.history[-1]["steps"]}',
                'energy ratio': energies[0] / energies[1],
            }
            rows.append({**row, 'note': ''})
    return rows


def _sessions() -> dict[str, Callable[[], tuple[SMIL, Keypoints2d]]]:
    made = {f'made {animal}': lambda a=animal: _made(a) for animal in ('quadruped', 'insect')}
    return made if real_data() is None else {**made, 'the real mouse': _mouse}


def _made(animal: str) -> tuple[SMIL, Keypoints2d]:
    session = make_session(Made(animal, animal), seed=0)
    return session.body.float(), session.seen.to(torch.float32)


def _mouse() -> tuple[SMIL, Keypoints2d]:
    folder = real_data()
    assert folder is not None
    seen = read_session(folder / 'mouse_sessions')
    data = load_body_model_data(folder / 'models' / MODEL)
    sd = OFFSET_SHARE * float(np.ptp(data.v_template, axis=0).max())
    marks = {f'label_{name}': Landmark(name, name, sd=sd) for name in seen.names}
    data = replace(data, landmarks=marks, part_sizes=data.part_sizes or default_part_sizes(data))
    return SMIL(data), replace(seen, names=tuple(marks)).to(torch.float32)


def _fitter(body: SMIL, further: tuple[str, ...], n_iter: int, backend: str) -> SMPLify:
    handlers = [
        Keypoint2dHandler(KeypointMSELoss(reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
        LandmarkOffsetPriorHandler(),
        PartSizePriorHandler(),
    ]
    priors = {'landmark_offsets': 'landmark_offset_prior', 'part_sizes': 'part_size_prior'}
    weights = {'keypoints2d_mse': NOISE_PX**-2, 'pose': POSE_SD_RAD**-2}
    weights |= {priors[name]: 1.0 for name in further}
    fit = ('global_orient', 'transl', 'body_pose', 'scale', *further)
    stage = Stage(n_iter=n_iter, ftol=1e-4, fit=fit, weights=weights)
    return SMPLify(body, [stage], handlers, LevenbergMarquardt(backend), use_one_betas_per_video=True)
