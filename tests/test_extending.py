"""Every block of the page on parts of one's own runs, each part is used, and the table of costs is counted."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from smilfit.body_models import load_body_model, save_body_model
from smilfit.cli.data.preprocess import main as preprocess
from smilfit.datasets import open_dataset
from smilfit.handlers import BodyState, Keypoint3dHandler, Keypoint3dMSEInput, SilhouetteInput
from smilfit.networks.engine import build_train_runner
from smilfit.registrants import SMPLify
from smilfit.registry import (
    build_annotations,
    build_body_model,
    build_handler,
    build_loss,
    build_registrant,
    build_solver,
    read_config,
)
from smilfit.solvers import LBFGS, Adam, LevenbergMarquardt
from smilfit.structures import PARAMETERS, Keypoints3d
from tests.animals import ring_of_cameras, small_animal
from tests.extending_page import (
    CONFIG,
    COSTS,
    KINDS,
    LOADING,
    PAGE,
    SECTIONS,
    Forgetting,
    code_of,
    config_of,
    write_files,
)
from tests.handlers.worm import worm, worm_truth
from tests.registrants.clip import error, make_clip
from tests.toy_experiment import experiment

# What these may cost at most.
MOST = {'Prior loss': 6, 'Loss with an observation': 30, 'Second-order solver': 40}
SOLVERS = {'Adam': Adam(lr=0.05), 'LBFGS': LBFGS(), 'LevenbergMarquardt': LevenbergMarquardt()}
STILL = dict(fit_global_orient=False, fit_transl=False, fit_body_pose=False, fit_betas=False)


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    """A user's folder with the page's files; afterwards nobody knows their classes."""
    folder = tmp_path_factory.mktemp('my_lab')
    with Forgetting(folder):
        write_files(folder)
        yield folder


@pytest.fixture
def clip():
    return make_clip()


@pytest.fixture(params=SOLVERS)
def solver(request):
    return SOLVERS[request.param]


def test_the_table_names_every_section_and_counts_its_lines():
    assert [kind.capitalize() for kind, *_ in COSTS] == list(KINDS)
    for kind, (_, anchor, file, count) in zip(KINDS, COSTS):
        name, code = code_of(kind)
        lines = [line for line in code.splitlines() if line.strip()]
        assert (anchor, file, int(count)) == (kind.lower().replace(' ', '-'), name, len(lines))
        assert len(lines) <= MOST.get(kind, 40)
    # The first example of the README is the page's.
    assert code_of('Prior loss')[1] in (PAGE.parents[1] / 'README.md').read_text(encoding='utf-8')


def test_how_a_file_is_loaded(lab):
    path = lab / 'first_config.py'
    path.write_text(CONFIG.search(SECTIONS[LOADING])[1], encoding='utf-8')
    read_config(path)
    assert 'calm_tail' in sys.modules
    with pytest.raises(KeyError, match="Did you mean 'CalmTailLoss'"):
        build_loss(dict(type='CalmTaleLoss'))


def test_prior_loss(lab, clip, solver):
    body, truth, points = clip
    cfg = config_of(lab, 'Prior loss')
    (handler,) = map(build_handler, cfg['handlers'])
    stage = cfg['stages'][0] | STILL | dict(fit_body_pose=True, n_iter=100, keypoints3d_mse_weight=1e-9)
    fitter = SMPLify(body, [stage], [handler, Keypoint3dHandler()], optimizer=solver)
    result = fitter([points], init_params=truth).params.body_pose
    # Keypoints that count next to nothing do not hold the joints that it brings to rest.
    assert result[:, -5:].abs().max() < 1e-2 < result[:, :-5].abs().max()
    value = handler(BodyState(body, truth, body(truth)), None, 2.0, 'sum')
    torch.testing.assert_close(value, 2 * truth.body_pose[:, -5:].square().sum())


def test_loss_with_an_observation(lab, clip, solver):
    body, truth, _ = clip
    cfg = config_of(lab, 'Loss with an observation')
    (given,), (stage,) = cfg['handlers'], cfg['stages']
    handler = build_handler(given | {'ends': ('nose', 'tail')})
    ends = body(truth, ('nose', 'tail')).keypoints
    length = (ends[:, 0] - ends[:, 1]).norm(dim=-1, keepdim=True)
    length[1] = 0
    seen = build_handler(dict(type='LengthInput', length=length))
    begun = truth.replace(scale=1.3 * truth.scale)
    fitter = SMPLify(body, [STILL | stage | {'n_iter': 100}], [handler], optimizer=solver)
    result = fitter([seen], init_params=begun)
    torch.testing.assert_close(
        result.params.scale[[0, 2, 3, 4]], truth.scale[[0, 2, 3, 4]], atol=1e-3, rtol=0
    )
    assert result.fitted.tolist() == [True, False, True, True, True]


def test_handler(lab, clip, solver):
    body, truth, points = clip
    cfg = config_of(lab, 'Handler')
    (handler,), (stage,) = map(build_handler, cfg['handlers']), cfg['stages']
    begun = truth.replace(transl=truth.transl + 0.5)
    stage = stage | {'fit_global_orient': False, 'n_iter': 100}
    fitter = SMPLify(body, [stage], [handler], optimizer=solver)
    result = fitter([Keypoint3dMSEInput(points, handler_key='centre')], init_params=begun)
    torch.testing.assert_close(result.params.transl, truth.transl, atol=1e-3, rtol=0)


def test_first_order_solver(lab, clip):
    body, truth, points = clip
    stage = STILL | dict(fit_transl=True, n_iter=100, ftol=0.0, keypoints3d_mse_weight=1.0)
    begun = truth.replace(transl=truth.transl + 0.5)
    own = build_solver(config_of(lab, 'First-order solver')['optimizer'])
    result = SMPLify(body, [stage], [Keypoint3dHandler()], optimizer=own)([points], init_params=begun)
    torch.testing.assert_close(result.params.transl, truth.transl, atol=1e-3, rtol=0)


@pytest.mark.parametrize('shared', [False, True])
def test_second_order_solver(lab, clip, shared):
    body, _, points = clip
    # An exact fit would leave nothing but rounding, in which no relative tolerance is ever met.
    noise = torch.randn(points.xyz.shape, generator=torch.Generator().manual_seed(0)).to(points.xyz)
    points = replace(points, xyz=points.xyz + 1e-4 * noise)
    own = build_solver(config_of(lab, 'Second-order solver')['optimizer'])
    steps = []
    fitter = SMPLify(
        body,
        [dict(n_iter=60, ftol=1e-12, fit_scale=True, keypoints3d_mse_weight=1.0)],
        [Keypoint3dHandler()],
        optimizer=own,
        use_one_betas_per_video=shared,
        hooks=[lambda stage, step, loss: steps.append(loss)],
    )
    result = fitter([points])
    assert error(body, result, points).max() < 1e-3
    assert steps == sorted(steps, reverse=True)
    assert result.converged.all()
    stopped = SMPLify(body, fitter.stages, [Keypoint3dHandler()], optimizer=own, hooks=[lambda *_: True])
    assert 'hook' in stopped([points]).history[0]['reason']


def test_body_model_file(lab, tmp_path):
    path = tmp_path / config_of(lab, 'Body model file')['model']['body_model']
    data = small_animal()
    rig = dict(points=data.v_template, triangles=data.faces, bones=np.array(data.joint_names))
    rig |= dict(parents=data.parents, skin=data.weights.to_dense(), heads=data.joints)
    with open(path, 'wb') as file:
        np.savez(file, **rig)
    body = load_body_model(path)
    assert body.joint_names == data.joint_names
    torch.testing.assert_close(body(body.zero_params(), ('vertices',)).vertices[0], body.v_template)
    path.write_bytes(b'none')
    with pytest.raises(ValueError, match='mouse.rig'):
        load_body_model(path)


def test_body_parameter(lab, tmp_path):
    cfg = config_of(lab, 'Body parameter')
    path = save_body_model(replace(small_animal(n_joints=8), posedirs=None), tmp_path / 'mouse.smil.json')
    body = build_body_model(cfg['body_model'] | {'model_path': path}).double()
    truth = make_clip()[1].replace(girth=torch.full((5,), 1.3).double())
    names = ('nose', 'tail')
    points = Keypoints3d(body(truth, names).keypoints, torch.ones(5, 2).double(), names)
    fitter = SMPLify(body, [STILL | cfg['stages'][0]], [Keypoint3dHandler()], use_one_betas_per_video=True)
    result = fitter([points], init_params=truth.replace(girth=None))
    torch.testing.assert_close(result.params.girth, truth.girth, atol=1e-3, rtol=0)
    assert PARAMETERS['girth'].shared


def test_renderer(lab):
    body, truth = worm(), worm_truth(1)
    affine = torch.tensor([[[0.16, 0, -20.0], [0, 0.16, -14.0]]]).double()
    camera = ring_of_cameras(1, 8.0).transformed(affine, torch.tensor([[64.0, 48.0]]).double())
    handler = build_handler(config_of(lab, 'Renderer')['handlers'][0])
    rendered = handler.renderer(body(truth, ('vertices',)).vertices, body.faces, camera)
    assert 0.02 < rendered.alpha.mean() < 0.5
    seen = SilhouetteInput(rendered.alpha.unsqueeze(1), camera)
    begun = truth.replace(transl=truth.transl + 0.1)
    stage = STILL | dict(fit_transl=True, n_iter=10, silhouette_weight=1.0)
    result = SMPLify(body, [stage], [handler], optimizer=Adam(0.02), initializer=None)([seen], begun)
    assert result.history[0]['loss_end'] < 0.3 * result.history[0]['loss_start']


def test_annotation_format(lab, tmp_path):
    path = tmp_path / 'points.csv'
    path.write_text('image,keypoint,x,y\na.png,nose,11,21\na.png,tail,31,33\nb.png,tail,5,6\n')
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (64, 48), 'gray').save(tmp_path / name)
    model, out = save_body_model(small_animal(), tmp_path / 'mouse.smil.json'), tmp_path / 'out.h5'
    options = ['--first-px', '1', '--body-model', str(model), '--target-resolution', '32', '--quiet']
    assert preprocess(['--import', str(lab / 'dots.py'), 'dots', str(path), str(out), *options]) == 0
    dataset = open_dataset(out)
    (session,) = dataset.session_names
    seen = dataset.keypoints2d(session, names=('nose', 'tail'))
    expected = torch.tensor([[[10.0, 20], [30, 32]], [[0, 0], [4, 5]]])
    torch.testing.assert_close(seen.xy[:, 0].float(), expected, atol=1e-3, rtol=0)
    assert seen.confidence[:, 0].tolist() == [[1, 1], [0, 1]]
    annotations = build_annotations(dict(type='dots')).read(path)
    assert annotations.images[1].keypoints.tolist() == [[0, 0], [5, 6]]


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_parts_of_a_network_train(lab, tmp_path):
    """Backbone, head, metric, hook and the prior loss in one training of the toy."""
    cfg = experiment(tmp_path)
    for kind in ('Backbone', 'Head', 'Metric', 'Training hook'):
        cfg.merge_from_dict(config_of(lab, kind))
    cfg.model.handlers += config_of(lab, 'Prior loss')['handlers']
    cfg.model.loss_weights.calm_tail = 0.5
    cfg.default_hooks.checkpoint.save_best = 'lab/worst_keypoint_mm'
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    model = runner.model
    assert [type(part).__name__ for part in (model.backbone, model.head)] == [
        'PatchBackbone',
        'MeanTokenHead',
    ]
    assert model.loss_weights['keypoints3d'] == 2.0
    history = runner.message_hub.log_scalars
    assert history['val/lab/worst_keypoint_mm'].current() > 0
    assert {'train/loss_calm_tail', 'train/loss_keypoints3d'} <= history.keys()
    assert model.head.correct.weight.abs().max() > 0


def test_registrant(lab, clip):
    body, _, points = clip
    stages = [dict(n_iter=3, fit_scale=True, keypoints3d_mse_weight=1.0)]
    given = dict(body_model=body, stages=stages, handlers=[Keypoint3dHandler()], optimizer=LBFGS(max_iter=5))
    once = SMPLify(**given)([points])
    twice = build_registrant(config_of(lab, 'Registrant') | given)([points])
    assert twice.history[0]['loss_start'] == pytest.approx(once.history[0]['loss_end'])
    assert twice.history[0]['loss_end'] < once.history[0]['loss_end']
