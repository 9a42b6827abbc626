"""Every tool takes a shipped body model by its name, and a dataset made with it remembers the name, not a path."""

import json
import re

import pytest

from smilfit.cli.data.preprocess import main as preprocess
from smilfit.cli.fitting.fit import main as fit
from smilfit.datasets import open_dataset
from smilfit.networks.engine.model_building import load_body_for
from smilfit.networks.training_set import DatasetNames
from smilfit.synthetic import make_quadruped_family
from tests.datasets.image_set import make_images


@pytest.fixture
def labels(tmp_path):
    """One image with its keypoints, as a COCO file."""
    annotations = make_images(tmp_path, make_quadruped_family(), 1, known_cameras=False).annotations
    (image,) = annotations.images
    width, height = image.size
    points = [float(v) for xy in image.keypoints for v in (*xy, 2)]
    entry = {
        'id': 0,
        'image_id': 0,
        'category_id': 1,
        'keypoints': points,
        'bbox': [float(v) for v in image.box],
    }
    document = {
        'images': [{'id': 0, 'file_name': image.image.name, 'width': width, 'height': height}],
        'annotations': [entry],
        'categories': [{'id': 1, 'name': 'animal', 'keypoints': list(annotations.keypoint_names)}],
    }
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(document))
    return path


def test_the_commands_take_it_by_name(labels, tmp_path, capsys):
    data = tmp_path / 'data.h5'
    command = ['coco', str(labels), str(data), '--images', str(tmp_path), '--quiet', '--body-model']
    assert preprocess([*command, 'quadrupde']) == 1
    assert "Did you mean 'quadruped'?" in capsys.readouterr().err
    assert preprocess([*command, 'quadruped']) == 0
    assert open_dataset(data).body_model_file == 'quadruped'
    short = [*(f'stages.{i}.n_iter=1' for i in range(3)), 'n_hypotheses=1']
    options = ['fit/smalify_keypoints.py', '--data', str(data), '--meshes', 'none', '--no-video', '--out']
    assert fit([*options, str(tmp_path / 'of_the_dataset'), '--cfg-options', *short]) == 0
    assert fit([*options, str(tmp_path / 'other'), '--body-model', 'insect']) == 1
    assert 'must have its keypoints; insect' in capsys.readouterr().err


def test_training_finds_it_by_name(tmp_path):
    names = DatasetNames(data_path=str(tmp_path / 'a.h5'))
    body, reference = load_body_for(names, {'body_model': 'quadruped'})
    assert (reference.given, reference.absolute) == ('quadruped', '')
    assert body.data.name == 'quadruped'
    # A file of the user's never hides behind a shipped one.
    (tmp_path / 'quadruped').write_text('')
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / 'quadruped'))):
        load_body_for(names, {'body_model': 'quadruped'})
    (tmp_path / 'quadruped').unlink()
    with pytest.raises(FileNotFoundError, match="Did you mean 'insect'"):
        load_body_for(names, {'body_model': 'insekt'})
