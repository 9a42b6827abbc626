"""A written session read back: labels, cameras, points, images and truth agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.io import SleapSession, read_joint_lookup, read_shape_betas
from smilfit.renderers import ZBufferRenderer
from smilfit.synthetic import (
    EXACT_LABELS,
    LabelOptions,
    SessionOptions,
    make_rig,
    random_motion,
    write_session,
    write_sessions,
)
from smilfit.synthetic.made_labels import draw_labels, hidden_keypoints, in_image

CAMERA_FIELDS = ('K', 'R', 't', 'size', 'dist')


def _truth(body, params, names):
    with torch.no_grad():
        return body.double()(params, need=tuple(names)).keypoints


def test_the_session_reads_back_as_it_was_made(recording, quadruped):
    folder, params, rig = recording
    session = SleapSession(folder, joint_lookup=folder.parent / 'joint_lookup.csv')
    assert session.n_frames == 14
    assert session.fps == 30.0
    assert session.unit == 'mm'
    assert session.camera_names == rig.names
    for name in CAMERA_FIELDS:
        assert torch.allclose(getattr(session.cameras, name), getattr(rig, name), atol=1e-9)
    assert session.keypoint_names == tuple(quadruped.data.keypoint_sets['sleap'])
    for name, value in session.true_params.as_dict().items():
        assert torch.equal(value, getattr(params, name))


def test_labels_are_the_projected_truth_within_the_noise(recording, quadruped):
    folder, params, rig = recording
    labels = SleapSession(folder, joint_lookup=folder.parent / 'joint_lookup.csv').keypoints2d()
    points = _truth(quadruped, params, labels.names)
    for c in range(len(rig)):
        pixels = rig.select([rig.names[c]]).project(points)[0][:, 0]
        error = (labels.xy[:, c] - pixels).norm(dim=-1)[labels.visible[:, c]]
        assert 0.4 < error.median() < 1.4
        assert (error < 4).double().mean() > 0.97
    share = labels.visible.double().mean()
    assert 0.3 < share < 0.9


def test_points_in_space_are_exact_where_two_cameras_saw_them(recording, quadruped):
    folder, params, _ = recording
    session = SleapSession(folder, joint_lookup=folder.parent / 'joint_lookup.csv')
    points = session.keypoints3d()
    seen_by = session.keypoints2d().visible.sum(1)
    assert torch.equal(points.visible, seen_by >= 2)
    truth = _truth(quadruped, params, points.names)
    assert (points.xyz - truth)[points.visible].abs().max() < 1e-6


def test_the_animal_is_in_the_image_where_its_vertices_project(recording, quadruped):
    """The image differs from an empty one of the same camera mostly where the true mesh is."""
    folder, params, rig = recording
    images = {name: [] for name in rig.names}
    for _, frame in SleapSession(folder).frames():
        for name, image in frame.items():
            images[name].append(image.astype(np.float64))
    for name in rig.names:
        stack = np.stack(images[name])
        wall = np.median(stack, axis=0)
        difference = np.abs(stack - wall).mean(-1)
        with torch.no_grad():
            vertices = quadruped.double()(params, need=('vertices',)).vertices
        valid = ZBufferRenderer()(vertices, quadruped.faces, rig.select([name])).alpha.numpy() > 0
        usual = valid.mean(0) > 0.3
        assert difference[valid & ~usual].mean() > 4 * difference[~valid & ~usual].mean()


def test_truth_opens_without_pickles(recording, quadruped):
    folder, _, _ = recording
    with np.load(folder / 'truth.npz', allow_pickle=False) as truth:
        assert str(truth['body_model_hash']) == quadruped.data.content_hash()
        assert truth['joint_names'].tolist() == list(quadruped.joint_names)
        assert truth['joints'].shape == (14, quadruped.n_joints, 3)


def test_a_session_without_truth_says_none_and_a_wrong_one_is_refused(recording):
    folder, params, _ = recording
    session = SleapSession(folder)
    path = folder / 'truth.npz'
    content = path.read_bytes()
    try:
        path.unlink()
        assert session.true_params is None
        np.savez(path, **{k: v.numpy() for k, v in params[:5].as_dict().items()})
        with pytest.raises(ValueError, match='as many as'):
            _ = session.true_params
        np.savez(path, transl=params.transl.numpy())
        with pytest.raises(ValueError, match='betas, scale missing'):
            _ = session.true_params
    finally:
        path.write_bytes(content)


def test_tables_beside_the_sessions(recording, quadruped):
    folder, params, _ = recording
    lookup = read_joint_lookup(folder.parent / 'joint_lookup.csv')
    assert lookup['fore_paw_L'] == 'fore_paw_left'
    assert np.allclose(read_shape_betas(folder.parent / 'shape_betas.csv')['walk'], params.betas[0].numpy())


def test_exact_labels_are_exact(quadruped, tmp_path):
    rng = np.random.default_rng(0)
    params = random_motion(quadruped, 3, rng, 10.0, scale=90.0)
    rig = make_rig(1, 200.0, rng, size=(96, 64), unit=None, lens=False)
    assert rig.dist is None
    folder = write_session(tmp_path / 's', quadruped, params, rig, SessionOptions(labels=EXACT_LABELS), rng)
    labels = SleapSession(folder, joint_lookup=tmp_path / 'joint_lookup.csv').keypoints2d()
    pixels = rig.project(_truth(quadruped, params, labels.names))[0]
    assert labels.visible.all()
    assert torch.allclose(labels.xy, pixels, atol=1e-6)


def test_sets_of_sessions_are_repeatable_and_not_made_twice(quadruped, tmp_path):
    arguments = {'n_sessions': 2, 'n_frames': 3, 'n_cameras': 1, 'size': (64, 48)}
    one = write_sessions(tmp_path / 'a', quadruped, **arguments)
    two = write_sessions(tmp_path / 'b', quadruped, **arguments)
    first = SleapSession(one[0])
    assert torch.equal(first.keypoints2d().xy, SleapSession(two[0]).keypoints2d().xy)
    assert not torch.equal(first.true_params.betas, SleapSession(one[1]).true_params.betas)
    stamp = (one[0] / 'truth.npz').stat().st_mtime_ns
    write_sessions(tmp_path / 'a', quadruped, **arguments)
    assert (one[0] / 'truth.npz').stat().st_mtime_ns == stamp
    assert len(read_shape_betas(tmp_path / 'a' / 'shape_betas.csv')) == 2


def test_a_point_behind_the_body_is_hidden_and_one_before_it_is_not(quadruped):
    rig = make_rig(1, 100.0, np.random.default_rng(0), size=(128, 96), lens=False)
    params = quadruped.zero_params(1).to(torch.float64)
    params = params.replace(scale=params.scale * 90)
    with torch.no_grad():
        vertices = quadruped.double()(params, need=('vertices',)).vertices
    render = ZBufferRenderer()(vertices, quadruped.faces, rig)
    line = rig.centres()[0] * torch.tensor([[0.3], [-0.3]])  # through the pelvis: before it, behind it
    pixels, depth, _ = rig.project(line)
    assert hidden_keypoints(render, pixels, depth, torch.ones(2).double()).tolist() == [[False, True]]
    assert not hidden_keypoints(render, pixels, depth, torch.full((2,), 1e3).double()).any()


def test_labels_keep_their_odds():
    rng = np.random.default_rng(0)
    xy = rng.uniform(20, 80, (400, 20, 2))
    everywhere, nowhere = np.ones((400, 20), bool), np.zeros((400, 20), bool)
    options = replace(EXACT_LABELS, missing=0.2, noise_px=2.0)
    labels, score = draw_labels(xy, everywhere, nowhere, (100, 100), options, rng)
    valid = np.isfinite(labels).all(-1)
    assert abs(valid.mean() - 0.8) < 0.02
    assert np.array_equal(np.isfinite(score), valid)
    assert abs((labels - xy)[valid].std() - 2.0) < 0.05
    hidden = replace(EXACT_LABELS, hidden=1.0)
    labels, _ = draw_labels(xy, everywhere, everywhere, (100, 100), hidden, rng)
    assert np.isnan(labels).all()
    gaps = replace(EXACT_LABELS, n_gaps=1, gap_frames=30)
    labels, _ = draw_labels(xy, everywhere, nowhere, (100, 100), gaps, rng)
    gone = np.isnan(labels).all((1, 2))
    assert gone.sum() == 30
    assert not gone[-1]
    wild = replace(EXACT_LABELS, outlier=0.1, outlier_px=8.0)
    labels, score = draw_labels(xy, everywhere, nowhere, (100, 100), wild, rng)
    moved = np.abs(labels - xy).max(-1) > 1e-9
    assert abs(np.nanmean(moved) - 0.1) < 0.02
    assert np.nanmean(score[moved]) < np.nanmean(score[~moved])


def test_the_image_ends_half_a_pixel_around_its_outer_centres():
    size = torch.tensor([10.0, 8.0])
    points = torch.tensor([[-0.5, -0.5], [9.4, 7.4], [9.5, 3], [3, 7.5], [-0.6, 3]])
    assert in_image(points, size).tolist() == [True, True, False, False, False]


def test_rigs_see_the_arena_through_lenses_that_do_not_fold():
    for seed in range(5):
        rig = make_rig(4, 100.0, np.random.default_rng(seed), size=(320, 256))
        angle = torch.linspace(0, 6.28, 40, dtype=torch.float64)
        rim = 80 * torch.stack((angle.cos(), angle.sin(), 0 * angle), 1)
        pixels, depth, valid = rig.project(rim)
        assert valid.all()
        assert (depth > 0).all()
        assert torch.stack([in_image(p, s) for p, s in zip(pixels, rig.size)]).all()
        corners = torch.tensor([[0, 0], [319, 0], [0, 255], [319, 255]]).double().expand(4, 4, 2)
        assert rig.undistort(corners)[1].all()


def test_errors(recording, quadruped, tmp_path):
    folder, params, rig = recording
    with pytest.raises(FileExistsError, match='new folder'):
        write_session(folder, quadruped, params, rig)
    with pytest.raises(KeyError, match='no keypoint set'):
        write_session(tmp_path / 'x', quadruped, params, rig, SessionOptions(keypoint_set='slep'))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match='must be a probability'):
        LabelOptions(missing=1.2)
    with pytest.raises(ValueError, match='must not be negative'):
        LabelOptions(noise_px=-1.0)
    with pytest.raises(ValueError, match='camera and an arena'):
        make_rig(0, 1.0, np.random.default_rng(0))
