"""What is shown at a frame: the body, the points, the verdict, the images; a bounded part of it in memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis.viewer import open_scene
from smilfit.apis.viewer import scene as scenes
from smilfit.apis.viewer.images import KEPT_FRAMES
from smilfit.apis.viewer.scene import FITTED_POINTS, GIVEN, TRIANGULATED
from smilfit.datasets import open_dataset
from smilfit.files import BadFileError
from smilfit.structures import FitOrigin, FitResult
from tests.apis.viewer.conftest import DOUBTED, SESSION
from tests.io.conftest import tiny, write_video  # noqa: F401
from tests.io.test_project_sessions import anipose, multiview  # noqa: F401


@pytest.fixture(scope='module')
def fit(made):
    return open_scene(made / 'fit' / SESSION)


def test_the_mesh_is_that_of_the_frame(made, fit):
    body = fit.bodies.body
    result = FitResult.load(made / 'fit' / SESSION / 'fit.npz', body=body)
    for row in (9, 0, 4):
        expected = result.body(result.params[row], ('vertices',)).vertices[0]
        np.testing.assert_allclose(fit.at(row).vertices, expected, atol=1e-4)


def test_a_frame_that_was_not_fitted_has_no_mesh_and_keeps_its_points(fit):
    shown = fit.at(len(fit) - 1)
    assert shown.vertices is None
    assert FITTED_POINTS not in shown.points
    assert len(shown.points[TRIANGULATED]) > 5


def test_points_of_all_kinds_lie_where_the_truth_is(made, fit):
    shown = fit.at(3)
    place = dict(zip(shown.names[FITTED_POINTS], shown.points[FITTED_POINTS]))
    given = dict(zip(shown.names[GIVEN], shown.points[GIVEN]))
    triangulated = dict(zip(shown.names[TRIANGULATED], shown.points[TRIANGULATED]))
    assert np.median([np.linalg.norm(place[n] - given[n]) for n in given]) < 2.0
    assert np.median([np.linalg.norm(place[n] - triangulated[n]) for n in triangulated]) < 3.0


def test_the_verdict_of_a_frame_comes_with_its_reason(fit):
    assert (fit.at(DOUBTED).word, fit.at(DOUBTED).reason) == ('doubtful', 'a bone is long')
    assert (fit.at(0).word, fit.at(0).reason) == ('good', '')
    assert len(fit.words) == len(fit)


def test_only_few_meshes_and_images_are_kept(made, monkeypatch):
    monkeypatch.setattr(scenes, 'BLOCK', 2)
    scene = open_scene(made / 'fit')
    for row in range(len(scene)):
        scene.at(row)
        scene.images_at(row)
    assert len(scene.bodies._blocks) == scenes.KEPT_BLOCKS
    assert len(scene._recent) == min(KEPT_FRAMES, len(scene))


def test_the_same_image_comes_from_the_recording_and_in_small_from_the_file(made):
    scene = open_scene(made / 'made.h5')
    assert 'videos' in scene.images.source
    recorded = scene.images_at(4)
    from smilfit.apis.viewer.images import StoredImages

    scene = open_scene(made / 'made.h5')
    scene.images = StoredImages(open_dataset(made / 'made.h5'), SESSION)
    for name, shown in scene.images_at(4).items():
        a, b = (x.image.astype(float).mean(-1) for x in (recorded[name], shown))
        valid = b > 0
        assert valid.mean() > 0.3
        assert np.corrcoef(a[valid], b[valid])[0, 1] > 0.8


def test_a_session_folder_is_shown_without_a_dataset(made):
    scene = open_scene(made / 'sessions' / SESSION)
    shown = scene.at(2)
    assert set(shown.points) == {TRIANGULATED, GIVEN}
    assert set(scene.images_at(2)) == set(scene.cameras.names)
    assert shown.word == 'not judged'


def test_a_fit_without_its_dataset_shows_body_and_cameras(made, tmp_path):
    folder = tmp_path / SESSION
    folder.mkdir()
    for name in ('fit.npz', 'fit.json', 'verdict.json'):
        (folder / name).write_bytes((made / 'fit' / SESSION / name).read_bytes())
    scene = open_scene(folder, body_model=made / 'animal.smil.json')
    assert scene.at(0).vertices is not None
    assert len(scene.cameras) == 3
    assert scene.images_at(0)[scene.cameras.names[0]].image is None
    assert '--data' in scene.notes[0]


def test_a_fit_whose_dataset_is_gone_has_the_images_of_its_recording(made, tmp_path):
    dataset = open_dataset(made / 'made.h5')
    result = FitResult.load(made / 'fit' / SESSION / 'fit.npz')
    origin = replace(FitOrigin.of(dataset, SESSION), dataset=str(tmp_path / 'gone.h5'))
    folder = tmp_path / 'moved'
    folder.mkdir()
    kept = torch.tensor([3, 5, 8])
    some = FitResult(
        params=result.params[kept],
        per_frame_loss=result.per_frame_loss[kept],
        converged=result.converged[kept],
        recorded_cameras=result.recorded_cameras,
        model=result.model,
        origin=origin,
        frames=kept,
    )
    some.save(folder / 'fit.npz')
    scene = open_scene(folder)
    assert scene.labels == ['frame 3', 'frame 5', 'frame 8']
    assert scene.fps == 30
    # The body model, too, is where the fit says.
    assert scene.at(1).vertices is not None
    whole = open_scene(made / 'sessions' / SESSION)
    for name, shown in scene.images_at(1).items():
        recorded = whole.images.at(5)[name].image
        np.testing.assert_array_equal(scene.images.at(1)[name].image, recorded)
        assert shown.image is not None
    # Where it is still there, the dataset is found however far the fit was moved.
    replace(some, origin=FitOrigin.of(dataset, SESSION), frames=None).save(folder / 'fit.npz')
    with pytest.raises(ValueError, match='must have the 3 frames'):
        open_scene(folder, session=SESSION)


def test_points_in_space_are_shown_from_their_file_and_from_a_dataset(points):
    for name in ('run.npz', 'run.h5'):
        scene = open_scene(points / name)
        shown = scene.at(1)
        assert set(shown.points) == {GIVEN}
        assert scene.cameras is None
        assert scene.images_at(1) == {}
    np.testing.assert_allclose(sorted(shown.points[GIVEN][:, 0]), sorted(np.arange(24) + 1.0))


def test_projects_of_other_programs_are_shown(anipose, multiview):  # noqa: F811
    for place in (anipose, multiview):
        scene = open_scene(place)
        assert scene.cameras.names == ('left', 'mid', 'right')
        assert all(shown.image is not None for shown in scene.images_at(1).values())
        assert len(scene.at(1).points[TRIANGULATED]) > 2


def test_a_folder_without_any_session_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        open_scene(tmp_path)


def test_a_frame_beyond_the_last_is_an_error(fit):
    with pytest.raises(IndexError, match='frames go from 0 to'):
        fit.at(len(fit))


@pytest.mark.parametrize(
    ('path', 'options', 'error', 'message'),
    [
        ('nothing', {}, FileNotFoundError, 'nothing: the path must be there'),
        (f'sessions/{SESSION}/calibration.toml', {}, ValueError, 'what is viewed must be a fit'),
        ('sessions/joint_lookup.csv', {}, BadFileError, 'columns must be NAME_x'),
        ('made.h5', {'session': 'session_0'}, KeyError, 'no session'),
    ],
)
def test_what_cannot_be_shown_is_told(made, path, options, error, message):
    with pytest.raises(error, match=message):
        open_scene(made / path, **options)


def test_cameras_that_a_fit_moved_are_shown_where_it_put_them(made):
    from smilfit.apis.viewer.scene import with_cameras

    scene = open_scene(made / 'made.h5')
    shift = torch.zeros(3, 6, dtype=scene.cameras.K.dtype)
    shift[1, 3:] = 5.0
    moved = with_cameras(scene, scene.cameras.ideal().shifted(shift))
    assert (moved.cameras.centres() - scene.cameras.centres())[1].norm() > 5
    assert moved.cameras.dist is scene.cameras.dist
