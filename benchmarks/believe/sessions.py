"""Sessions by several cameras, right ones and ones that are wrong on purpose."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from benchmarks.believe.one_view import draw_shape
from smilfit.body_models import SMIL, load_body_model
from smilfit.evaluation.verdict.refits import dealt_out, with_sides_exchanged
from smilfit.handlers import MultiviewKeypoint2dMSEInput
from smilfit.structures import Cameras, Keypoints2d
from smilfit.synthetic import make_insect, make_quadruped, random_motion
from smilfit.synthetic.camera_rigs import make_rig
from smilfit.synthetic.made_labels import LabelOptions, draw_labels, project_keypoints

N_FRAMES, SCALE, SIZE = 40, 90.0, (640, 512)
# Made ones of one kind, and those that come with the package.
ANIMALS: dict[str, Callable[[], SMIL]] = {
    'made insect': lambda: SMIL(make_insect()),
    'made quadruped': lambda: SMIL(make_quadruped()),
    'shipped insect': lambda: load_body_model('insect'),
    'shipped quadruped': lambda: load_body_model('quadruped'),
}
# As somebody would map the one onto the other who takes any four-legged file for a six-legged one.
QUADRUPED_TO_INSECT = {
    'nose': 'mandibles', 'back_of_head': 'neck', 'mid_back': 'thorax_centre', 'tail_base': 'petiole',
    'tail_tip': 'abdomen_tip',
    **{f'ear_tip_{s}': f'antenna_tip_{s}' for s in 'LR'},
    **{f'fore_elbow_{s}': f'leg_{s}1_knee' for s in 'LR'}, **{f'fore_paw_{s}': f'leg_{s}1_tip' for s in 'LR'},
    **{f'hind_knee_{s}': f'leg_{s}3_knee' for s in 'LR'}, **{f'hind_paw_{s}': f'leg_{s}3_tip' for s in 'LR'},
}  # fmt: skip

Labels = tuple[SMIL, Keypoints2d]
Make = Callable[[], Labels]


def made_session(
    animal: str, seed: int, n_cameras: int = 4, noise_px: float = 1.0, missing: float = 0.05
) -> Labels:
    """Let an animal walk before cameras, and label it with noise, gaps and a few blunders.

    Args:
        animal: of `ANIMALS`.
        seed: of all chance, its proportions among it.
        n_cameras: in a ring.
        noise_px: standard deviation of labels.
        missing: share of labels.
    """
    rng = np.random.default_rng(seed)
    body = ANIMALS[animal]()
    radius = 0.75 * SCALE * float(np.ptp(body.data.v_template, axis=0).max())
    params = random_motion(body.double(), N_FRAMES, rng, 0.35 * radius, SCALE, draw_shape(body.data, rng))
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


def shuffled(made: Labels, seed: int) -> Labels:
    """Deal the lookup out at random."""
    (given,) = dealt_out([MultiviewKeypoint2dMSEInput(made[1])], np.random.default_rng(1000 + seed))
    return made[0], given.keypoints


def swapped(made: Labels) -> Labels:
    """Take left for right."""
    found = with_sides_exchanged([MultiviewKeypoint2dMSEInput(made[1])], made[0].data)
    assert found is not None
    return made[0], found[0].keypoints


def renamed(body: SMIL, labels: Keypoints2d, names: Mapping[str, str]) -> Labels:
    """Map labels of one animal onto another's model."""
    return body, replace(labels.select(list(names)), names=tuple(names.values()))


def with_camera(made: Labels, change: Callable[[Cameras], Cameras]) -> Labels:
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


def unsynchronised(made: Labels, by: int = 6) -> Labels:
    """Let the second camera begin some frames later than the others."""
    body, seen = made
    xy, confidence = seen.xy.clone(), seen.confidence.clone()
    xy[:-by, 1], confidence[:-by, 1] = seen.xy[by:, 1], seen.confidence[by:, 1]
    return body, replace(seen, xy=xy, confidence=confidence)[: len(xy) - by]
