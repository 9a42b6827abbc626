"""Which engine runs each stage of the shipped configs, on a tiny case of the demo's animal, or of a person."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.fitting.human_model import human_clip, human_data
from benchmarks.fitting.setting import Setting
from benchmarks.image_scenes import Scene, four_views, single_views
from benchmarks.measuring import ROOT, Row
from smilfit.apis.fitting.fit_config import of_size
from smilfit.body_models import SMIL
from smilfit.handlers import ImageFrameInput
from smilfit.io import triangulate_keypoints
from smilfit.registrants import SMALify, SMPLify
from smilfit.registry import build_registrant, read_config
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped

CONFIGS = ROOT / 'configs' / 'fit'
KERNEL_ENGINES = ('kernel', 'kernel and torch')
# Configs of people: the made body of SMPL's size has neither hands nor a face, whose joints then do not turn.
PEOPLE = ('smplify', 'smplifyx')
# Of a mask's longer side, px: the question is which engine runs, not how well it fits.
MASK_SIDE, N_HUMAN_VERTICES = 32, 200


def engines(setting: Setting) -> list[Row]:
    """Engine of every stage of every shipped config; a few frames of an animal or a person, two steps each."""
    rows: list[Row] = []
    for path in shipped_configs():
        for stage in tiny_fit(path).history:
            row: Row = {'config': path.stem, 'stage': stage['stage'], 'solver': stage['solver']}
            rows.append({**row, 'engine': stage['engine'], 'note': stage.get('no_kernel_because', '')})
    engines = [row['engine'] for row in rows if row['solver'] == 'LevenbergMarquardt']
    taken = sum(engine in KERNEL_ENGINES for engine in engines)
    total: Row = {'config': 'all', 'stage': 'all', 'solver': 'LevenbergMarquardt', 'note': ''}
    return [*rows, {**total, 'engine': f'kernel in {taken} of {len(engines)}'}]


def shipped_configs() -> list[Path]:
    """List the shipped configs of fits, but those that read a recording's images themselves."""
    return sorted(path for path in CONFIGS.glob('*.py') if read_config(path).type != 'MaskSMPLify')


def tiny_fit(path: Path, n_frames: int = 4, n_iter: int = 2) -> FitResult:
    """Run a shipped config on a few frames with all that it can be given, a few steps a stage."""
    cfg: dict[str, Any] = copy.deepcopy(read_config(path).to_dict())
    for stage in cfg['stages']:
        stage['n_iter'] = n_iter
    if cfg['type'] == 'SMALify':
        cfg['mask_side'] = MASK_SIDE
    if path.stem not in PEOPLE:
        return _of_animal(cfg, n_frames)
    problem = human_clip(human_data(N_HUMAN_VERTICES), n_frames)
    return build_registrant({**cfg, 'body_model': problem.body, 'verbose': False})([problem.seen])


def _of_animal(cfg: Mapping[str, Any], n_frames: int) -> FitResult:
    body = SMIL(make_quadruped()).double()
    cfg = of_size(cfg, float(body.v_template.amax(0).sub(body.v_template.amin(0)).norm()))
    fitter = build_registrant({**cfg, 'body_model': SMIL(make_quadruped()), 'verbose': False})
    one_view = isinstance(fitter, SMALify)
    scene = single_views(body, n_frames, 0, video=True) if one_view else four_views(body, n_frames, 0)
    return fitter(inputs_of(fitter, scene))


def inputs_of(fitter: SMPLify, scene: Scene) -> list[Any]:
    """Give a scene as every Input that a stage weights."""
    keys = {key for stage in fitter.stages for key, weight in stage.weights.items() if weight}
    inputs: list[Any] = [scene.mask_input(key) for key in ('mask_distance', 'silhouette') if key in keys]
    if 'keypoints2d_mse' in keys:
        inputs.append(scene.keypoints)
    if 'keypoints3d_mse' in keys:
        inputs.append(triangulate_keypoints(scene.keypoints))
    if 'in_image' in keys:
        inputs.append(ImageFrameInput(scene.cameras, scene.keypoints.batch_size))
    return inputs
