"""Fits that are right and fits that are wrong on purpose: what `benchmarks/believe.py` asks a verdict on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from benchmarks.fitting.mouse_session import read_session
from benchmarks.measuring import ROOT, real_data
from smilfit.body_models import SMIL, load_body_model
from smilfit.evaluation.verdict.refits import dealt_out, with_sides_exchanged
from smilfit.handlers import MultiviewKeypoint2dMSEInput
from smilfit.registry import read_config
from smilfit.structures import Cameras, Keypoints2d
from smilfit.synthetic import make_insect, make_quadruped, random_motion
from smilfit.synthetic.camera_rig import make_rig
from smilfit.synthetic.labels import LabelOptions, draw_labels, project_keypoints
from smilfit.synthetic.motion import draw_betas

CONFIG = ROOT / 'configs' / 'fit' / 'multiview_keypoints_lm.py'
N_FRAMES, SCALE, SIZE = 40, 90.0, (640, 512)
# As somebody would map the one onto the other who takes any four-legged file for a six-legged one.
QUADRUPED_TO_INSECT = {
    'nose': 'mandibles', 'back_of_head': 'neck', 'mid_back': 'thorax_centre', 'tail_base': 'petiole',
    'tail_tip': 'abdomen_tip',
    **{f'ear_tip_{s}': f'antenna_tip_{s}' for s in 'LR'},
    **{f'fore_elbow_{s}': f'leg_{s}1_knee' for s in 'LR'}, **{f'fore_paw_{s}': f'leg_{s}1_tip' for s in 'LR'},
    **{f'hind_knee_{s}': f'leg_{s}3_knee' for s in 'LR'}, **{f'hind_paw_{s}': f'leg_{s}3_tip' for s in 'LR'},
}  # fmt: skip
MOUSE_TO_STICK = {
    'Nose': 'b_a_5', 'skull': 'b_a_4', 'cervical-vertebrae': 'b_a_3', 'tharocic-vertebrae': 'b_t',
    'humerus_L': 'l_1_fe_l', 'humerus_R': 'l_1_fe_r', 'femur_L': 'l_3_fe_l', 'femur_R': 'l_3_fe_r',
    'Ear_L_tip': 'l_2_fe_l', 'Ear_R_tip': 'l_2_fe_r', 'Tail_00': 'b_a_1', 'Tail_02': 'b_a_2',
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A fit to judge: the body, the labels with their cameras, and the config's changes; `right` says the truth."""

    name: str
    right: bool
    make: Callable[[], tuple[SMIL, Keypoints2d]]
    options: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """Give the config, with the changes."""
        cfg = read_config(CONFIG).to_dict()
        for stage in cfg['stages']:
            stage.update(self.options)
        return cfg


def made_session(
    animal: str, seed: int, n_cameras: int = 4, noise_px: float = 1.0, missing: float = 0.05
) -> tuple[SMIL, Keypoints2d]:
    """Let a made animal walk before cameras, and label it with noise, gaps and a few blunders."""
    rng = np.random.default_rng(seed)
    body = SMIL({'insect': make_insect, 'quadruped': make_quadruped}[animal]())
    radius = 0.75 * SCALE * float(np.ptp(body.data.v_template, axis=0).max())
    params = random_motion(body.double(), N_FRAMES, rng, 0.35 * radius, SCALE, draw_betas(body.data, rng))
    rig = make_rig(n_cameras, radius, rng, SIZE, lens=False)
    names = list(body.data.keypoint_sets['sleap'])
    with torch.no_grad():
        points = body(params, names).select(names)
    pixels, _, seen = project_keypoints(points, rig)
    options = LabelOptions(noise_px=noise_px, missing=missing, hidden=0.0, n_gaps=0)
    drawn = [
        draw_labels(pixels[:, c], seen[:, c], np.zeros_like(seen[:, c]), SIZE, options, rng)
        for c in range(n_cameras)
    ]
    xy = torch.from_numpy(np.stack([xy for xy, _ in drawn], 1))
    confidence = torch.from_numpy(np.stack([score for _, score in drawn], 1)).nan_to_num(0.0)
    labels = Keypoints2d(xy.nan_to_num(0.0), confidence, tuple(names), rig)
    return body.float(), labels.to(torch.float32)


def shuffled(made: tuple[SMIL, Keypoints2d], seed: int) -> tuple[SMIL, Keypoints2d]:
    """Deal the lookup out at random."""
    (given,) = dealt_out([MultiviewKeypoint2dMSEInput(made[1])], np.random.default_rng(1000 + seed))
    return made[0], given.keypoints


