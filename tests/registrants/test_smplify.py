"""Synthetic truth recovered; XRMoCap's faults absent; each error once."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BaseHandler,
    BetasPriorHandler,
    BodyPosePriorHandler,
    JointLimitHandler,
    JointOffsetPriorHandler,
    JointScalePriorHandler,
    Keypoint2dHandler,
    Keypoint2dInput,
    Keypoint3dHandler,
    Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput,
    Keypoint3dMSEInput,
    SmoothMotionHandler,
    rigid_limbs,
)
from smilfit.losses import KeypointMSELoss, SmoothJointLoss
from smilfit.registrants import RigidInitializer, SMPLify, Stage
from smilfit.registry import build_handler, build_registrant
from smilfit.solvers import LBFGS, Adam
from smilfit.structures import FitResult, Keypoints2d, Keypoints3d
from tests.animals import random_params, ring_of_cameras, small_animal
from tests.losses.test_losses import write_mixture

RIGID = ('global_orient', 'transl', 'scale')
ALL = (*RIGID, 'body_pose', 'betas')


@pytest.fixture
def clip():
    """A body, its truth over a clip of one shape, and exact keypoints."""
    data = replace(small_animal(n_joints=8), posedirs=None)
    body = SMIL(data).double()
    truth = random_params(data, 5, angle=0.25)
    truth = truth.replace(
        betas=truth.betas[:1].expand(5, -1).clone(), scale=truth.scale[:1].expand(5).clone()
    )
    names = (*data.joint_names, 'nose', 'tail')
    points = body(truth, names).keypoints
    return body, truth, Keypoints3d(points, torch.ones(5, len(names)).double(), names)


def seen_by(cameras, points):
    xy, _, valid = cameras.project(points.xyz)
    return Keypoints2d(xy, valid.double(), points.names, cameras)


def error(body, result, points):
    return (body(result.params, points.names).keypoints - points.xyz).norm(dim=-1)


@pytest.mark.parametrize('optimizer', [LBFGS(), Adam(lr=0.02)])
def test_3d_keypoints_are_recovered(clip, optimizer):
    body, _truth, points = clip
    stages = [
        Stage(n_iter=20, fit=RIGID, weights={'keypoints3d_mse': 1.0}),
        Stage(
            n_iter=60 if isinstance(optimizer, LBFGS) else 1500,
            ftol=1e-9,
            fit=ALL,
            weights={'keypoints3d_mse': 1.0},
        ),
    ]
    fit = SMPLify(body, stages, [Keypoint3dHandler()], optimizer, use_one_betas_per_video=True)
    result = fit([points])
    assert error(body, result, points).max() < (1e-3 if isinstance(optimizer, LBFGS) else 2e-2)
    assert result.params.betas.unique(dim=0).shape[0] == 1
    assert result.params.scale.unique().shape[0] == 1


def test_four_views_are_enough_without_3d(clip):
    body, truth, points = clip
    seen = seen_by(ring_of_cameras(4, dist=-0.05), points)
    stages = [
        Stage(n_iter=10, fit=RIGID, weights={'keypoints2d_mse': 1.0}),
        Stage(n_iter=40, ftol=1e-10, fit=ALL, weights={'keypoints2d_mse': 1.0}),
    ]
    result = SMPLify(body, stages, [Keypoint2dHandler()], use_one_betas_per_video=True)([seen])
    assert error(body, result, points).max() < 2e-3
    assert torch.allclose(result.params.scale, truth.scale, rtol=0.02)


def test_closed_form_start_is_exact_for_a_rigid_motion():
    data = small_animal()
    body = SMIL(data).double()
    truth = random_params(data, 6, angle=0.0).replace(
        betas=torch.as_tensor(data.shape_mean).expand(6, -1), scale=torch.full((6,), 1.7).double()
    )
    xyz = body(truth).joints
    conf = torch.ones(xyz.shape[:2]).double()
    conf[2, 2:] = 0
    seen = Keypoint3dMSEInput(Keypoints3d(xyz, conf, data.joint_names))
    found, report = RigidInitializer()(body, [seen], body.zero_params(6), shared=True)
    good = [0, 1, 3, 4, 5]
    assert (body(found).joints - xyz)[good].abs().max() < 1e-9
    assert report == {'frames_without_alignment': 1}
    assert torch.allclose(found.scale, truth.scale)


def test_outlier_views_do_not_decide(clip):
    """A robust loss in px: one view in four clicks 8 % of its points 150 px away."""
    body, _, points = clip
    seen = seen_by(ring_of_cameras(4), points)
    g = torch.Generator().manual_seed(0)
    wrong = torch.rand(seen.confidence.shape, generator=g) < 0.08
    xy = seen.xy + 150 * wrong[..., None]
    stages = [
        Stage(n_iter=10, fit=RIGID, weights={'keypoints2d_mse': 1.0}),
        Stage(n_iter=40, ftol=1e-10, fit=ALL, weights={'keypoints2d_mse': 1.0}),
    ]
    bad = replace(seen, xy=xy)

    def worst(sigma):
        fit = SMPLify(
            body, stages, [Keypoint2dHandler(KeypointMSELoss(sigma=sigma))], use_one_betas_per_video=True
        )
        return error(body, fit([bad]), points).median()

    assert worst(10.0) < 0.01
    assert worst(10.0) < 0.1 * worst(None)


def test_missing_points_may_be_anything(clip):
    """NaN under confidence 0 is missing; it does not spread (0 * NaN)."""
    body, _, points = clip
    xyz, conf = points.xyz.clone(), points.confidence.clone()
    xyz[1, 2], conf[1, 2] = float('nan'), 0.0
    stages = [Stage(n_iter=5, fit=RIGID, weights={'keypoints3d_mse': 1.0})]
    result = SMPLify(body, stages, [Keypoint3dHandler()])([Keypoints3d(xyz, conf, points.names)])
    assert all(v.isfinite().all() for v in result.params.as_dict().values())
    with pytest.raises(ValueError, match=r"finite where confidence > 0.*'joint_2' at index \(1, 2\)"):
        Keypoints3d(xyz, points.confidence, points.names)


def test_frozen_parameters_stay_bit_equal(clip):
    body, truth, points = clip
    start = truth.replace(transl=truth.transl + 0.1)
    stages = [Stage(n_iter=3, fit=('transl',), weights={'keypoints3d_mse': 1.0})]
    result = SMPLify(body, stages, [Keypoint3dHandler()])([points], init_params=start)
    for name in ('global_orient', 'body_pose', 'betas', 'scale'):
        assert torch.equal(getattr(result.params, name), getattr(start, name)), name
    assert not torch.equal(result.params.transl, start.transl)


def test_only_named_joint_groups_turn(clip):
    body, truth, points = clip
    start = truth.replace(body_pose=torch.zeros_like(truth.body_pose))
    stages = [
        Stage(n_iter=3, fit=('body_pose',), fit_joint_groups=('spine',), weights={'keypoints3d_mse': 1.0})
    ]
    result = SMPLify(body, stages, [Keypoint3dHandler()])([points], init_params=start)
    turned = result.params.body_pose.abs().amax((0, 2)) > 0
    assert turned.tolist() == [f'joint_{j}' in body.data.joint_groups['spine'] for j in range(1, 8)]


def test_limb_lengths_find_shape_and_scale_whatever_the_pose(clip):
    body, _truth, points = clip
    stages = [Stage(n_iter=50, ftol=1e-10, fit=('betas', 'scale'), weights={'keypoints3d_limb_len': 1.0})]
    fit = SMPLify(body, stages, [Keypoint3dLimbLenHandler()], use_one_betas_per_video=True, initializer=None)
    result = fit([Keypoint3dLimbLenInput(points)])
    limbs = torch.tensor(rigid_limbs(body.data, points.names))
    got, want = (
        (x[:, limbs[:, 0]] - x[:, limbs[:, 1]]).norm(dim=-1)
        for x in (body(result.params, points.names).keypoints, points.xyz)
    )
    assert (got - want).abs().max() < 1e-3


def test_rigid_limbs_are_those_that_no_pose_changes():
    data = small_animal(n_joints=8)
    body = SMIL(data).double()
    names = data.joint_names
    params = random_params(data, 20, angle=1.0).replace(
        betas=torch.zeros(20, 3).double(), scale=torch.ones(20).double()
    )
    joints = body(params).joints
    rigid = set(rigid_limbs(data, names))
    for a in range(8):
        for b in range(a + 1, 8):
            spread = (joints[:, a] - joints[:, b]).norm(dim=-1).std()
            assert (spread < 1e-9) == ((a, b) in rigid), (a, b)


def test_skeleton_gives_way_only_when_asked(clip):
    body, truth, points = clip
    offset = torch.zeros(1, 8, 3).double()
    offset[0, 4] = 0.3
    seen = replace(
        points, xyz=body(truth.replace(joint_offsets=offset.expand(5, -1, -1)), points.names).keypoints
    )
    weights = {'keypoints3d_mse': 1.0, 'joint_offset_prior': 1e-6, 'joint_scale_prior': 1e-6}
    handlers = [Keypoint3dHandler(), JointOffsetPriorHandler(), JointScalePriorHandler()]

    def run(*extra):
        stages = [Stage(n_iter=40, ftol=1e-10, fit=('body_pose', *extra), weights=weights)]
        return SMPLify(body, stages, handlers, use_one_betas_per_video=True)([seen], truth)

    stiff, soft = run(), run('joint_offsets')
    assert stiff.params.joint_offsets is None
    assert error(body, soft, seen).mean() < 0.1 * error(body, stiff, seen).mean()
    assert soft.params.joint_offsets.unique(dim=0).shape[0] == 1


def test_smooth_terms_make_it_smoother(clip):
    body, _truth, points = clip
    noisy = replace(points, xyz=points.xyz[:1] + 0.1 * torch.randn(12, *points.xyz.shape[1:]).double(),
                    confidence=torch.ones(12, points.xyz.shape[1]).double())  # fmt: skip
    handlers = [
        Keypoint3dHandler(),
        SmoothMotionHandler(),
        BodyPosePriorHandler(SmoothJointLoss(loss_func='L2'), handler_key='smooth_joint'),
    ]

    def shake(**weights):
        stages = [Stage(n_iter=20, fit=(*RIGID, 'body_pose'), weights={'keypoints3d_mse': 1.0, **weights})]
        joints = SMPLify(body, stages, handlers)([noisy]).joints()
        return joints.diff(n=2, dim=0).norm(dim=-1).mean()

    plain = shake()
    assert shake(smooth_motion=10.0) < 0.5 * plain
    assert shake(smooth_joint=1.0) < plain


def test_the_result_tells_the_story(clip, tmp_path):
    body, _, points = clip
    stages = [
        Stage(n_iter=5, fit=RIGID, weights={'keypoints3d_mse': 1.0}, name='place'),
        Stage(n_iter=100, ftol=1e-3, fit=ALL, weights={'keypoints3d_mse': 1.0, 'betas_prior': 1e-3}),
    ]
    result = SMPLify(
        body, stages, [Keypoint3dHandler(), BetasPriorHandler()], ignore_keypoints=['tail', 'nobody']
    )([points])
    assert [h['stage'] for h in result.history] == ['place', '']
    assert set(result.history[1]['terms']) == {'keypoints3d_mse', 'betas_prior'}
    assert np.isclose(sum(result.history[1]['terms'].values()), result.history[1]['loss_end'])
    assert result.per_frame_loss.shape == (5,)
    assert np.isclose(result.per_frame_loss.sum(), result.history[1]['loss_end'])
    assert result.converged.all()
    assert result.report['ignored_keypoints'] == ['tail']
    assert result.report['ignored_keypoints_unknown'] == ['nobody']
    path = result.save(tmp_path / 'fit.npz', frames=np.arange(5), joint_names=np.array(body.joint_names))
    back = FitResult.load(path, body=body)
    assert torch.equal(back.params.body_pose, result.params.body_pose)
    assert back.history == tuple(map(dict, result.history))
    assert torch.equal(back.joints(), result.joints())
    side_car = path.with_suffix('.json')
    side_car.write_text(side_car.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(ValueError, match='up to version 1; got .* version 9'):
        FitResult.load(path)


def test_ignored_keypoints_and_parts_take_no_part(clip):
    body, truth, points = clip
    xyz = points.xyz.clone()
    xyz[:, 7] += 50.0
    bad = replace(points, xyz=xyz)
    stages = [Stage(n_iter=20, fit=RIGID, weights={'keypoints3d_mse': 1.0})]
    start = truth.replace(transl=truth.transl + 0.01)
    ignoring = SMPLify(body, stages, [Keypoint3dHandler()], ignore_keypoints=['joint_7'])([bad], start)
    assert error(body, ignoring, points).max() < 1e-2
    parts = [Stage(n_iter=20, fit=RIGID, weights={'keypoints3d_mse': 1.0}, part_weights={'foot': 0.0})]
    assert error(body, SMPLify(body, parts, [Keypoint3dHandler()])([bad], start), points).max() < 1e-2


def test_a_nan_in_the_middle_goes_back_to_the_best_point():
    x = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)

    def objective():
        # Undefined beyond 0: a long step falls off the edge.
        return (x - 1).square().sum() + 0 * (x + 0.5).log().sum()

    result = Adam(lr=6.0).minimise(objective, [x], n_iter=200, ftol=0)
    assert result.n_recoveries > 0
    assert np.isfinite(result.loss_end)
    assert result.loss_end <= result.loss_start
    assert x.isfinite().all()


def test_a_start_that_is_not_finite_is_refused(clip):
    body, truth, points = clip
    stages = [Stage(n_iter=5, fit=RIGID, weights={'keypoints3d_mse': 1.0})]
    broken = truth.replace(transl=truth.transl * float('nan'))
    with pytest.raises(FloatingPointError, match='must be finite where the fit starts'):
        SMPLify(body, stages, [Keypoint3dHandler()])([points], broken)


def test_convergence_does_not_depend_on_the_scale_of_the_loss(clip):
    """An absolute tolerance would stop a small loss at once."""
    body, _, points = clip

    def steps(weight):
        stages = [Stage(n_iter=200, ftol=1e-3, fit=ALL, weights={'keypoints3d_mse': weight})]
        return SMPLify(body, stages, [Keypoint3dHandler()], Adam(lr=0.02))([points]).history[0]['steps']

    assert abs(steps(1.0) - steps(1e-6)) <= 2


def test_a_reduction_does_not_leak_to_other_handlers(clip):
    body, _, points = clip
    handlers = [Keypoint3dHandler(), BetasPriorHandler(), BodyPosePriorHandler()]
    weights = {'keypoints3d_mse': 1.0, 'betas_prior': 1.0, 'body_pose_prior': 1.0}

    def terms(reductions):
        stages = [Stage(n_iter=0, fit=RIGID, weights=weights, reductions=reductions)]
        start = random_params(body.data, 5)
        return SMPLify(body, stages, handlers)([points], start).history[0]['terms']

    mean, mixed = terms({}), terms({'keypoints3d_mse': 'sum'})
    assert mixed['keypoints3d_mse'] > 10 * mean['keypoints3d_mse']
    assert mixed['betas_prior'] == mean['betas_prior']
    assert mixed['body_pose_prior'] == mean['body_pose_prior']


class NeedsVertices(BaseHandler):
    """Counts what it was given."""

    def need(self, related_input):
        return ('vertices',)

    def forward(self, state, related_input=None, loss_weight_override=None, reduction_override=None):
        return state.output.vertices.square().mean()


def test_vertices_are_not_computed_unless_needed(clip, monkeypatch):
    body, _, points = clip
    asked = []
    forward = SMIL.forward

    def spy(self, params, need=('joints',), rest=None):
        asked.append('vertices' in need)
        return forward(self, params, need, rest)

    monkeypatch.setattr(SMIL, 'forward', spy)
    handlers = [Keypoint3dHandler(), NeedsVertices('v', KeypointMSELoss())]
    weights = {'keypoints3d_mse': 1.0}
    SMPLify(body, [Stage(n_iter=2, fit=RIGID, weights=weights | {'v': 0.0})], handlers)([points])
    assert not any(asked)
    SMPLify(body, [Stage(n_iter=2, fit=RIGID, weights=weights | {'v': 1.0})], handlers)([points])
    assert any(asked)


def seed_config(prior_folder, stages=None):
    """The example of XRMoCap's guide, line for line, but for the files."""
    logger = None
    return dict(
        type='SMPLify',
        verbose=True,
        info_level='step',
        logger=None,
        n_epochs=1,
        use_one_betas_per_video=True,
        ignore_keypoints=[
            'neck_openpose', 'right_hip_openpose', 'left_hip_openpose', 'right_hip_extra', 'left_hip_extra',
        ],
        optimizer=dict(type='LBFGS', max_iter=20, lr=1.0, line_search_fn='strong_wolfe'),
        handlers=[
            dict(
                handler_key='keypoints3d_mse',
                type='Keypoint3dMSEHandler',
                mse_loss=dict(type='KeypointMSELoss', loss_weight=10.0, reduction='sum', sigma=100),
                logger=logger),
            dict(
                handler_key='shape_prior',
                type='BetasPriorHandler',
                prior_loss=dict(type='ShapePriorLoss', loss_weight=5e-3, reduction='mean'),
                logger=logger),
            dict(
                handler_key='joint_prior',
                type='BodyPosePriorHandler',
                prior_loss=dict(
                    type='JointPriorLoss',
                    loss_weight=20.0,
                    reduction='sum',
                    smooth_spine=True,
                    smooth_spine_loss_weight=20,
                    use_full_body=True),
                logger=logger),
            dict(
                handler_key='pose_prior',
                type='BodyPosePriorHandler',
                prior_loss=dict(
                    type='MaxMixturePriorLoss',
                    prior_folder=prior_folder,
                    num_gaussians=8,
                    loss_weight=4.78**2,
                    reduction='sum'),
                logger=logger),
            dict(
                handler_key='keypoints3d_limb_len',
                type='Keypoint3dLimbLenHandler',
                loss=dict(type='LimbLengthLoss', convention='smpl', loss_weight=1.0, reduction='mean'),
                logger=logger),
        ],
        stages=stages or [
            # stage 0
            dict(
                n_iter=10,
                ftol=1e-4,
                fit_global_orient=False,
                fit_transl=False,
                fit_body_pose=False,
                fit_betas=True,
                keypoints3d_mse_weight=0.0,  # not in use
                keypoints3d_limb_len_weight=1.0,
                shape_prior_weight=5e-3,
                joint_prior_weight=0.0,
                pose_prior_weight=0.0),
            # stage 1
            dict(
                n_iter=30,
                ftol=1e-4,
                fit_global_orient=True,
                fit_transl=True,
                fit_body_pose=True,
                fit_betas=False,
                keypoints3d_mse_weight=10.0,
                keypoints3d_mse_reduction='sum',
                keypoints3d_limb_len_weight=0.0,
                shape_prior_weight=0.0,
                joint_prior_weight=1e-4,
                pose_prior_weight=1e-4,
                body_weight=1.0,
                use_shoulder_hip_only=False),
        ],
    )  # fmt: skip


