"""Made recordings of two animals: one hides the other, each is a track, and a store says where both are."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis import DataSource, preprocess, synthesize
from smilfit.apis.viewer import open_scene
from smilfit.datasets import DatasetFile, PictureDataset
from smilfit.io import SleapSession, read_calibration, read_labels, read_track_names, write_tracks
from smilfit.synthetic import RenderedSession, SessionSet, SynthesisOptions
from tests.io.multiview_slp import write_multiview

TWO = SynthesisOptions(n_sessions=1, n_frames=5, n_cameras=2, size=(96, 80), memory_s=0.0, n_animals=2)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp('two') / 'out'
    synthesize('quadruped', out, TWO)
    return out


@pytest.fixture(scope='module')
def store(folder):
    path = folder.parent / 'two.h5'
    source = DataSource('sleap', folder, folder / 'joint_lookup.csv', reader={'instance': 'each'})
    preprocess(source, path, 'quadruped', {'target_resolution': 64, 'min_views': 1})
    return path


def _session(folder, animal):
    return SleapSession(folder / 'session_000', folder / 'joint_lookup.csv', track=f'animal_{animal}')


def test_the_nearer_animal_hides_the_other(quadruped):
    names = tuple(quadruped.data.joint_names)
    alone = SessionSet(quadruped, names, replace(TWO, n_animals=1, n_frames=1))[0]
    params, eye = alone.true_params, alone.cameras.centres()[0]
    centre = torch.from_numpy(alone.points[1]).mean((0, 1))
    # The same body a little nearer to the first camera.
    nearer = params.replace(transl=params.transl + 0.3 * (eye - centre))
    both = RenderedSession('both', alone.body, [params, nearer], alone.cameras, names, alone.look)
    far, near = both.each_animal().values()
    assert near.visible[1][0, 0].sum() > 3
    assert far.visible[1][0, 0].sum() < 0.5 * alone.visible[1][0, 0].sum()
    centres = both.centres2d()
    np.testing.assert_allclose(centres.xy[0, 1, 0], far.visible[0][0, 1].mean(0), atol=1e-6)
    assert alone.centres2d() is None


def test_animals_keep_clear_of_each_other_and_one_alone_is_as_before(quadruped):
    session = SessionSet(quadruped, ('pelvis',), replace(TWO, n_frames=40, memory_s=0.3))[0]
    one, other = (x.points[1][:, 0] for x in session.each_animal(visible=False).values())
    extent = np.ptp(quadruped.data.v_template, axis=0).max() * float(session.true_params.scale[0])
    assert np.linalg.norm(one - other, axis=1).min() > 0.2 * extent
    assert not torch.equal(session.animals[0].betas, session.animals[1].betas)


def test_each_animal_of_a_folder_is_a_track_with_its_truth(folder):
    for animal in (0, 1):
        session = _session(folder, animal)
        assert session.name == f'session_000+animal_{animal}'
        seen, points = session.keypoints2d(), session.keypoints3d()
        pixels = session.cameras.project(points.xyz.flatten(0, 1))[0].unflatten(1, points.xyz.shape[:2])
        off = (seen.xy - pixels.transpose(0, 1)).norm(dim=-1)
        assert float(off[seen.visible].max()) < 1e-3
        assert session.true_params.batch_size == TWO.n_frames
    assert not torch.equal(_session(folder, 0).true_params.transl, _session(folder, 1).true_params.transl)
    with pytest.raises(KeyError, match='animal_1'):
        SleapSession(folder / 'session_000', track='animal_3')


def test_centres_are_the_means_of_all_tracks_points(folder):
    one, other = _session(folder, 0), _session(folder, 1)
    centres = one.centres2d()
    np.testing.assert_array_equal(centres.xy, other.centres2d().xy)
    for session in (one, other):
        camera = session.camera_names[0]
        labels = read_labels(session.folder / camera / f'session_000_{camera}.slp', session.track)
        frame = int(np.flatnonzero(centres.complete[:, 0])[0])
        mean = np.nanmean(labels.xy[frame], 0)
        assert np.linalg.norm(centres.xy[frame, 0] - mean, axis=-1).min() < 1e-6


def test_a_store_says_where_both_are_in_every_sample(store, folder):
    file = DatasetFile(store)
    assert file.session_names == ('session_000+animal_0', 'session_000+animal_1')
    assert file.n_centres == 2
    images = PictureDataset(store, split='all', test_mode=True)
    resized = PictureDataset(store, split='all', test_mode=True, resolution=32)
    checked = 0
    for item in range(len(images)):
        data = images[item]['data_samples']
        known = data['centres_weight'][0] > 0
        own = data['keypoints2d'][0][data['confidence2d'][0] > 0].mean(0)
        far = (data['centres2d'][0] - own).norm(dim=-1)
        # The lens bends a mean a little otherwise than its points.
        assert float(far[known].min()) < 0.2, (item, far)
        assert bool(data['all_animals'][0]) == bool(known.all())
        small = resized[item]['data_samples']['centres2d'][0]
        torch.testing.assert_close(
            small[known], (data['centres2d'][0][known] + 0.5) / 2 - 0.5, atol=1e-4, rtol=0
        )
        checked += int(known.sum())
    assert checked > len(images)


def test_fewer_labelled_than_there_are_say_nothing_of_the_rest(folder, tmp_path):
    source = DataSource('sleap', folder, folder / 'joint_lookup.csv', reader={'instance': 'each'})
    options = {'target_resolution': 32, 'min_views': 1}
    preprocess(source, tmp_path / 'three.h5', 'quadruped', {**options, 'n_animals': 3})
    images = PictureDataset(tmp_path / 'three.h5', split='all', test_mode=True)
    assert not any(images[i]['data_samples']['all_animals'].any() for i in range(len(images)))
    with pytest.raises(ValueError, match='at most the 1 animals'):
        preprocess(source, tmp_path / 'one.h5', 'quadruped', {**options, 'n_animals': 1})


@pytest.fixture(scope='module')
def three_cameras(tmp_path_factory):
    """A folder seen by three cameras, and the store that is made of it: two cannot say which of them is wrong."""
    out = tmp_path_factory.mktemp('three') / 'out'
    synthesize('quadruped', out, replace(TWO, n_cameras=3))
    return out, _stored(out, out.parent / 'clean.h5')[0]


def _rewritten(folder, out, change):
    """Copy a made folder with other labels: `change(camera number, names, points of each)` gives both."""
    shutil.copytree(folder, out)
    paths = {path.parent.name: path for path in (out / 'session_000').glob('*/*.slp')}
    for c, camera in enumerate(read_calibration(out / 'session_000' / 'calibration.toml').names):
        path = paths[camera]
        names = read_track_names(path)
        read = [read_labels(path, name) for name in names]
        xy = [np.full((TWO.n_frames, *labels.xy.shape[1:]), np.nan) for labels in read]
        for points, labels in zip(xy, read):
            points[: len(labels.xy)] = labels.xy
        names, xy = change(c, list(names), xy)
        video = next(path.parent.glob('*.mp4'))
        tracks = {name: (points, None) for name, points in zip(names, xy)}
        write_tracks(path, tracks, read[0].node_names, video.name)
    return out


def _stored(folder, path, **source):
    result = DataSource('sleap', folder, folder / 'joint_lookup.csv', reader={'instance': 'each'}, **source)
    report = preprocess(result, path, 'quadruped', {'target_resolution': 64, 'min_views': 1}).report
    return DatasetFile(path), report['sessions']


def test_a_frame_in_which_a_tracker_took_one_animal_for_the_other_is_found(three_cameras, tmp_path):
    folder, clean = three_cameras

    def change(camera, names, xy):
        if camera == 1:
            xy[0][2], xy[1][2] = xy[1][2].copy(), xy[0][2].copy()
        return names, xy

    spoilt = _rewritten(folder, tmp_path / 'spoilt', change)
    result, notes = _stored(spoilt, tmp_path / 'found.h5')
    kept, _ = _stored(spoilt, tmp_path / 'kept.h5', keep_tracks=True)
    for name in clean.session_names:
        want = clean.annotated2d(name)
        torch.testing.assert_close(result.annotated2d(name).xy, want.xy, atol=1e-3, rtol=0)
        assert float((kept.annotated2d(name).xy - want.xy).abs().max()) > 5
        identities = notes[name]['reader']['identities']
        assert list(identities['frames_of_other_tracks'].values()) == [1]


def test_tracks_with_a_name_of_their_own_in_each_camera_are_matched(three_cameras, tmp_path):
    folder, clean = three_cameras

    def change(camera, names, xy):
        return [f'{camera}_{name}' for name in names], xy[::-1] if camera else xy

    result, notes = _stored(_rewritten(folder, tmp_path / 'named', change), tmp_path / 'found.h5')
    assert result.session_names == ('session_000+0_animal_0', 'session_000+0_animal_1')
    for name, known in zip(result.session_names, clean.session_names):
        torch.testing.assert_close(
            result.annotated2d(name).xy, clean.annotated2d(known).xy, atol=1e-3, rtol=0
        )
        first, *others = notes[name]['reader']['identities']['tracks'].values()
        assert all(other[-1] != first[-1] for other in others)


def test_tracks_that_cameras_do_not_share_are_refused(folder, tmp_path):
    xy = np.random.default_rng(0).uniform(0, 60, (5, 2, 2))
    path = write_tracks(tmp_path / 'a.slp', {'lead': (xy, None), 'tail': (xy + 1, None)}, ['a', 'b'], 'v.mp4')
    assert read_track_names(path) == ('lead', 'tail')
    np.testing.assert_allclose(read_labels(path, 'tail').xy, xy + 1)
    np.testing.assert_allclose(
        np.sort(read_labels(path).centres, 1), np.stack((xy.mean(1), xy.mean(1) + 1), 1)
    )
    other = tmp_path / 'session'
    for name in ('cam_1', 'cam_top'):
        (other / name).mkdir(parents=True)
        video = f'session_000_{name}.mp4'
        (other / name / video).write_bytes((folder / 'session_000' / name / video).read_bytes())
        tracks = {'lead': (xy, None), f'only_{name}': (xy + 1, None)}
        write_tracks(other / name / f'session_000_{name}.slp', tracks, ['a', 'b'], video)
    (other / 'calibration.toml').write_bytes((folder / 'session_000/calibration.toml').read_bytes())
    source = DataSource('sleap', other, reader={'instance': 'each'})
    with pytest.raises(ValueError, match='one name in all cameras'):
        preprocess(source, tmp_path / 'out.h5', 'quadruped')


PERSONS = ('anna', 'ben')


@pytest.mark.parametrize('by', ['identities', 'groups', 'rays'])
def test_a_multiview_project_gives_each_animal_its_labels_of_all_cameras(three_cameras, tmp_path, by):
    folder, clean = three_cameras
    cameras = read_calibration(folder / 'session_000/calibration.toml').names
    own = (
        {name: (f'{name}_a', f'{name}_b') for name in cameras}
        if by == 'rays'
        else dict.fromkeys(cameras, PERSONS)
    )
    path = write_multiview(
        folder / 'session_000',
        tmp_path / 'mouse.slp',
        None if by == 'identities' else own,
        PERSONS if by == 'identities' else None,
        grouped=by != 'rays',
        # A tracker knows one video alone: all of the second camera's tracks are the other's, and once the third's.
        order=lambda c, i, a: 1 - a if c == 1 or (c, i) == (2, 3) else a,
    )
    source = DataSource('sleap', path, folder / 'joint_lookup.csv', reader={'instance': 'each'})
    report = preprocess(
        source, tmp_path / 'out.h5', 'quadruped', {'target_resolution': 64, 'min_views': 1}
    ).report
    result = DatasetFile(tmp_path / 'out.h5')
    names = own[cameras[0]] if by == 'rays' else PERSONS
    assert result.session_names == tuple(f'mouse+{name}' for name in names)
    for name, known in zip(result.session_names, clean.session_names):
        torch.testing.assert_close(
            result.annotated2d(name).xy, clean.annotated2d(known).xy, atol=1e-3, rtol=0
        )
        notes = report['sessions'][name]['reader']['identities']
        assert {
            'identities': notes == {'told_by': 'identities'},
            'groups': notes.get('instances_of_other_tracks') == {cameras[2]: 2},
            'rays': notes.get('frames_of_other_tracks') == {cameras[2]: 1},
        }[by], notes
    if by == 'identities':
        # The viewer shows one of them, and says so.
        scene = open_scene(path)
        assert 'mouse+anna, mouse+ben' in scene.notes[0]
        ben = open_scene(path, 'mouse+ben')
        assert (ben.title, ben.notes) == ('mouse+ben', [])
        want = SleapSession(folder / 'session_000', track='animal_1').keypoints2d()
        torch.testing.assert_close(ben.observed.xy[want.visible], want.xy[want.visible], atol=1e-3, rtol=0)
