"""Building from configs: nested, innermost first, near names in errors, the caller's dict untouched."""

import copy
import sys

import pytest
import torch
from mmengine.config import Config

from smilfit.handlers import Keypoint3dMSEHandler, Keypoint3dMSEInput
from smilfit.losses import KeypointMSELoss
from smilfit.registry import (
    LOSSES,
    REGISTRIES,
    SOLVERS,
    build,
    build_from_name,
    build_handler,
    build_loss,
    build_solver,
    did_you_mean,
    reject_unknown,
)
from smilfit.solvers import LBFGS


def test_nested_dicts_become_objects_and_the_config_stays():
    cfg = dict(type='Keypoint3dMSEHandler', mse_loss=dict(type='KeypointMSELoss', sigma=3.0))
    before = copy.deepcopy(cfg)
    handler = build_handler(cfg)
    assert isinstance(handler, Keypoint3dMSEHandler)
    assert handler.loss.sigma == 3.0
    assert cfg == before
    assert isinstance(build_handler(Config(cfg)._cfg_dict).loss, KeypointMSELoss)


def test_objects_pass_through_both_doors():
    loss = KeypointMSELoss()
    assert build_loss(loss) is loss
    assert build_handler(dict(type='Keypoint3dHandler', mse_loss=loss)).loss is loss
    assert build(None) is None
    assert build(dict(type=KeypointMSELoss)).sigma is None
    assert build_solver(dict(type='LBFGS'), lr=0.5).lr == 0.5
    assert build_solver(dict(type='LBFGS', lr=1.0), lr=0.5).lr == 1.0
    assert isinstance(build_from_name('LBFGS', SOLVERS, max_iter=3), LBFGS)


def test_inputs_build_by_the_handlers_door():
    points = torch.zeros(2, 3, 3)
    made = build_handler(
        dict(type='Keypoint3dMSEInput', keypoints3d=points, keypoints3d_convention=('a', 'b', 'c'))
    )
    assert isinstance(made, Keypoint3dMSEInput)
    assert build_handler(dict(type=Keypoint3dMSEInput, keypoints3d=points)).batch_size == 2


@pytest.mark.parametrize(
    ('cfg', 'error', 'message'),
    [
        (dict(type='KeypointMseLoss'), KeyError, 'KeypointMSELoss'),
        (dict(sigma=1), KeyError, 'must have a key "type"'),
        (dict(type='LBFGS'), KeyError, 'It is registered as a solver'),
        (dict(type='KeypointMSELoss', sigme=1), TypeError, "unknown argument 'sigme'. Did you mean 'sigma'"),
        (dict(type='KeypointMSELoss', sigma=-1.0), ValueError, 'sigma must be positive'),
    ],
)
def test_errors_say_what_was_meant(cfg, error, message):
    with pytest.raises(error, match=message):
        build_loss(cfg)


def test_missing_arguments_are_named():
    with pytest.raises(TypeError, match='SMPLify: missing arguments body_model, stages, handlers'):
        build(dict(type='SMPLify'))


def test_one_name_belongs_to_one_registry():
    homes = {}
    for registry in REGISTRIES:
        registry.import_from_location()
        for name in registry.module_dict:
            homes.setdefault(name, []).append(registry.name)
    assert {n: h for n, h in homes.items() if len(h) > 1} == {}
    assert len(homes) > 40


def test_a_plugin_arrives_by_custom_imports(tmp_path, monkeypatch):
    (tmp_path / 'my_plugin_loss.py').write_text(
        'from smilfit.losses import BaseLoss\n'
        'from smilfit.registry import LOSSES\n'
        '@LOSSES.register_module()\n'
        'class MyVeryOwnLoss(BaseLoss):\n'
        '    def forward(self, body_pose, loss_weight_override=None, reduction_override=None):\n'
        '        return self.reduce(body_pose.abs(), None, loss_weight_override, reduction_override)\n'
    )
    config = tmp_path / 'config.py'
    config.write_text(
        "custom_imports = dict(imports=['my_plugin_loss'], allow_failed_imports=False)\n"
        "handler = dict(type='BodyPosePriorHandler', prior_loss=dict(type='MyVeryOwnLoss', loss_weight=2.0))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        handler = build_handler(Config.fromfile(config).handler)
        assert handler.get_loss_weight() == 2.0
    finally:
        LOSSES.module_dict.pop('MyVeryOwnLoss', None)
        sys.modules.pop('my_plugin_loss', None)


def test_near_names():
    assert did_you_mean('sigm', ['sigma', 'other']) == "Did you mean 'sigma'?"
    assert did_you_mean('x', ['b', 'a']) == 'Known: a, b.'
    assert did_you_mean('x', []) == 'There is nothing to choose from.'
    with pytest.raises(KeyError, match="here: unknown key 'wieght'. Did you mean 'weight'"):
        reject_unknown('here', 'key', {'wieght': 1}, ['weight'])
