"""Changes of a model: limits of both sides, keypoints by a ray, saved to a new file; then all of it in a browser."""

import html
import json
from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import load_body_model_data, save_body_model
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.checking import check_model
from smilfit.rigs.model_editor import ModelEdits, free_name, open_editor, picked_point


@pytest.fixture(scope='module')
def insect():
    return load_body_model_data('insect')


def test_limits_of_both_sides_stay_symmetric(insect):
    edits = ModelEdits(insect)
    wanted = np.radians([[-10.0, 20.0], [-30.0, 5.0], [0.0, 60.0]])
    assert edits.set_limits('femur_L1', wanted, other_side=True) == ('femur_L1', 'femur_R1')
    assert np.array_equal(edits.limits('femur_L1'), wanted)
    # Mirrored along y: that component stays, the others change their signs.
    assert np.allclose(np.degrees(edits.limits('femur_R1')), [[-20, 10], [-30, 5], [-60, 0]])
    assert not [f for f in check_model(StoredModel(edits.data)) if f.check == 'joint limits']
    assert edits.changed
    assert insect.joint_limits is not edits.data.joint_limits
    with pytest.raises(ValueError, match='least <= greatest'):
        edits.set_limits('head', -wanted)
    with pytest.raises(KeyError, match='head'):
        edits.limits('heda')


def test_a_model_without_limits_keeps_those_that_fits_take(insect):
    edits = ModelEdits(replace(insect, joint_limits=None))
    before = edits.limits('tibia_L2')
    edits.set_limits('head', np.radians([[-5.0, 5.0]] * 3))
    assert np.array_equal(edits.limits('tibia_L2'), before)
    assert np.allclose(np.degrees(edits.limits('head')), [[-5, 5]] * 3)


def test_keypoints_are_added_moved_and_taken_out(insect):
    edits = ModelEdits(insect)
    edits.add_keypoint(' eye ', {3: 0.5, 4: 0.5})
    edits.add_keypoint('eye', 'head')
    assert edits.data.keypoint_sets['added'] == {'eye': 'head'}
    assert edits.data.keypoint_sets['sleap'] == insect.keypoint_sets['sleap']
    faults = (
        ('', 'head', 'must have a name'),
        ('neck', 'head', 'is taken'),
        ('a', {9999: 1.0}, 'name vertices'),
    )
    for name, definition, words in faults:
        with pytest.raises(ValueError, match=words):
            edits.add_keypoint(name, definition)
    edits.remove_keypoint('eye')
    assert 'added' not in edits.data.keypoint_sets
    with pytest.raises(KeyError, match='was added'):
        edits.remove_keypoint('eye')


def test_a_ray_meets_the_nearest_face_where_it_should():
    near = np.array([[0.0, 0, 1], [4, 0, 1], [0, 4, 1]])
    vertices, faces = np.concatenate((near + [0, 0, 2], near)), np.array([[0, 1, 2], [3, 4, 5]])
    result = picked_point(vertices, faces, np.array([1.0, 2, 0]), np.array([0.0, 0, 1]))
    assert result == pytest.approx({3: 0.25, 4: 0.25, 5: 0.5})
    assert picked_point(vertices, faces, np.array([3.0, 3, 0]), np.array([0.0, 0, 1])) is None
    assert picked_point(vertices, faces, np.array([1.0, 2, 0]), np.array([0.0, 0, -1])) is None


def test_nothing_is_written_over(insect, tmp_path):
    file = save_body_model(insect, tmp_path / 'ant.smil.json')
    assert free_name(file) == tmp_path / 'ant_edited.smil.json'
    edits = ModelEdits(insect)
    edits.add_keypoint('eye', {3: 1.0})
    with pytest.raises(FileExistsError, match='must not be there'):
        edits.save(file)
    assert load_body_model_data(edits.save(free_name(file))).keypoint_sets['added'] == {'eye': {3: 1.0}}
    assert free_name(file) == tmp_path / 'ant_edited_2.smil.json'
    assert free_name(tmp_path / 'rat.pkl') == tmp_path / 'rat_edited.smil.json'


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::ResourceWarning')
def test_a_click_in_the_browser_adds_a_keypoint_that_is_saved(insect, tmp_path):
    pytest.importorskip('viser', reason='the extra "view" is not installed')
    headless = pytest.importorskip('tests.apis.viewer.headless')
    if headless.find_chromium() is None:
        pytest.skip(f'no browser is here: none of {", ".join(headless.NAMES)}')
    from smilfit.apis.viewer.server import ViewerServer

    file = save_body_model(insect, tmp_path / 'ant.smil.json')
    with ViewerServer(open_editor(file), port=0) as viewer, headless.Page(viewer.url, tmp_path) as page:
        editor = viewer.page
        headless.wait_until(lambda: bool(viewer.server.get_clients()), 60, 'the page')
        text = "document.body.innerText.includes('the other side too')"
        headless.wait_until(lambda: page.evaluate(text), 60, 'the controls')
        editor.joint.value = 'femur_L1'
        editor.ranges[0].value = (-12.0, 24.0)
        headless.wait_until(
            lambda: 'femur_R1' in html.unescape(editor.outcome.content), 20, 'limits of both sides'
        )
        editor.name.value = 'eye'
        # The middle of the scene, left of the panel: the camera looks at the body's centre.
        headless.wait_until(lambda: _clicked(page, editor), 60, 'a keypoint where the page was clicked')
        assert 'eye on vertices' in editor.outcome.content
        page.evaluate("[...document.querySelectorAll('button')].find(b => b.innerText === 'Save').click()")
        headless.wait_until(lambda: 'saved as' in editor.outcome.content, 20, 'the file')
        assert page.errors == []
    saved = load_body_model_data(tmp_path / 'ant_edited.smil.json')
    assert len(saved.keypoint_sets['added']['eye']) == 3
    femur = saved.joint_names.index('femur_R1')
    assert np.allclose(np.degrees(saved.joint_limits[femur, 0]), [-24, 12])
    assert np.array_equal(saved.joint_limits[femur, 1:], insect.joint_limits[femur, 1:])
    assert json.loads(file.read_text())['name'] == 'insect'


def _clicked(page, editor) -> bool:
    size = page.evaluate('[window.innerWidth, window.innerHeight]')
    for kind in ('mousePressed', 'mouseReleased'):
        at = {'x': size[0] / 2, 'y': size[1] / 2}
        page.send('Input.dispatchMouseEvent', type=kind, button='left', clickCount=1, **at)
    return 'eye on vertices' in editor.outcome.content
