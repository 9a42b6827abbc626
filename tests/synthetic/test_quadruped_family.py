"""Seven species in one shape space: bones as in the table, whole meshes, mirror images, limits, keypoints."""

import numpy as np
import pytest

from smilfit.body_models import SMIL
from smilfit.synthetic import draw_betas, make_quadruped, make_quadruped_family
from smilfit.synthetic.quadruped_family import PROPORTIONS, species_proportions

BONES = {
    'neck': ('neck', 'head'),
    'head': ('head', 'nose'),
    'tail': ('tail_1', 'tail_tip'),
    'ear': ('ear_L', 'ear_tip_L'),
    'fore_upper': ('shoulder_L', 'elbow_L'),
    'fore_lower': ('elbow_L', 'wrist_L'),
    'fore_foot': ('wrist_L', 'fore_paw_L'),
    'hind_upper': ('hip_L', 'knee_L'),
    'hind_lower': ('knee_L', 'ankle_L'),
    'hind_foot': ('ankle_L', 'hind_paw_L'),
}
SPECIES = ('dog', 'cat', 'horse', 'antelope', 'camel', 'bear', 'mouse')


@pytest.fixture(scope='module')
def family():
    return make_quadruped_family()


def _place(data, vertices, name):
    definition = data.keypoint_sets['sleap'].get(name, name)
    if isinstance(definition, str):
        return (data.joint_regressor @ vertices)[data.joint_names.index(definition)]
    return sum(weight * vertices[v] for v, weight in definition.items())


def _volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


@pytest.mark.parametrize('species', SPECIES)
def test_the_bones_of_a_species_are_those_of_the_table(family, species):
    names, proportions, _ = species_proportions()
    table = dict(zip(PROPORTIONS, proportions[names.index(species)]))
    mixture = family.shape_mixture
    vertices = family.v_template + family.shapedirs @ mixture.means[mixture.index(species)]
    trunk = _place(family, vertices, 'shoulder_L')[0] - _place(family, vertices, 'hip_L')[0]
    for proportion, (one, other) in BONES.items():
        length = np.linalg.norm(_place(family, vertices, one) - _place(family, vertices, other))
        assert length / trunk == pytest.approx(table[proportion], rel=0.03), proportion
    centre = vertices[family.symmetry_plane_vertices]
    chest = centre[np.abs(centre[:, 0] - _place(family, vertices, 'spine_2')[0]) < 0.02]
    assert np.ptp(chest[:, 2]) / trunk == pytest.approx(table['chest_depth'], rel=0.05)


def test_the_mesh_is_closed_and_its_inside_is_within_for_every_kind_and_for_draws(family):
    faces = family.faces
    edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    directed = {tuple(e) for e in edges.tolist()}
    assert len(directed) == len(edges)
    assert all((b, a) in directed for a, b in directed)
    rng = np.random.default_rng(0)
    mixture = family.shape_mixture
    size = _volume(family.v_template, faces)
    for betas in (*mixture.means, *(draw_betas(family, rng) for _ in range(20))):
        vertices = family.v_template + family.shapedirs @ betas
        assert 0.3 * size < _volume(vertices, faces) < 4 * size
        a, b, c = (vertices[faces[:, i]] for i in range(3))
        assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-7


def test_triangles_lie_as_they_do_in_the_mean(family):
    """No kind turns the surface inside out: normals turn less than a right angle, but in folds at limbs' roots."""

    def normals(vertices):
        a, b, c = (vertices[family.faces[:, i]] for i in range(3))
        n = np.cross(b - a, c - a)
        return n / np.linalg.norm(n, axis=1, keepdims=True)

    mean = normals(family.v_template)
    for betas in family.shape_mixture.means:
        turned = (normals(family.v_template + family.shapedirs @ betas) * mean).sum(1) < 0
        assert turned.mean() < 0.005


def test_every_kind_is_its_own_mirror_image(family):
    images = family.v_template * [1, -1, 1]
    distance = np.linalg.norm(images[:, None] - family.v_template[None], axis=-1)
    mirror = distance.argmin(1)
    assert distance.min(1).max() < 1e-9
    assert np.abs(family.shapedirs[mirror] * np.array([1, -1, 1])[:, None] - family.shapedirs).max() < 1e-9


def test_the_rest_pose_is_within_the_limits(family):
    assert (family.joint_limits[..., 0] < 0).all()
    assert (family.joint_limits[..., 1] > 0).all()


def test_it_has_the_joints_keypoints_and_groups_of_the_mouse_like_one(family):
    plain = make_quadruped()
    assert set(plain.joint_names) < set(family.joint_names)
    assert set(plain.keypoint_sets['sleap']) < set(family.keypoint_sets['sleap'])
    assert set(plain.joint_groups) < set(family.joint_groups)
    body = SMIL(family)
    output = body(body.zero_params(1), need=('joints', *family.keypoint_sets['sleap']))
    assert output.keypoints.isfinite().all()


def test_the_overall_moments_are_those_of_the_mixture_and_draws_follow_it(family):
    mean, cov = family.shape_mixture.moments()
    assert np.abs(mean - family.shape_mean).max() < 1e-12
    assert np.abs(cov - family.shape_cov).max() < 1e-12
    assert np.allclose(np.diag(cov), 1), 'betas are standard deviations'
    rng = np.random.default_rng(0)
    drawn = np.array([draw_betas(family, rng, most=9.0) for _ in range(4000)])
    assert np.abs(drawn.mean(0)).max() < 0.08
    assert np.abs(np.cov(drawn.T) - cov).max() < 0.12