def human_shaped(folder):
    """Write an SMPL-shaped file: 24 joints, 10 betas, few vertices."""
    rng = np.random.default_rng(0)
    parents = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    vertices = rng.normal(size=(120, 3))
    weights = np.zeros((120, 24))
    weights[np.arange(120), np.arange(120) % 24] = 1
    regressor = weights.T / weights.sum(0)[:, None]
    raw = {
        'v_template': vertices,
        'f': np.array([[0, 1, 2]]),
        'weights': weights,
        'kintree_table': np.stack([parents, np.arange(24)]),
        'J_regressor': regressor,
        'shapedirs': 0.1 * rng.normal(size=(120, 3, 10)),
        'posedirs': np.zeros((120, 3, 207)),
    }
    (folder / 'SMPL_NEUTRAL.pkl').write_bytes(pickle.dumps(raw))
    return folder


def test_the_config_of_xrmocaps_guide_builds_and_runs(tmp_path):
    write_mixture(tmp_path, 69, n=8)
    config = seed_config(tmp_path)
    config['body_model'] = dict(
        type='SMPL',
        gender='neutral',
        num_betas=10,
        keypoint_convention='smpl',
        model_path=human_shaped(tmp_path),
        batch_size=1,
        logger=None,
    )
    before = copy.deepcopy(config)
    smplify = build_registrant(config)
    assert config == before
    body = smplify.body
    truth = random_params(body.data, 3, angle=0.1).to(torch.float32).replace(scale=torch.ones(3))
    truth = truth.replace(betas=truth.betas[:1].expand(3, -1))
    xyz = body(truth).joints
    inputs = [
        build_handler(
            dict(
                type=name,
                keypoints3d=xyz,
                keypoints3d_conf=torch.ones(3, 24),
                keypoints3d_convention='smpl',
                handler_key=key,
            )
        )
        for name, key in (
            ('Keypoint3dMSEInput', 'keypoints3d_mse'),
            ('Keypoint3dLimbLenInput', 'keypoints3d_limb_len'),
        )
    ]
    assert inputs[0].get_batch_size() == 3
    result = smplify(input_list=inputs)
    assert result.history[1]['loss_end'] < result.history[1]['loss_start']
    assert result.params.betas.shape == (3, 10)


