"""SMALify: truth recovered from one view, starts rescued, videos in windows, a focal length found."""

import json
from dataclasses import replace
from itertools import product

import pytest
import torch

from benchmarks.image_scenes import masks_of, single_views
from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    FocalPriorHandler,
    Keypoint2dHandler,
    SilhouetteDistanceHandler,
    SilhouetteHandler,
    SilhouetteInput,
    SplayPriorHandler,
)
from smilfit.losses import SilhouetteIoULoss
from smilfit.registrants import SMALify
from smilfit.registrants.clip_fit import windows_of
from smilfit.registrants.views.starts import angle_between, best_path
from smilfit.solvers import LBFGS, Adam, LevenbergMarquardt, Processes
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped

LM = LevenbergMarquardt(gnc_schedule=(4.0,))
KEYPOINTS = {'keypoints2d_mse_weight': 1.0}
PLACE = {'name': 'place', 'n_iter': 10, 'ftol': 1e-3, 'fit_body_pose': False, 'fit_betas': False, **KEYPOINTS}
POSE = {
    'name': 'pose',
    'n_iter': 15,
    'ftol': 1e-3,
    'fit_betas': False,
    'pose_prior_weight': 200.0,
    **KEYPOINTS,
}
SHAPE = {
    'name': 'shape', 'n_iter': 15, 'ftol': 1e-3, 'pose_prior_weight': 50.0, 'shape_prior_weight': 0.2, **KEYPOINTS
}  # fmt: skip


@pytest.fixture(scope='module')
def truly():
    return SMIL(make_quadruped()).double()


def smalify(stages, *handlers, **kwargs):
    priors = (BodyPosePriorHandler(handler_key='pose_prior'), BetasPriorHandler(handler_key='shape_prior'))
    options = {'optimizer': LM, 'hypothesis_stages': min(2, len(stages)), **kwargs}
    return SMALify(SMIL(make_quadruped()), stages, [Keypoint2dHandler(), *priors, *handlers], **options)


def missed_px(truly, scene, result):
    """Distances of the fitted keypoints from the true ones, px, by frame and keypoint."""
    names = scene.keypoints.names
    cameras = scene.cameras if result.cameras is None else result.cameras.to(torch.float64)
    matches = cameras.project(truly(result.params.to(torch.float64), names).keypoints)[0]
    return (matches - scene.cameras.project(truly(scene.truth, names).keypoints)[0]).norm(dim=-1)[:, 0]


def overlap(truly, scene, params):
    masks = masks_of(truly, params.to(torch.float64), scene.cameras)
    return (masks & scene.masks).flatten(1).sum(1) / (masks | scene.masks).flatten(1).sum(1)


def test_one_view_of_keypoints_and_a_mask(truly):
    scene = single_views(truly, 4, seed=0)
    handler = SilhouetteDistanceHandler(handler_key='mask')
    fit = smalify([PLACE, POSE, {**SHAPE, 'mask_weight': 0.5}], handler, mask_side=160)
    result = fit([scene.keypoints, scene.mask_input('mask')])
    assert (missed_px(truly, scene, result) < 5).double().mean() >= 0.95
    assert overlap(truly, scene, result.params).min() > 0.85
    assert overlap(truly, scene, result.params).mean() > overlap(truly, scene, result.start).mean() + 0.1
    assert result.report['placed_by_keypoints'] == 4
    hypotheses = result.report['hypotheses']
    assert len(hypotheses['chosen']) == len(hypotheses['losses']) == 4
    assert all(loss[chosen] == min(loss) for loss, chosen in zip(hypotheses['losses'], hypotheses['chosen']))
    size = truly.rest_size
    root = (result.params.transl.double() - scene.truth.transl).norm(dim=1)
    assert bool((root < 0.3 * size).all())


def test_a_rendered_silhouette_moves_the_body_to_its_mask(truly):
    scene = single_views(truly, 1, seed=2)
    start = scene.truth.replace(transl=scene.truth.transl + torch.tensor([0.03, 0.02, 0.0]).double())
    stage = {
        'fit_body_pose': False, 'fit_betas': False, 'fit_global_orient': False,
        'n_iter': 12, 'optimizer': Adam(lr=0.004), 'silhouette_weight': 1.0,
    }  # fmt: skip
    fit = smalify([stage], SilhouetteHandler(loss=SilhouetteIoULoss()), hypothesis_stages=0, mask_side=48)
    result = fit([scene.mask_input('silhouette')], start)
    assert overlap(truly, scene, result.params) > overlap(truly, scene, start) + 0.05
    assert overlap(truly, scene, result.params) > 0.9


class Pair(Processes):
    """Two processes."""

    count = 2


class WrongFirst:
    """Gives as its best start a body that looks the other way, as the next one the truth's place."""

    def __init__(self, truth):
        self.truth = truth

    def candidates(self, body, inputs, start, n, shared, scaled):
        half = axis_angle_to_rotmat(torch.tensor([[0.0, 0.0, torch.pi]]).double())
        right = axis_angle_to_rotmat(self.truth.global_orient)
        wrong = start.replace(
            global_orient=rotmat_to_axis_angle(right @ half).float(), transl=self.truth.transl.float()
        )
        good = wrong.replace(global_orient=self.truth.global_orient.float())
        return type(start).cat([wrong, good][:n]), {}


