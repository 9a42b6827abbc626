"""What users run: the shipped configs with their default start, on the demo's animal and on the real mouse session.

The animal is the demo's: a walk seen by four cameras with lenses (320 x 256 px), 19 keypoints of which 8 are points
of the skin, 1 px of noise, a fifth of them missing, frames one after another. Pictures are those of
`benchmarks.images`.
Beside them stands the problem of the peers' tables: independent frames, two priors, no start, a heading near rest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.fitting.headings import fitter_of
from benchmarks.fitting.mouse_session import read_session, settled
from benchmarks.fitting.problems import Problem, plain_data, seen_by_cameras
from benchmarks.fitting.setting import Setting
from benchmarks.fitting.shipped_engines import CONFIGS, inputs_of
from benchmarks.image_scenes import single_views
from benchmarks.measuring import Row, real_data, seconds_of
from smilfit.body_models import SMIL, load_body_model
from smilfit.registry import build_registrant
from smilfit.structures import BodyParams, FitResult, Keypoints2d
from smilfit.synthetic import make_quadruped, make_rig, random_motion

# As `make demo` has them.
SCALE_MM, ARENA_MM, N_CAMERAS, NOISE_PX, MISSING = 90.0, 67.5, 4, 1.0, 0.2
ROAMING = 0.35
KEYPOINT_SET = 'sleap'
BATCHES = (1, 32, 512)
# A frame whose joints are off by more on average, percent of the body's length, ended somewhere else.
FAR = 25.0
STRIPPED = 'two priors, frames apart'


@dataclass(frozen=True)
class Run:
    """A fit to be timed: what it is of, and how far it ended from the truth, where that is known."""

    data: str
    config: str
    motion: str
    batch: int
    fit: Callable[[], FitResult]
    error_percent: Callable[[BodyParams], Tensor] | None


def shipped(setting: Setting) -> list[Row]:
    """Shipped configs by batch, motion terms on and off, and the stripped problem; engines of their stages."""
    batches = setting.size(BATCHES, (2,))
    runs = [run for batch in batches for run in of_animal(batch, setting)]
    runs += [run for batch in setting.size((1, 32, 120), (2,)) for run in of_mouse(batch, setting)]
    return [row_of(run) for run in runs]


def shipped_pictures(setting: Setting) -> list[Row]:
    """Shipped configs of one view by batch, on made pictures; engines of their stages."""
    return [row_of(run) for run in of_pictures(setting)]


def row_of(run: Run) -> Row:
    """Fit once to compile, then time it."""
    run.fit()
    seconds, result = seconds_of(run.fit)
    row: Row = {'data': run.data, 'config': run.config, 'motion': run.motion, 'batch': run.batch}
    row |= {'ms_per_frame': 1e3 * seconds / run.batch}
    error = run.error_percent(result.params) if run.error_percent else torch.tensor([torch.nan])
    row |= {'error_percent': float(error.median()), 'far_percent': 100 * float((error > FAR).float().mean())}
    row |= {'converged_percent': 100 * float(result.converged.float().mean())}
    # Of several windows each has its own history.
    by_stage: dict[str, list[str]] = {}
    for stage in result.history:
        by_stage.setdefault(stage['stage'], []).append(stage['engine'])
    engines = (' or '.join(dict.fromkeys(found)) for found in by_stage.values())
    return {**row, 'engines': ', '.join(engines), 'note': ''}


def of_animal(batch: int, setting: Setting) -> list[Run]:
    """Fit so many frames of a walk by the multi-camera configs, and as many frames of the stripped problem."""
    problem, n_iter = walk(batch), setting.size(None, 1)
    cases = [
        ('multiview_keypoints_lm', True),
        ('multiview_keypoints_lm', False),
        ('multiview_keypoints', True),
    ]
    runs = []
    for config, motion in cases if batch < max(BATCHES) else cases[:2]:
        fit = by_config(config, problem.body, problem.seen, motion, n_iter)
        runs.append(Run('animal', config, ('off', 'on')[motion], batch, fit, error_of(problem)))
    bare = animal_views(batch)
    for name, initializer in ((f'{STRIPPED}, default start', 'rigid'), (f'{STRIPPED}, no start', None)):
        fitter = fitter_of(bare, initializer)
        runs.append(Run('animal', name, 'none', batch, lambda f=fitter: f([bare.seen]), error_of(bare)))
    return runs


def of_mouse(batch: int, setting: Setting) -> list[Run]:
    """Fit the first frames of the real session; it has no truth."""
    folder = real_data()
    if folder is None:
        return []
    seen = read_session(folder / 'mouse_sessions')[slice(batch)]
    body = load_body_model(folder / 'models' / 'SMILy_Mouse_static_joints.pkl')
    n_iter, config = setting.size(None, 1), 'multiview_keypoints_lm'
    return [
        Run('mouse', config, motion, batch, by_config(config, body, seen, motion == 'on', n_iter), None)
        for motion in ('on', 'off')
    ]


def of_pictures(setting: Setting) -> list[Run]:
    """Fit single pictures and a video by the configs of one view."""
    sizes = {
        'smalify_keypoints': (1, 32, 512),
        'smalify': (1, 8),
        'smalify_video': (8,),
        'smalify_masks': (8,),
    }
    sizes = setting.size(sizes, {'smalify_keypoints': (2,)})
    return [of_scene(config, batch, setting) for config, batches in sizes.items() for batch in batches]


def of_scene(config: str, batch: int, setting: Setting) -> Run:
    """Fit made pictures of the animal by a config of one view."""
    video = config == 'smalify_video'
    scene = single_views(SMIL(make_quadruped()).double(), batch, 0, video=video)
    body = SMIL(make_quadruped())
    cfg = settled(CONFIGS / f'{config}.py', True, setting.size(None, 1))
    fitter = build_registrant({**cfg, 'body_model': body, 'verbose': False})
    inputs = inputs_of(fitter, scene)
    problem = Problem(body.data, body, scene.truth.to(torch.float32), scene.keypoints)
    motion = 'on' if video else 'none'
    return Run('pictures', config, motion, batch, lambda: fitter(inputs), error_of(problem))


def by_config(
    config: str, body: SMIL, seen: Keypoints2d, motion: bool, n_iter: int | None
) -> Callable[[], FitResult]:
    """Build a shipped config with its default start."""
    cfg = settled(CONFIGS / f'{config}.py', motion, n_iter)
    fitter = build_registrant({**cfg, 'body_model': body, 'verbose': False})
    return lambda: fitter([seen])


def error_of(problem: Problem) -> Callable[[BodyParams], Tensor]:
    """Give each frame's mean distance of joints from their true places, percent of the body's length."""
    length = problem.body.rest_size * float(problem.truth.scale.mean())
    return lambda params: 100 * problem.error(params).mean(1) / length


def walk(batch: int, seed: int = 0) -> Problem:
    """Show frames of a walk, one after another, to the demo's kind of cameras."""
    rng, body = np.random.default_rng(seed), SMIL(make_quadruped())
    truth = random_motion(body, batch, rng, ROAMING * ARENA_MM, SCALE_MM)
    cameras = make_rig(N_CAMERAS, ARENA_MM, rng)
    names = tuple(body.data.keypoint_sets[KEYPOINT_SET])
    with torch.no_grad():
        points = SMIL(make_quadruped()).double()(truth, need=names).select(names)
    pixels = cameras.project(points)[0]
    pixels = pixels + NOISE_PX * torch.from_numpy(rng.standard_normal(pixels.shape))
    confidence = torch.from_numpy(rng.random(pixels.shape[:3]) >= MISSING)
    seen = Keypoints2d(pixels, confidence.double(), names, cameras).to(torch.float32)
    return Problem(body.data, body, truth.to(torch.float32), seen, shared_shape=True)


def animal_views(batch: int) -> Problem:
    """Show independent poses near rest, and the same keypoints, to the cameras of the peers' tables."""
    data = plain_data(make_quadruped())
    return seen_by_cameras(data, batch, 0, names=tuple(data.keypoint_sets[KEYPOINT_SET]))
