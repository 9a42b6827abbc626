"""Made recordings of two animals: one hides the other, each is a track, and a store says where both are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis import DataSource, preprocess, synthesize
from smilfit.datasets import DatasetFile, PictureDataset
from smilfit.io import SleapSession, read_labels, read_track_names, write_tracks
from smilfit.synthetic import RenderedSession, SessionSet, SynthesisOptions

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
    middle = torch.from_numpy(alone.points[1]).mean((0, 1))
    # The same body a little nearer to the first camera.
    nearer = params.replace(transl=params.transl + 0.3 * (eye - middle))
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
