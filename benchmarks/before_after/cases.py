"""The cases: each is made once in a worker, then called again and again.

A case is a function of no argument that does the work and returns a figure of its quality (energy, error, mean of the
picture), so that a faster answer that is another one is seen. Only names that both checkouts have may be used.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import smilfit
from benchmarks.fitting.human_model import human_clip, human_data
from benchmarks.fitting.human_table import OWN_STEPS
from benchmarks.fitting.methods import LM_TORCH, LM_WARP, joint_lbfgs, own_methods
from benchmarks.fitting.mouse_session import read_session, settled
from benchmarks.fitting.problems import Problem, plain_data, seen_by_cameras, seen_in_space
from benchmarks.fitting.reliability import SIGMA, with_outliers
from benchmarks.image_scenes import four_views, single_views
from benchmarks.measuring import real_data, real_stick
from benchmarks.silhouette import SIGMA as SILHOUETTE_SIGMA
from benchmarks.silhouette import camera
from smilfit.body_models import SMIL, BodyModelData, load_body_model, load_body_model_data
from smilfit.registry import build_registrant, read_config
from smilfit.renderers import SilhouetteRenderer, ZBufferRenderer
from smilfit.structures import BodyParams
from smilfit.synthetic import make_insect, make_quadruped

Case = Callable[[], float]
SOLVERS = {'torch': LM_TORCH, 'kernel': LM_WARP}
# Configs are those of the checkout whose code runs.
CONFIGS = Path(smilfit.__file__).parents[1] / 'configs' / 'fit'


def cases() -> dict[str, Callable[[], Case]]:
    """Give all cases by name, with what makes them."""
    found: dict[str, Callable[[], Case]] = {}
    for solver, method in SOLVERS.items():
        for batch in (1, 32, 512):
            found[f'3D, batch {batch}, {solver}'] = lambda b=batch, m=method: _fit(_space(b), m)
        found |= {
            f'four views, batch 32, {solver}': lambda m=method: _fit(_views(32), m),
            f'18 views, batch 32, {solver}': lambda m=method: _fit(_views(32, n_views=18), m),
            f'one shape, 250 frames, {solver}': lambda m=method: _fit(_views(250, shared_shape=True), m),
            f'outliers, 256 frames, {solver}': lambda m=method: _fit(_spoilt(256), m),
            f'covariance, 64 frames, {solver}': lambda m=method: _fit(_space(64), m, covariance=True),
        }
        for batch in (1, 32, 128):
            found[f'human, batch {batch}, {solver}'] = lambda b=batch, m=method: _human(b, m)
    found['3D, batch 32, L-BFGS'] = lambda: _lbfgs(_space(32))
    for name in ('multiview_keypoints_lm', 'multiview_keypoints'):
        found[f'mouse session, {name}'] = lambda n=name: _mouse(n)
    for name in ('smalify', 'smalify_keypoints'):
        found[f'four pictures, {name}'] = lambda n=name: _pictures(n)
    found['four views of four frames, smalify'] = lambda: _pictures('smalify', four_views)
    for batch in (1, 32, 256):
        for what in ('joints', 'vertices'):
            for backward in (False, True):
                passes = 'forward and backward' if backward else 'forward'
                found[f'body model, {what}, batch {batch}, {passes}'] = lambda b=batch, w=what, g=backward: (
                    _body(b, w, g)
                )
    for px in (64, 224):
        found[f'silhouette, soft, {px} px'] = lambda n=px: _silhouette('soft', n)
        found[f'silhouette, visible, {px} px'] = lambda n=px: _silhouette('visible', n)
        found[f'z-buffer, {px} px'] = lambda n=px: _silhouette('z-buffer', n)
    return found


def _data() -> BodyModelData:
    path = real_stick()
    return plain_data(load_body_model_data(path) if path else make_insect())


def _space(batch: int) -> Problem:
    return seen_in_space(_data(), batch, 0)


def _views(batch: int, **options: Any) -> Problem:
    return seen_by_cameras(_data(), batch, 0, **options)


def _spoilt(batch: int) -> Problem:
    problem = _space(batch)
    return replace(problem, seen=with_outliers(problem)[0], sigma=SIGMA)


def _fit(problem: Problem, solver: str, **options: Any) -> Case:
    method = own_methods(**options)[solver]
    if method is None:
        raise ModuleNotFoundError(
            f'before_after: {solver} must be installed; it is not. pip install warp-lang'
        )
    return lambda: float(method(problem).result.history[-1]['loss_end'])


def _lbfgs(problem: Problem) -> Case:
    return lambda: float(joint_lbfgs(problem).result.history[-1]['loss_end'])


def _human(batch: int, solver: str) -> Case:
    problem = human_clip(human_data(), batch)
    method = own_methods(n_iter=OWN_STEPS)[solver]
    return lambda: 1e3 * float(problem.error(method(problem).params).mean())


def _mouse(config: str) -> Case:
    folder = real_data()
    if folder is None:
        raise FileNotFoundError('before_after: the mouse session must be there. Set SMILFIT_REAL_DATA.')
    seen = read_session(folder / 'mouse_sessions')
    body = load_body_model(folder / 'models' / 'SMILy_Mouse_static_joints.pkl')
    cfg = settled(CONFIGS / f'{config}.py', True, None)
    fitter = build_registrant({**cfg, 'body_model': body, 'verbose': False})
    return lambda: float(fitter([seen]).history[-1]['loss_end'])


def _pictures(config: str, views: Callable[..., Any] = single_views, n: int = 4) -> Case:
    scene = views(SMIL(make_quadruped()).double(), n, 0)
    cfg = copy.deepcopy(read_config(CONFIGS / f'{config}.py').to_dict())
    for stage in cfg['stages']:
        stage.pop('in_picture_weight', None)
        stage.pop('in_image_weight', None)
    fitter = build_registrant({**cfg, 'body_model': SMIL(make_quadruped()), 'verbose': False})
    masks = ('mask_distance', 'silhouette') if config == 'smalify' else ()
    seen = [scene.keypoints, *(scene.mask_input(key) for key in masks)]
    return lambda: float(fitter(seen).history[-1]['loss_end'])


def _body(batch: int, what: str, backward: bool, calls: int = 10) -> Case:
    """Call ten times: one call is shorter than the clock is fine."""
    body, rng = SMIL(_data()), torch.Generator().manual_seed(0)
    shapes = ((batch, 3), (batch, body.n_joints - 1, 3), (batch, body.n_betas), (batch, 3))
    leaves = [(0.3 * torch.randn(s, generator=rng)).requires_grad_() for s in shapes]
    params = BodyParams(*leaves, torch.ones(batch))

    def case() -> float:
        for _ in range(calls):
            output = body(params, (what,))
            value = (output.joints if what == 'joints' else output.vertices).square().sum()
            if backward:
                torch.autograd.grad(value, leaves, allow_unused=True)
        return float(value.detach())

    return case


def _silhouette(kind: str, px: int) -> Case:
    data = _data()
    vertices, faces = torch.tensor(data.v_template).float(), torch.tensor(np.asarray(data.faces)).long()
    vertices = vertices - (vertices.amax(0) + vertices.amin(0)) / 2
    vertices = (vertices / vertices.norm(dim=1).max())[None]
    flat = kind == 'z-buffer'
    renderer = ZBufferRenderer() if flat else SilhouetteRenderer(kind, SILHOUETTE_SIGMA)
    cameras = camera(px)

    def case() -> float:
        leaf = vertices.clone().requires_grad_()
        render = renderer(leaf, faces, cameras)
        value = (render.depth.nan_to_num(posinf=0.0) if flat else render.alpha).sum()
        value.backward()
        return float(value.detach())

    return case