def test_a_start_that_looks_the_wrong_way_is_rescued(truly):
    scene = single_views(truly, 3, seed=1, noise_px=0.0)
    wrong, rescued = (
        smalify([PLACE, POSE], initializer=WrongFirst(scene.truth), n_hypotheses=n)([scene.keypoints])
        for n in (1, 2)
    )
    turned = [
        angle_between(*(axis_angle_to_rotmat(p.global_orient.double()) for p in (r.params, scene.truth)))
        for r in (wrong, rescued)
    ]
    assert turned[0].max() > 1
    assert turned[1].max() < 0.4
    assert (missed_px(truly, scene, rescued) < 5).double().mean() > 0.95


def test_a_focal_length_is_found_in_a_video(truly):
    scene = single_views(truly, 12, seed=1, noise_px=0.3, video=True)
    guess = scene.cameras.refocused(torch.tensor([0.25]))
    focus = {
        **SHAPE, 'name': 'focal', 'fit_focal': True, 'focal_prior_weight': 0.01,
        'n_iter': 8, 'ftol': 1e-5, 'optimizer': LBFGS(max_iter=20, history_size=50),
    }  # fmt: skip
    fit = smalify([PLACE, POSE, SHAPE, focus], FocalPriorHandler(), use_one_betas_per_video=True)
    result = fit([replace(scene.keypoints, cameras=guess)])
    matches = result.cameras.K[:, 0, 0, 0].double() / scene.cameras.K[:, 0, 0, 0]
    assert torch.allclose(matches, matches[:1].expand(12))
    assert abs(float(matches[0]) - 1) < 0.1
    assert torch.equal(result.cameras.K[..., :2, 2], guess.K[..., :2, 2].float())
    assert (missed_px(truly, scene, result) < 5).double().mean() > 0.95


def test_a_focal_length_of_each_image_holds_in_later_stages_of_second_order(truly):
    scene = single_views(truly, 3, seed=0, noise_px=0.0)
    focus = {**POSE, 'n_iter': 2, 'optimizer': LBFGS(max_iter=5), 'fit_focal': True}
    fit = smalify([PLACE, focus, POSE], hypothesis_stages=1)
    result = fit([scene.keypoints])
    assert result.cameras.K.shape == (3, 1, 3, 3)
    assert len(set(result.cameras.K[:, 0, 0, 0].tolist())) == 3
    again = fit._task(fit.stages[-1], {'keypoints2d_mse': fit_input(fit, result, scene)}, torch.arange(3))
    assert torch.allclose(again.per_frame(fit_state(result)), result.per_frame_loss, rtol=1e-3)


def fit_input(fit, result, scene):
    handler = fit.handlers['keypoints2d_mse']
    seen = replace(scene.keypoints, cameras=result.cameras.to(torch.float64))
    return handler.input_type(seen.to(torch.float32), handler_key='keypoints2d_mse')


def fit_state(result):
    from smilfit.registrants.stage_task import FitState

    return FitState(result.params)


def test_levenberg_marquardt_refuses_the_focal_length_by_name(truly):
    scene = single_views(truly, 1, seed=0)
    with pytest.raises(TypeError, match='pose must not fit the focal length'):
        smalify([{**POSE, 'fit_focal': True}])([scene.keypoints])


def test_windows_are_as_good_as_the_whole(truly):
    scene = single_views(truly, 14, seed=1, noise_px=0.5, video=True)
    stages = [PLACE, POSE, SHAPE]
    whole, parts = (
        smalify(stages, use_one_betas_per_video=True, n_hypotheses=2, **options)([scene.keypoints])
        for options in ({}, {'window': 7, 'overlap': 2})
    )
    assert parts.report['windows'] == 3
    assert {h.get('window') for h in parts.history} == {None, 0, 1, 2}
    betas = parts.params.betas
    assert torch.allclose(betas, betas[:1].expand_as(betas))
    assert missed_px(truly, scene, parts).mean() < missed_px(truly, scene, whole).mean() + 0.5
    away = (parts.joints() - whole.joints()).norm(dim=-1)
    depth = scene.truth.transl[:, 2].mean()
    assert away.mean() < 0.03 * depth
    assert len(parts.report['hypotheses']['chosen']) == 14


def test_windows_of_stills_do_not_touch(truly):
    scene = single_views(truly, 4, seed=0)
    together, apart = (
        smalify([PLACE, POSE], n_hypotheses=2, window=window)([scene.keypoints]) for window in (None, 2)
    )
    assert torch.allclose(together.joints(), apart.joints(), atol=0.02)


@pytest.mark.parametrize(
    ('n', 'length', 'overlap'), [(10, 4, 1), (11, 5, 2), (9, 4, 3), (4, 4, 2), (5, 4, 0)]
)
def test_windows_keep_every_frame_once(n, length, overlap):
    windows = windows_of(n, length, overlap)
    assert torch.cat([w.rows[w.kept] for w in windows]).tolist() == list(range(n))
    assert all(len(w.rows) <= length for w in windows)
    for before, after in zip(windows, windows[1:]):
        assert after.rows[: after.old].tolist() == before.rows[len(before.rows) - after.old :].tolist()


