"""A body model by sliders: within its limits, as the module itself poses it."""

import numpy as np
import pytest

from smilfit.apis.viewer import open_scene
from smilfit.apis.viewer.model_scene import ModelScene
from smilfit.body_models import SMIL
from tests.animals import small_animal


@pytest.fixture(scope='module')
def scene():
    return ModelScene(SMIL(small_animal()), 'small')


def test_rest_is_the_mean_shape(scene):
    shown = scene.pose()
    expected = scene.body(scene.body.zero_params(), ('vertices', 'joints'))
    np.testing.assert_allclose(shown.vertices, expected.vertices[0], atol=1e-6)
    np.testing.assert_allclose(shown.joints, expected.joints[0], atol=1e-6)
    assert len(shown.keypoints) == len(scene.keypoint_names)


def test_an_angle_turns_what_hangs_from_the_joint_alone(scene):
    rest, turned = scene.pose().joints, scene.pose(angles={'joint_5': (0.4, 0.0, 0.0)}).joints
    parents = scene.body.data.parents
    below = {5} | {j for j in range(len(parents)) if parents[j] == 5}
    for j in set(range(len(parents))) - below:
        np.testing.assert_allclose(turned[j], rest[j], atol=1e-6)


def test_sliders_keep_to_limits_and_to_three_standard_deviations(scene):
    np.testing.assert_allclose(scene.angle_range('joint_2'), [(-0.5, 0.7)] * 3, atol=1e-6)
    data = scene.body.data
    for i, (low, high, mean) in enumerate(scene.shape_range()):
        assert mean == pytest.approx(data.shape_mean[i])
        assert high - mean == pytest.approx(3 * data.shape_cov[i, i] ** 0.5)
        assert mean - low == pytest.approx(high - mean)


def test_colours_grow_with_the_weight(scene):
    weight = scene.body.data.weights.to_dense()[:, 3]
    red = scene.weight_colours('joint_3')[:, 2].astype(int)
    order = np.argsort(weight)
    assert (np.diff(red[order]) <= 0).all()
    assert scene.weight_colours('joint_3').shape == (len(weight), 4)


def test_an_unknown_joint_is_an_error(scene):
    with pytest.raises(KeyError, match='no joint'):
        scene.pose(angles={'wing': (0.0, 0.0, 0.0)})


def test_shipped_models_come_by_name():
    scene = open_scene('insect')
    assert isinstance(scene, ModelScene)
    assert scene.pose([1.0]).vertices.shape == scene.pose().vertices.shape
