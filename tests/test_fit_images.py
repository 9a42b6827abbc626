"""The fit command on images: one command, and everything that it leaves behind."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from smilfit.body_models import save_body_model
from smilfit.cli.fitting.fit import main
from smilfit.cli.fitting.fit_images import main as fit_images
from smilfit.datasets import PreprocessOptions, image_sessions, preprocess
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped
from tests.datasets.image_set import make_images

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs' / 'fit' / 'smalify.py'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Three images whose cameras are not known, and one that shows nothing that was annotated."""
    folder = tmp_path_factory.mktemp('pictures')
    data = make_quadruped()
    save_body_model(data, folder / 'quadruped.smil.json')
    annotations = make_images(folder, data, 4, known_cameras=False).annotations
    blind = replace(annotations.images[3], mask=None, confidence=0 * annotations.images[3].confidence)
    images = (*annotations.images[:3], blind)
    sessions, _ = image_sessions(replace(annotations, images=images))
    options = PreprocessOptions(crop_mode='bbox_crop', target_resolution=128, num_workers=0)
    preprocess(sessions, folder / 'pictures.h5', data, options, body_model_file='quadruped.smil.json')
    return folder


def fit(made, out, *more):
    return main([str(CONFIG), '--data', str(made / 'pictures.h5'), '--out', str(out), '--traceback', *more])


@pytest.fixture(scope='module')
def done(made):
    assert fit(made, made / 'out') == 0
    return made / 'out'


def test_what_a_fit_of_images_leaves_behind(done):
    folder = done / 'made'
    rows = list(csv.DictReader((folder / 'images.csv').open()))
    assert len(rows) == 3
    for row in rows:
        assert float(row['fit_iou']) > max(0.8, float(row['start_iou']))
        assert float(row['fit_pck_5px']) > 0.8
    means = json.loads((folder / 'images.json').read_text())
    assert means['fit']['mean_iou'] == pytest.approx(np.mean([float(r['fit_iou']) for r in rows]))
    meshes = sorted((folder / 'meshes').glob('*.obj'))
    result = FitResult.load(folder / 'fit.npz')
    assert len(meshes) == 3 == len(list((folder / 'overlays').glob('*.jpg')))
    assert len(trimesh.load(meshes[0], process=False).vertices) == make_quadruped().n_vertices
    assert result.start is not None
    page = (done / 'report.html').read_text()
    assert page.count('<img') >= 3
    assert page.count('class="legend"') == 1
    assert 'IoU' in page


def test_a_session_that_shows_too_little_is_named(tmp_path, capsys):
    data = make_quadruped()
    save_body_model(data, tmp_path / 'quadruped.smil.json')
    annotations = make_images(tmp_path, data, 2, known_cameras=False).annotations
    confidence = annotations.images[0].confidence.copy()
    confidence[4:] = 0
    poor = replace(annotations.images[0], sequence='poor', mask=None, confidence=confidence)
    rich = replace(annotations.images[1], sequence='rich')
    sessions, _ = image_sessions(replace(annotations, images=(poor, rich)))
    options = PreprocessOptions(crop_mode='bbox_crop', target_resolution=64, num_workers=0)
    path = tmp_path / 'pictures.h5'
    preprocess(sessions, path, data, options, body_model_file='quadruped.smil.json')
    config = ROOT / 'configs' / 'fit' / 'smalify_keypoints.py'
    assert main([str(config), '--data', str(path), '--out', str(tmp_path / 'out')]) == 1
    printed = capsys.readouterr().err
    assert 'session poor: SMALify: at least one frame must show enough to fit' in printed
    assert '--sessions rich' in printed


def test_a_finished_fit_is_not_done_again(made, done, caplog):
    before = (done / 'made' / 'fit.npz').stat().st_mtime_ns
    assert fit(made, done) == 0
    assert (done / 'made' / 'fit.npz').stat().st_mtime_ns == before


def test_one_command_from_a_coco_file_to_meshes(made, tmp_path, capsys):
    annotations = make_images(tmp_path, make_quadruped(), 2, known_cameras=False).annotations
    names = list(annotations.keypoint_names)
    images, entries = [], []
    for i, image in enumerate(annotations.images):
        width, height = image.size
        name = image.image.name if i == 0 else 'gone.png'
        images.append({'id': i, 'file_name': name, 'width': width, 'height': height})
        x, y, w, h = (float(v) for v in image.box)
        flat = [float(v) for xy in image.keypoints for v in (*xy, 2)]
        entries.append({'id': i, 'image_id': i, 'category_id': 1, 'keypoints': flat, 'bbox': [x, y, w, h]})
    # A second animal in the first image.
    again = entries[0] | {
        'id': 'mate',
        'keypoints': [v + 7 * (k % 3 < 2) for k, v in enumerate(entries[0]['keypoints'])],
    }
    entries.append(again)
    category = {'id': 1, 'name': 'animal', 'keypoints': names}
    labels = tmp_path / 'labels.json'
    labels.write_text(json.dumps({'images': images, 'annotations': entries, 'categories': [category]}))
    out = tmp_path / 'out'
    config = str(CONFIG.with_name('smalify_keypoints.py'))
    model = str(made / 'quadruped.smil.json')
    command = ['coco', str(labels), str(out), '--images', str(tmp_path), '--body-model', model]
    # Done, but one entry is left out: it is reported, and the exit code says so.
    assert fit_images([*command, '--config', config, '--meshes', 'ply', '--quiet']) == 3
    left_out = json.loads((out / 'pictures.h5.report.json').read_text())['left_out']
    assert ['gone.png' in entry['where'] for entry in left_out] == [True]
    assert [path.stem for path in sorted(out.glob('labels/meshes/*.ply'))] == ['000000_000_1', '000001_000_2']
    rows = list(csv.DictReader((out / 'labels' / 'images.csv').open()))
    assert [Path(row['picture']).name for row in rows] == [f'{images[0]["file_name"]} #{n}' for n in (1, 2)]
    assert ['id 0)' in rows[0]['annotation'], 'id mate)' in rows[1]['annotation']] == [True, True]
    assert [(out / 'labels' / 'overlays' / f'{row["files"]}.jpg').is_file() for row in rows] == [True, True]
    assert (out / 'report.html').is_file()
    with pytest.raises(SystemExit):
        fit_images(['coccco', str(labels), str(out)])
    assert 'invalid choice' in capsys.readouterr().err
    (tmp_path / 'file').write_text('')
    command[2] = str(tmp_path / 'file')
    assert fit_images(command) == 1
    assert 'OUT must be a folder' in capsys.readouterr().err


def test_what_is_not_believable_ends_with_3_and_is_written(made, done, tmp_path, capsys):
    mine = tmp_path / 'thresholds.json'
    measures = {'frame_error': {'doubtful': -1.0, 'not_believable': 0.0}}
    mine.write_text(json.dumps({'format': 'smilfit-verdict-thresholds', 'version': 1, 'measures': measures}))
    before = (done / 'made' / 'fit.npz').stat().st_mtime_ns
    assert fit(made, done, '--verdict-thresholds', str(mine)) == 3
    assert 'made: not believable (frames: 3 not believable)' in capsys.readouterr().out
    verdict = json.loads((done / 'made' / 'verdict.json').read_text())
    assert verdict['word'] == 'not believable'
    assert [frame['word'] for frame in verdict['frames']] == ['not believable'] * 3
    assert (done / 'made' / 'fit.npz').stat().st_mtime_ns == before
    with pytest.raises(SystemExit):
        main(['--help'])
    assert 'not believable' in ' '.join(capsys.readouterr().out.split())