def test_the_best_path_is_the_best_of_all_paths():
    draw = torch.Generator().manual_seed(0)
    loss = torch.rand(3, 5, generator=draw)
    rotation = axis_angle_to_rotmat(torch.randn(3, 5, 3, generator=draw))
    continues = torch.tensor([False, True, True, False, True])

    def cost(path):
        total = sum(float(loss[h, t]) for t, h in enumerate(path))
        for t in range(1, 5):
            if continues[t]:
                total += 0.1 * float(angle_between(rotation[path[t], t], rotation[path[t - 1], t - 1])) ** 2
        return total

    best = min(product(range(3), repeat=5), key=cost)
    assert best_path(loss, rotation, continues, 0.1).tolist() == list(best)
    assert best_path(loss, rotation, continues, 0.0).tolist() == loss.argmin(0).tolist()


def test_what_nobody_saw_keeps_its_camera_and_the_start_is_stored(truly, tmp_path):
    scene = single_views(truly, 3, seed=0)
    confidence = scene.keypoints.confidence.clone()
    confidence[1] = 0
    focus = {**PLACE, 'n_iter': 2, 'optimizer': LBFGS(max_iter=3), 'fit_focal': True}
    result = smalify([PLACE, focus])([replace(scene.keypoints, confidence=confidence)])
    assert result.fitted.tolist() == [True, False, True]
    assert result.cameras.K[1, 0, 0, 0] == scene.cameras.K[1, 0, 0, 0].float()
    assert result.cameras.K[0, 0, 0, 0] != scene.cameras.K[0, 0, 0, 0].float()
    back = FitResult.load(result.save(tmp_path / 'fit.npz'))
    assert torch.equal(back.start.transl[0], result.start.transl[0])
    assert torch.equal(back.params.transl[2], result.params.transl[2])
    assert json.loads((tmp_path / 'fit.json').read_text())['report']['hypotheses']['chosen']
    assert bool(back.start.transl[1].isnan().all())


def test_masks_are_reduced_exactly(truly):
    scene = single_views(truly, 1, seed=0)
    small = SilhouetteInput(scene.masks, scene.cameras).resized(56)
    assert small.masks.shape[2:] == (56, 56)
    assert abs(float(16 * small.masks.sum() / scene.masks.sum()) - 1) < 0.01
    points = truly(scene.truth, ('vertices',)).vertices
    a, b = (c.project(points)[0] for c in (scene.cameras, small.cameras))
    assert torch.allclose((a + 0.5) / 4, b + 0.5)


def test_splay_is_a_prior_of_stages(truly):
    scene = single_views(truly, 1, seed=0)
    free, stiff = (
        smalify([PLACE, {**POSE, 'splay_prior_weight': w}], SplayPriorHandler(), n_hypotheses=1)(
            [scene.keypoints]
        )
        for w in (0.0, 5000.0)
    )
    across = [r.params.body_pose[..., [0, 2]].square().sum() for r in (free, stiff)]
    assert across[1] < 0.5 * across[0]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match='n_hypotheses must be at least 1'):
        smalify([PLACE], n_hypotheses=0)
    with pytest.raises(ValueError, match='hypothesis_stages at most 1'):
        smalify([PLACE], hypothesis_stages=2)
    with pytest.raises(ValueError, match='overlap must be less than window'):
        smalify([PLACE], window=4, overlap=4)


def test_what_is_optional_is_left_out_and_reported(truly):
    scene = single_views(truly, 2, seed=0)
    masks = [SilhouetteDistanceHandler(handler_key='mask'), SilhouetteHandler(handler_key='rendered')]
    stages = [PLACE, {**POSE, 'mask_weight': 0.5}, {'name': 'outline', 'n_iter': 3, 'rendered_weight': 1.0}]
    fitter = smalify(stages, *masks, n_hypotheses=2, optional_handlers=['mask', 'rendered'])
    result = fitter([scene.keypoints])
    assert [h['stage'] for h in result.history] == ['place', 'pose']
    assert result.report['handlers_without_input'] == ['mask', 'rendered']
    assert result.report['stages_without_input'] == ['outline']
    alone = smalify([PLACE, POSE], n_hypotheses=2)([scene.keypoints])
    assert torch.equal(result.params.body_pose, alone.params.body_pose)
    # The registrant itself is as it was.
    assert [stage.name for stage in fitter.stages] == ['place', 'pose', 'outline']
    with pytest.raises(KeyError, match="must be handlers; got 'maks'"):
        smalify(stages, *masks, optional_handlers=['maks'])


def test_frames_are_not_distributed_over_processes(truly):
    scene = single_views(truly, 1, seed=0)
    with pytest.raises(
        ValueError, match='must fit all starts and windows of a sequence in one process; got 2'
    ):
        smalify([PLACE], processes=Pair())([scene.keypoints])
