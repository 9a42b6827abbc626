"""What the procedural animals promise: closed meshes, weights, joints, limits, mirror images."""

import numpy as np
import torch

from smilfit.body_models import SMIL, load_body_model_data, save_body_model
from smilfit.synthetic import draw_betas, make_insect, make_quadruped
from smilfit.synthetic.trunk_mesh import chain_weights, keep_largest


def _volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def _directed_edges(faces):
    return np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))


def _mirror_vertices(data):
    """For each vertex, the vertex at its mirror image and how far off that is."""
    images = data.v_template * [1, -1, 1]
    distance = np.linalg.norm(images[:, None] - data.v_template[None], axis=-1)
    return distance.argmin(1), distance.min(1)


def test_the_mesh_is_one_closed_surface_with_its_inside_within(animal):
    edges = _directed_edges(animal.faces)
    assert len(np.unique(edges, axis=0)) == len(edges)
    forward = {tuple(e) for e in edges.tolist()}
    assert all((b, a) in forward for a, b in forward)
    n_edges = len(edges) // 2
    assert animal.n_vertices - n_edges + len(animal.faces) == 2
    assert np.array_equal(np.unique(animal.faces), np.arange(animal.n_vertices))
    assert _volume(animal.v_template, animal.faces) > 0
    a, b, c = (animal.v_template[animal.faces[:, i]] for i in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-7


def test_the_mesh_is_of_the_size_that_was_promised(animal):
    assert 1500 < animal.n_vertices < 4000
    length = np.ptp(animal.v_template[:, 0])
    assert 0.9 < length < 1.8
    assert np.ptp(make_insect(length=12.0).v_template[:, 0]) > 10


def test_weights_are_few_positive_and_sum_to_one(animal):
    dense = animal.weights.to_dense()
    assert np.allclose(dense.sum(1), 1)
    assert (animal.weights.values > 0).all()
    assert (dense > 0).sum(1).max() <= 4
    assert (dense.max(0) > 0.5).all(), 'every joint must move something'


def test_weights_change_gently_along_the_surface(animal):
    dense = animal.weights.to_dense()
    edges = _directed_edges(animal.faces)
    step = np.abs(dense[edges[:, 0]] - dense[edges[:, 1]]).sum(1) / 2
    assert step.max() < 0.8


def test_limbs_do_not_stick_to_what_is_only_near_in_space():
    """A leg's tip belongs to that leg alone, and the other legs' joints never move it."""
    for data in (make_insect(), make_quadruped()):
        dense = data.weights.to_dense()
        for name, definition in data.keypoint_sets['sleap'].items():
            if isinstance(definition, dict):
                (vertex,) = definition
                joints = [data.joint_names[j] for j in np.flatnonzero(dense[vertex])]
                other = {'L': '_R', 'R': '_L'}
                side = 'L' if '_L' in name else 'R' if '_R' in name else None
                assert side is None or not any(other[side] in joint for joint in joints)


def test_the_regressor_gives_the_joints_of_every_shape(animal):
    assert np.abs(animal.joint_regressor @ animal.v_template - animal.joints).max() < 1e-9
    dense = animal.joint_regressor.to_dense()
    assert np.allclose(dense.sum(1), 1)
    assert (animal.joint_regressor.values > 0).all()
    for seed in range(3):
        betas = draw_betas(animal, np.random.default_rng(seed))
        vertices = animal.v_template + animal.shapedirs @ betas
        joints = animal.joint_regressor @ vertices
        nearest = np.linalg.norm(joints[:, None] - vertices[None], axis=-1).min(1)
        before = np.linalg.norm(animal.joints[:, None] - animal.v_template[None], axis=-1).min(1)
        assert (nearest < 1.6 * before + 0.01).all(), 'joints stay where they were within the body'
        assert _volume(vertices, animal.faces) > 0


def test_shape_directions_are_smooth_and_say_what_they_do():
    data = make_quadruped()
    edges = _directed_edges(data.faces)
    length = np.linalg.norm(data.v_template[edges[:, 0]] - data.v_template[edges[:, 1]], axis=1)
    stretch = np.linalg.norm(data.shapedirs[edges[:, 0]] - data.shapedirs[edges[:, 1]], axis=1)
    assert (stretch < 0.35 * length[:, None] + 0.003).all()
    longer_tail = data.v_template + data.shapedirs[..., 4]
    assert longer_tail[:, 0].min() < data.v_template[:, 0].min() - 0.03
    still = data.v_template[:, 0] > -0.1
    assert np.abs(data.shapedirs[still, :, 4]).max() < 1e-9


def test_left_and_right_are_mirror_images(animal):
    mirror, error = _mirror_vertices(animal)
    assert error.max() < 1e-9
    partner = dict(animal.joint_symmetry) | {b: a for a, b in animal.joint_symmetry}
    order = [animal.joint_names.index(partner.get(n, n)) for n in animal.joint_names]
    assert np.allclose(animal.joints[order] * [1, -1, 1], animal.joints)
    dense = animal.weights.to_dense()
    assert np.abs(dense[mirror][:, order] - dense).max() < 1e-9
    on_plane = animal.symmetry_plane_vertices
    assert len(on_plane) > 20
    assert np.array_equal(mirror[on_plane], on_plane)
    limits = animal.joint_limits
    assert np.allclose(limits[order, 1], limits[:, 1])
    for axis in (0, 2):
        assert np.allclose(-limits[order, axis][:, ::-1], limits[:, axis])


def test_the_rest_pose_is_within_the_limits_and_hinges_bend_one_way(animal):
    limits = animal.joint_limits
    assert (limits[..., 0] < 0).all()
    assert (limits[..., 1] > 0).all()
    hinges = {'insect': ('tibia',), 'quadruped': ('elbow', 'knee')}[animal.name]
    for name, limit in zip(animal.joint_names, limits):
        if name.startswith(hinges):
            ranges = np.sort(np.ptp(limit, axis=1))
            assert ranges[0] < 0.25 * ranges[-1]


def test_groups_and_keypoints_name_what_is_there(animal):
    keypoints = animal.keypoint_sets['sleap']
    assert 15 <= len(keypoints) <= 24
    assert set(animal.joint_groups) >= {'torso', 'head', 'legs'}
    body = SMIL(animal)
    output = body(body.zero_params(1), need=('joints', *keypoints))
    assert output.keypoints.isfinite().all()
    tip = keypoints.get('nose') or keypoints['mandibles']
    centre = animal.v_template[animal.symmetry_plane_vertices]
    assert animal.v_template[next(iter(tip)), 0] == centre[:, 0].max()


def test_the_same_call_gives_the_same_animal(animal):
    again = {'insect': make_insect, 'quadruped': make_quadruped}[animal.name]()
    assert again.content_hash() == animal.content_hash()


def test_the_animal_survives_its_file(animal, tmp_path):
    path = save_body_model(animal, tmp_path / 'animal.smil.json')
    read = load_body_model_data(path)
    assert read.content_hash() == animal.content_hash()
    assert read.licence == 'CC0-1.0'


def test_poses_within_the_limits_do_not_tear_the_skin(animal):
    body = SMIL(animal).double()
    torch.manual_seed(1)
    limits = body.joint_limits[1:]
    share = torch.rand(8, *limits.shape[:2], dtype=torch.float64)
    pose = limits[..., 0] + (limits[..., 1] - limits[..., 0]) * share
    params = body.zero_params(8).to(torch.float64).replace(body_pose=0.75 * pose)
    vertices = body(params, need=('vertices',)).vertices.numpy()
    edges = _directed_edges(animal.faces)
    rest = np.linalg.norm(animal.v_template[edges[:, 0]] - animal.v_template[edges[:, 1]], axis=1)
    posed = np.linalg.norm(vertices[:, edges[:, 0]] - vertices[:, edges[:, 1]], axis=-1)
    assert (posed < 2.5 * rest + 0.02).all()
    for points in vertices:
        assert 0.85 < _volume(points, animal.faces) / _volume(animal.v_template, animal.faces) < 1.15


def test_chain_weights_step_from_joint_to_joint():
    places = np.array([0.0, 1.0, 2.0])
    reach = np.array([0.0, 0.2, 0.2])
    assert chain_weights(0.5, places, reach).tolist() == [1, 0, 0]
    assert chain_weights(1.0, places, reach).tolist() == [0.5, 0.5, 0]
    assert chain_weights(9.0, places, reach).tolist() == [0, 0, 1]
    for arc in np.linspace(0, 3, 50):
        share = chain_weights(arc, places, np.array([0.0, 0.9, 0.9]))
        assert np.isclose(share.sum(), 1)
        assert (share >= 0).all()


def test_keep_largest_keeps_rows_that_sum_to_one():
    rows = np.array([[0.2, 0.2, 0.2, 0.2, 0.2], [1, 0, 0, 0, 0.001], [0.4, 0.2, 0.2, 0.1, 0.1]])
    kept = keep_largest(rows, n=4)
    assert (kept > 0).sum(1).tolist() == [4, 1, 3]
    assert np.allclose(kept.sum(1), 1)