def swapped(made: tuple[SMIL, Keypoints2d]) -> tuple[SMIL, Keypoints2d]:
    """Take left for right."""
    found = with_sides_exchanged([MultiviewKeypoint2dMSEInput(made[1])], made[0].data)
    assert found is not None
    return made[0], found[0].keypoints


def renamed(body: SMIL, labels: Keypoints2d, names: Mapping[str, str]) -> tuple[SMIL, Keypoints2d]:
    """Map labels of one animal onto another's model."""
    return body, replace(labels.select(list(names)), names=tuple(names.values()))


def with_camera(
    made: tuple[SMIL, Keypoints2d], change: Callable[[Cameras], Cameras]
) -> tuple[SMIL, Keypoints2d]:
    """Keep a camera whose calibration is false."""
    return made[0], replace(made[1], cameras=change(made[1].rig))


def of_another(rig: Cameras) -> Cameras:
    """Give the second camera the place and direction of the third."""
    R, t = rig.R.clone(), rig.t.clone()
    R[1], t[1] = R[2], t[2]
    return replace(rig, R=R, t=t)


def in_other_unit(rig: Cameras) -> Cameras:
    """Give the second camera's place in cm where the others' are in mm."""
    t = rig.t.clone()
    t[1] = t[1] / 10
    return replace(rig, t=t)


def turned(rig: Cameras) -> Cameras:
    """Turn the second camera by 8 degrees about its own axis down."""
    angle = np.deg2rad(8.0)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    R, t = rig.R.clone(), rig.t.clone()
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]).to(R)
    R[1], t[1] = turn @ R[1], turn @ t[1]
    return replace(rig, R=R, t=t)


def exchanged(rig: Cameras) -> Cameras:
    """Exchange the calibrations of two cameras."""
    order = [1, 0, *range(2, len(rig))]
    return rig.map(lambda x: x[order])


def mouse(model: str = 'SMILy_Mouse_static_joints') -> tuple[SMIL, Keypoints2d]:
    """Read the real mouse session."""
    folder = real_data()
    assert folder is not None
    return load_body_model(folder / 'models' / f'{model}.pkl'), read_session(folder / 'mouse_sessions')


def cases(seed: int = 0, real: bool = True) -> list[Case]:
    """List all cases of a seed: 20 right ones and 20 wrong ones where the real data are, two less without."""
    found: list[Case] = []

    def add(name: str, right: bool, make: Callable[[], tuple[SMIL, Keypoints2d]], **options: Any) -> None:
        found.append(Case(name, right, make, options))

    base, kinds = 100 * seed, ('insect', 'quadruped')
    for i in range(10):
        for a, animal in enumerate(kinds):
            at, cameras, noise = base + 2 * i + a, (4, 3, 6, 4, 3)[i % 5], (1.0, 2.0, 0.5, 3.0, 1.0)[i % 5]
            missing = (0.05, 0.1, 0.3, 0.05, 0.05)[i % 5]
            add(
                f'{animal}, {cameras} cameras, {noise} px, {missing:.0%} missing',
                True,
                lambda animal=animal, at=at, c=cameras, n=noise, m=missing: made_session(animal, at, c, n, m),
            )
    for i, animal in enumerate((*kinds, *kinds)):
        at = base + 50 + i
        add(
            f'{animal}, shuffled lookup',
            False,
            lambda animal=animal, at=at: shuffled(made_session(animal, at), at),
        )
        add(
            f'{animal}, left and right swapped',
            False,
            lambda animal=animal, at=at: swapped(made_session(animal, at)),
        )
    calibrations = (of_another, turned, in_other_unit, exchanged)
    for i, change in enumerate(calibrations):
        at = base + 60 + i
        what = (change.__doc__ or '').rstrip('.').lower()
        add(
            f'{kinds[i % 2]}, false camera kept: {what}',
            False,
            lambda i=i, at=at, change=change: with_camera(made_session(kinds[i % 2], at), change),
        )
    for i in range(3):
        at = base + 70 + i
        add(
            f'insect model on a quadruped ({i + 1})',
            False,
            lambda at=at: renamed(SMIL(make_insect()), made_session('quadruped', at)[1], QUADRUPED_TO_INSECT),
        )
        add(
            f'quadruped model on an insect ({i + 1})',
            False,
            lambda at=at: renamed(
                SMIL(make_quadruped()),
                made_session('insect', at)[1],
                {b: a for a, b in QUADRUPED_TO_INSECT.items()},
            ),
        )
    if real and real_data() is not None:
        add(
            'stick insect on the real mouse',
            False,
            lambda: renamed(mouse('SMILy_STICK')[0], mouse()[1], MOUSE_TO_STICK),
        )
        add('real mouse, bones free to stretch', False, mouse)
    return found