STAGE = dict(n_iter=1, fit_scale=True, keypoints3d_mse_weight=1.0)


@pytest.mark.parametrize(
    ('stage', 'message'),
    [
        (
            dict(keypoint3d_mse_weight=1.0),
            "unknown stage key 'keypoint3d_mse_weight'.*'keypoints3d_mse_weight'",
        ),
        (dict(fit_bodypose=True), "unknown stage key 'fit_bodypose'. Did you mean 'fit_body_pose'"),
        (dict(n_iters=3), "Did you mean 'n_iter'"),
    ],
)
def test_misspelt_stage_keys(clip, stage, message):
    with pytest.raises(KeyError, match=message):
        SMPLify(clip[0], [STAGE | stage], [Keypoint3dHandler()])


def test_handlers_and_inputs_must_meet(clip):
    body, _, points = clip
    fit = SMPLify(body, [STAGE], [Keypoint3dHandler(), BetasPriorHandler()])
    with pytest.raises(
        KeyError, match="no handler for the input 'keypoints3d'. Did you mean 'keypoints3d_mse'"
    ):
        fit([Keypoint3dMSEInput(points, handler_key='keypoints3d')])
    with pytest.raises(KeyError, match="'keypoints3d_mse' has a weight but no input"):
        fit([])
    with pytest.raises(ValueError, match='two inputs have the handler_key'):
        fit([points, Keypoint3dMSEInput(points)])
    with pytest.raises(ValueError, match='is a prior and takes no input'):
        fit([points, Keypoint3dMSEInput(points, handler_key='betas_prior')])
    with pytest.raises(ValueError, match='exactly one handler must take bare Keypoints2d; 0 do'):
        fit([seen_by(ring_of_cameras(), points)])
    with pytest.raises(TypeError, match='must be an Input'):
        fit([3])
    with pytest.raises(ValueError, match="'keypoints3d_mse' comes twice"):
        SMPLify(body, [STAGE], [Keypoint3dHandler(), Keypoint3dHandler()])
    two = SMPLify(body, [STAGE], [Keypoint3dHandler(), Keypoint3dLimbLenHandler()])
    with pytest.raises(ValueError, match='all inputs must have as many frames'):
        two([points, Keypoint3dLimbLenInput(points[:2])])
    with pytest.raises(KeyError, match="init_params has an unknown 'pose'"):
        fit([points], {'pose': torch.zeros(1)})


