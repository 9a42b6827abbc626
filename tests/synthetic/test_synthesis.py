"""Rendered training sessions: labels are where the images show them, and the user's own rig and place are used."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from smilfit.apis import synthesize
from smilfit.body_models import SMIL, save_body_model
from smilfit.datasets import DatasetFile
from smilfit.io import SleapSession, read_calibration, read_joint_lookup, write_calibration
from smilfit.renderers import ZBufferRenderer
from smilfit.synthetic import RenderedSession, SessionSet, SynthesisOptions, make_insect, make_rig
from smilfit.synthetic.camera_rigs import resized, shared_volume, up_of
from smilfit.synthetic.drawn_motion import ways
from smilfit.synthetic.looks import (
    COATS,
    STYLES,
    WALLS,
    LookStyle,
    Occluder,
    Photos,
    draw_coat,
    draw_look,
    draw_wall,
)
from smilfit.synthetic.looks.lights import _CORNERS
from smilfit.synthetic.synthesize import SynthesisInputs
from tests.animals import static_animal

SMALL = SynthesisOptions(n_sessions=2, n_frames=4, n_cameras=2, size=(96, 80), memory_s=0.0)


@pytest.fixture(scope='module')
def spotted(quadruped):
    """The quadruped with a keypoint on the skin of its back, its head and one flank."""
    v = quadruped.data.v_template
    rows = [
        int(v[:, 2].argmax()),
        int(v[:, 0].argmax()),
        int(np.abs(v - [0, v[:, 1].max(), 0]).sum(1).argmin()),
    ]
    sets = {'spots': {f'spot_{i}': {row: 1.0} for i, row in enumerate(rows)}}
    return SMIL(replace(quadruped.data, keypoint_sets=sets))


@pytest.fixture(scope='module')
def spotted_session(spotted):
    """A session whose spots alone are white, before a black wall, with cameras that add next to nothing."""
    options = replace(SMALL, n_frames=6, size=(160, 128))
    session = SessionSet(spotted, tuple(spotted.data.keypoint_sets['spots']), options)[0]
    plain = session.look()
    v = spotted.data.v_template
    rest = (v - (v.max(0) + v.min(0)) / 2) / np.ptp(v, axis=0).max()
    places = [rest[next(iter(vertices))] for vertices in spotted.data.keypoint_sets['spots'].values()]

    def coat(points):
        near = np.stack([np.linalg.norm(points - place, axis=1) < 0.035 for place in places]).any(0)
        return np.where(near[:, None], 1.0, 0.0).astype(np.float32) * np.ones(3, np.float32)

    for sensor in plain.sensors:
        sensor.jpeg, sensor.blur_px, sensor.grey = None, 0.3, False
        sensor.table = np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, 1)
    lights = replace(plain.lights, ambient=1.0, gloss=0.0)
    walls = tuple(np.zeros_like(wall) for wall in plain.walls)
    look = replace(plain, coat=coat, lights=lights, walls=walls, occluders=())
    session.look = lambda: look
    return session


def test_images_show_the_labelled_places_where_the_labels_are(spotted_session):
    labels = spotted_session.keypoints2d()
    hits, misses = [], []
    for t, images in spotted_session.frames():
        for c, image in enumerate(images.values()):
            bright = cv2.blur(image.astype(np.float32).mean(-1), (3, 3))
            pixels = spotted_session.visible[0][t, c].round().astype(int)
            for k, (x, y) in enumerate(pixels):
                if 2 < x < 157 and 2 < y < 125:
                    result = bright[y - 2 : y + 3, x - 2 : x + 3].max()
                    (hits if labels.visible[t, c, k] else misses).append(result)
    assert len(hits) > 10
    assert len(misses) > 3
    # At the rim a point that counts as seen may have just turned away, and one that is hidden may show half its spot.
    assert np.mean(np.array(hits) > 40) > 0.8
    assert np.median(hits) > 2 * np.median(misses)


def test_labels_are_exact_projections_and_all_points_in_space_are_known(spotted_session):
    points, labels = spotted_session.keypoints3d(), spotted_session.keypoints2d()
    assert points.visible.all()
    pixels = spotted_session.cameras.project(points.xyz.reshape(-1, 3))[0].unflatten(1, points.xyz.shape[:2])
    seen = labels.visible
    assert (labels.xy - pixels.transpose(0, 1)).abs()[seen].max() < 1e-6
    with torch.no_grad():
        again = spotted_session.body(spotted_session.true_params, need=labels.names).keypoints
    assert torch.equal(again, points.xyz)


def test_frames_are_the_same_in_any_order(spotted_session):
    whole = dict(spotted_session.frames())
    ((_, alone),) = spotted_session.frames([4])
    for name, image in alone.items():
        assert np.array_equal(image, whole[4][name])


def test_what_stands_in_the_way_hides_in_its_view_alone(spotted_session):
    session = spotted_session
    eye = session.cameras.centres()[0].numpy()
    place = session.points[1][:, 0].mean(0)
    before = session.visible[1]
    board = Occluder(
        torch.from_numpy(eye + 0.05 * (place - eye) + np.linalg.norm(place - eye) * 0.2 * _CORNERS).float(),
        np.ones(3),
    )
    free = session.look()
    covered = replace(free, occluders=(board,))
    blocked = RenderedSession(
        'blocked', session.body, session.true_params, session.cameras, session.keypoint_names, lambda: covered
    )
    assert before[:, 0].any()
    assert not blocked.visible[1][:, 0].any()
    assert np.array_equal(blocked.visible[1][:, 1], before[:, 1])
    image = next(blocked.images(session.cameras.names[0], [0]))
    assert image.mean() > 100


def test_the_users_cameras_are_used_and_a_smaller_image_fits_them_exactly(quadruped, tmp_path):
    rig = make_rig(2, 100.0, np.random.default_rng(1), size=(192, 160))
    file = write_calibration(tmp_path / 'calibration.toml', rig)
    model = save_body_model(quadruped.data, tmp_path / 'own.smil.json')
    inputs = SynthesisInputs(calibration=file, downscale=2.0)
    synthesize(model, tmp_path / 'out', replace(SMALL, n_sessions=1, n_frames=2), inputs)
    session = SleapSession(tmp_path / 'out/session_000', tmp_path / 'out/joint_lookup.csv')
    assert session.cameras.names == rig.names
    assert session.cameras.size.tolist() == [[96.0, 80.0]] * 2
    points = torch.randn(30, 3, dtype=torch.float64) * 40
    large, small = rig.project(points)[0], session.cameras.project(points)[0]
    assert torch.allclose(small, (large + 0.5) / 2 - 0.5, atol=1e-9)
    assert torch.allclose(session.cameras.R, rig.R, atol=1e-9)
    with pytest.raises(ValueError, match='at least 1'):
        resized(rig, 0.5)


def test_places_are_seen_by_all_cameras_and_ways_stay_among_them():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rig = make_rig(3, 100.0, rng, size=(160, 128))
        volume = shared_volume(rig, rng)
        assert volume.up @ [0, 0, 1] > 0.8
        for memory in (0.0, 5.0):
            way = torch.from_numpy(ways(volume, 50, rng, memory))
            pixels, depth, _ = rig.project(way)
            assert (depth > 0).all()
            assert (pixels > 0).all()
            assert (pixels < rig.size[:, None]).all()
    about = torch.diag(torch.tensor([-1.0, 1.0, -1.0])).double()
    rotations, translations = rig.R.clone(), rig.t.clone()
    rotations[0], translations[0] = about @ rotations[0], about @ translations[0]
    away = replace(rig, R=rotations, t=translations)
    with pytest.raises(ValueError, match='share a volume'):
        shared_volume(away, rng)


def test_the_way_up_of_a_single_camera_is_between_its_up_and_its_back():
    rig = make_rig(2, 100.0, np.random.default_rng(0)).select(['cam_1'])
    assert up_of(rig) @ [0, 0, 1] > 0.6


def test_motion_is_smooth_where_it_is_to_be(quadruped):
    smooth, single = (
        SessionSet(quadruped, ('pelvis',), replace(SMALL, n_frames=30, memory_s=memory))[0].true_params
        for memory in (0.5, 0.0)
    )
    for name in ('body_pose', 'transl'):

        def step(params, name=name):
            value = getattr(params, name)
            return float((value[1:] - value[:-1]).norm() / (value - value.mean(0)).norm())

        assert step(smooth) < 0.5
        assert step(single) > 1.0
    limits = torch.from_numpy(quadruped.data.joint_limits)[1:]
    for params in (smooth, single):
        assert (params.body_pose >= limits[..., 0] - 1e-6).all()
        assert (params.body_pose <= limits[..., 1] + 1e-6).all()


def test_photographs_of_the_place_are_its_walls(quadruped):
    rig = make_rig(2, 100.0, np.random.default_rng(0), size=(64, 48))
    image = np.random.default_rng(1).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    style = replace(STYLES['varied'], photo_share=1.0, most_occluders=0)
    volume = shared_volume(rig, np.random.default_rng(0))
    photos = Photos({'cam_1': image}, (np.full((90, 90, 3), 77, np.uint8),))
    look = draw_look(style, np.random.default_rng(0), rig, volume, ZBufferRenderer(), photos)
    assert np.array_equal(look.walls[1], image)
    pieces = {tuple(np.unique(look.walls[0].astype(int)).tolist())}
    assert pieces == {(77,)} or look.walls[0].std() > 20


def test_backgrounds_are_read_from_files_by_their_cameras_names(quadruped, recording, tmp_path):
    folder, _, rig = recording
    from smilfit.synthetic.looks.photos import read_photos

    photos = read_photos([folder], rig.names)
    assert set(photos.of_camera) == set(rig.names)
    assert not photos.anywhere
    # The median over time is the wall without the animal.
    first = next(SleapSession(folder).frames([0]))[1]
    for name, image in photos.of_camera.items():
        difference = np.abs(image.astype(float) - first[name]).mean(-1)
        assert np.median(difference) < 6
    # Without labels beside it the animal's way is taken for the place.
    bare = tmp_path / 'bare.mp4'
    bare.write_bytes(next((folder / 'cam_1').glob('*.mp4')).read_bytes())
    assert len(read_photos([bare]).anywhere) == 1
    cv2.imwrite(str(tmp_path / 'lawn.png'), np.full((20, 30, 3), 9, np.uint8))
    assert len(read_photos([tmp_path / 'lawn.png'], rig.names).anywhere) == 1
    with pytest.raises(FileNotFoundError, match='no such'):
        read_photos([tmp_path / 'none'])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='has none'):
        read_photos([tmp_path / 'empty'])


def test_same_seed_same_files_and_what_is_there_stays(quadruped, tmp_path, caplog):
    model = save_body_model(quadruped.data, tmp_path / 'own.smil.json')
    one, two = (synthesize(model, tmp_path / name, SMALL).path for name in 'ab')
    files = sorted(p.relative_to(one) for p in one.rglob('*') if p.suffix in ('.mp4', '.csv', '.toml'))
    assert len(files) == 2 * 3 + 2
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file
    labels = [SleapSession(p / 'session_001', p / 'joint_lookup.csv').keypoints2d() for p in (one, two)]
    assert torch.equal(labels[0].xy, labels[1].xy)
    stamp = (one / 'session_000/truth.npz').stat().st_mtime_ns
    (one / 'session_001/truth.npz').unlink()
    notes = []
    synthesize(model, one, replace(SMALL, n_sessions=3), progress=notes.append)
    assert (one / 'session_000/truth.npz').stat().st_mtime_ns == stamp
    assert (one / 'session_001/truth.npz').is_file()
    assert (one / 'session_002/calibration.toml').is_file()
    assert {step.task for step in notes} == {'rendering session_001', 'rendering session_002'}
    caplog.clear()
    with pytest.raises(FileExistsError, match='--overwrite'):
        synthesize(model, one, replace(SMALL, seed=5))
    assert 'made again' not in caplog.text


def test_a_body_without_sets_limits_and_shape_space_goes_straight_into_a_file(tmp_path):
    bare = replace(static_animal(), joint_limits=None, keypoint_sets={}, shapedirs=None, shape_mean=None)
    bare = replace(
        bare, up_axis=None, forward_axis=None, pose_prior_mean=None, pose_prior_precision=None, unit=None
    )
    model = save_body_model(bare, tmp_path / 'bare.smil.json')
    out = tmp_path / 'set.h5'
    done = synthesize(model, out, SMALL, store={'target_resolution': 64})
    store = DatasetFile(out)
    assert done.keypoint_names == store.keypoint_names == bare.joint_names
    # A frame in which no keypoint is seen is none.
    assert 2 <= store.n_samples <= 8
    assert store.true_params(0).body_pose.abs().max() <= np.pi / 2 + 1e-6
    assert (store.keypoints3d(1).confidence == 1).all()
    # The images are another set's: its labels alone would not tell.
    with pytest.raises(FileExistsError, match='--overwrite'):
        synthesize(model, out, replace(SMALL, style='other'), store={'target_resolution': 64})
    before = out.read_bytes()
    synthesize(model, out, replace(SMALL, style='other'), store={'target_resolution': 64}, overwrite=True)
    assert out.read_bytes() != before


def test_a_file_has_the_labels_of_the_folder(quadruped, tmp_path):
    model = save_body_model(quadruped.data, tmp_path / 'own.smil.json')
    lookup = tmp_path / 'lookup.csv'
    lookup.write_text('model,data\nnose,Nase\ntail_tip,Schwanz\n')
    inputs = SynthesisInputs(joint_lookup=lookup)
    synthesize(model, tmp_path / 'out', SMALL, inputs)
    synthesize(model, tmp_path / 'set.h5', SMALL, inputs, store={'crop_mode': 'default'})
    assert read_joint_lookup(tmp_path / 'out/joint_lookup.csv') == {'nose': 'Nase', 'tail_tip': 'Schwanz'}
    store = DatasetFile(tmp_path / 'set.h5')
    session = SleapSession(tmp_path / 'out/session_001', lookup)
    assert store.keypoint_names == session.keypoint_names == ('nose', 'tail_tip')
    seen = session.keypoints2d()
    stored = store.annotated2d('session_001')
    rows = [int(i) for i in store.frame_indices('session_001')]
    both = stored.visible & seen.visible[rows]
    assert torch.equal(stored.visible, both)
    assert (stored.xy - seen.xy[rows])[both].abs().max() < 1e-3
    assert read_calibration(tmp_path / 'out/session_001/calibration.toml').names == ('cam_top', 'cam_1')


def test_poses_come_from_fits_where_they_are_given(quadruped, recording, tmp_path):
    folder, params, _ = recording
    model = save_body_model(quadruped.data, tmp_path / 'own.smil.json')
    inputs = SynthesisInputs(poses=(folder / 'truth.npz',))
    synthesize(model, tmp_path / 'out', replace(SMALL, n_sessions=1, n_cameras=1, n_frames=30), inputs)
    poses = SleapSession(tmp_path / 'out/session_000').true_params.body_pose
    # Each joint is as some pose of the recording has it, or as its mirror image on the other side, but for noise.
    knee = quadruped.joint_names.index('knee_L') - 1, quadruped.joint_names.index('knee_R') - 1
    given = torch.cat(
        (params.body_pose[:, knee[0]], params.body_pose[:, knee[1]] * torch.tensor([-1, 1, -1]))
    )
    nearest = torch.cdist(poses[:, knee[0]], given).amin(1)
    assert nearest.median() < 0.3
    other = make_insect()
    with pytest.raises(ValueError, match='another body model'):
        synthesize(save_body_model(other, tmp_path / 'ant.smil.json'), tmp_path / 'x', SMALL, inputs)


def test_styles_share_no_coat_and_no_wall():
    varied, other = STYLES['varied'], STYLES['other']
    for trained in (varied, STYLES['wide']):
        assert not set(trained.coats) & set(other.coats)
        assert not set(trained.walls) & set(other.walls)
    assert varied.lights.ambient[0] >= other.lights.ambient[1]


@pytest.mark.parametrize('kind', COATS)
def test_every_coat_is_a_colour_everywhere(kind):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3)).astype(np.float32)
    photos = (np.random.default_rng(1).integers(0, 255, (40, 50, 3)).astype(np.uint8),)
    for seed in range(4):
        rgb = draw_coat(kind, np.random.default_rng(seed), photos)(points)
        assert rgb.shape == (500, 3)
        assert rgb.min() >= 0
        assert rgb.max() <= 1


@pytest.mark.parametrize('kind', WALLS)
def test_every_wall_fills_its_image(kind):
    photos = (np.random.default_rng(1).integers(0, 255, (40, 50, 3)).astype(np.uint8),)
    for seed in range(3):
        wall = draw_wall(kind, (70, 50), np.random.default_rng(seed), photos)
        assert wall.shape == (50, 70, 3)
        assert wall.min() >= 0
        assert wall.max() <= 255


def test_errors(quadruped, tmp_path):
    model = save_body_model(quadruped.data, tmp_path / 'own.smil.json')
    with pytest.raises(KeyError, match='no style'):
        SynthesisOptions(style='variet')
    with pytest.raises(KeyError, match='no kind'):
        LookStyle(coats=('fur',), walls=('stains',))
    with pytest.raises(ValueError, match='at least 1'):
        SynthesisOptions(n_frames=0)
    with pytest.raises(KeyError, match='no keypoint set'):
        synthesize(model, tmp_path / 'x', SMALL, SynthesisInputs(keypoint_set='slep'))
    with pytest.raises(ValueError, match='must go with one'):
        synthesize(model, tmp_path / 'x', SMALL, store={'crop_mode': 'default'})
    assert not (tmp_path / 'x').exists()