def test_conventions_are_checked(clip):
    body, _, points = clip
    fit = SMPLify(body, [STAGE], [Keypoint3dHandler()])
    with pytest.raises(KeyError, match="no keypoint set 'clickz'. Did you mean 'clicks'"):
        fit([Keypoint3dMSEInput(points.xyz, 'clickz')])
    with pytest.raises(ValueError, match="'clicks' must have as many names as keypoints; got 3 and 10"):
        fit([Keypoint3dMSEInput(points.xyz, 'clicks')])
    with pytest.raises(ValueError, match='the cameras must be known'):
        Keypoint2dInput(torch.zeros(1, 2, 3, 2))


def test_groups_that_the_model_lacks(clip):
    body, _, points = clip
    with pytest.raises(KeyError, match="no joint group 'shoulder'"):
        SMPLify(body, [STAGE | dict(use_shoulder_hip_only=True)], [Keypoint3dHandler()])([points])
    with pytest.raises(KeyError, match="group 'hand'"):
        SMPLify(body, [STAGE | dict(hand_weight=2.0)], [Keypoint3dHandler()])([points])
    with pytest.raises(ValueError, match='must state joint limits'):
        bare = SMIL(replace(body.data, joint_limits=None))
        SMPLify(bare, [STAGE | dict(joint_limits_weight=1.0)], [Keypoint3dHandler(), JointLimitHandler()])
    with pytest.raises(ValueError, match="cannot fit 'pose'"):
        Stage(fit=('pose',))
