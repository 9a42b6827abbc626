"""`--import`: what a user's file registers is there when the rest of the command line is read."""

import json
import sys

import cv2
import numpy as np
import pytest

from smilfit.body_models import SMIL, save_body_model
from smilfit.cli.data import preprocess
from smilfit.cli.fitting import fit, fit_images
from smilfit.cli.networks import testing, train
from smilfit.datasets import open_dataset
from smilfit.registry import ANNOTATIONS, BODY_MODEL_READERS, LOSSES
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped, write_sessions
from tests.hostile.small_inputs import FIT_CONFIG

FORMAT = '''
from pathlib import Path
import json
import numpy as np
from smilfit.io import AnnotationReader
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotatedImage, AnnotationSet

@ANNOTATIONS.register_module(name='flat')
class FlatReader(AnnotationReader):
    """Lists of points by image.

    Args:
        images: the folder of the images.
        enlarged: by how much the points must be multiplied.
    """

    def __init__(self, images: str | Path | None = None, enlarged: float = 1.0) -> None:
        super().__init__(images)
        self.enlarged = enlarged

    def read(self, path):
        document = json.loads(Path(path).read_text())
        images = tuple(
            AnnotatedImage(name, Path(path).parent / name, self.enlarged * np.array(xy), np.ones(len(xy)))
            for name, xy in document['images'].items()
        )
        return AnnotationSet('flat', tuple(document['names']), images)
'''
RIG = """
from smilfit.body_models import body_model_reader, load_body_model_data

@body_model_reader('.rig')
def read_rig(path):
    return load_body_model_data(path.parent / path.read_text().strip())
"""
LOSS = """
from smilfit.losses import PoseRegLoss
from smilfit.registry import LOSSES

@LOSSES.register_module()
class GentlePoseLoss(PoseRegLoss):
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with plugins and a body model; what they register is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    for name, text in {'flat_format': FORMAT, 'rigs': RIG, 'gentle_loss': LOSS}.items():
        (tmp_path / f'{name}.py').write_text(text)
    save_body_model(make_quadruped(), tmp_path / 'animal.smil.json')
    (tmp_path / 'animal.rig').write_text('animal.smil.json\n')
    registries = (ANNOTATIONS, BODY_MODEL_READERS, LOSSES)
    before = [dict(registry.module_dict) for registry in registries]
    path, modules, finders = list(sys.path), set(sys.modules), list(sys.meta_path)
    yield tmp_path
    for registry, names in zip(registries, before):
        registry.module_dict.clear()
        registry.module_dict.update(names)
    sys.path[:], sys.meta_path[:] = path, finders
    for name in set(sys.modules) - modules:
        if name.startswith('smilfit_plugin') or name in ('flat_format', 'rigs', 'gentle_loss'):
            del sys.modules[name]


def write_labels(folder):
    """Two images, and points at half their size."""
    names = make_quadruped().joint_names[:6]
    xy = np.random.default_rng(0).uniform(10, 40, (2, 6, 2))
    for i in range(2):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((100, 120, 3), 90, np.uint8))
    document = {'names': names, 'images': {f'{i}.png': xy[i].tolist() for i in range(2)}}
    (folder / 'labels.json').write_text(json.dumps(document))
    return xy


@pytest.mark.parametrize('plugin', ['flat_format.py', 'flat_format'])
@pytest.mark.parametrize('first', [True, False])
def test_an_annotation_format_of_ones_own(folder, plugin, first):
    xy = write_labels(folder)
    words = [
        'flat',
        'labels.json',
        'out.h5',
        '--body-model',
        'animal.smil.json',
        '--enlarged',
        '2',
        '--quiet',
    ]
    with pytest.raises(SystemExit) as stop:
        preprocess.main(words)
    assert stop.value.code == 2
    named = ['--import', plugin]
    assert preprocess.main([*named, *words] if first else [*words, *named]) == 0
    file = open_dataset('out.h5')
    (session,) = file.session_names
    assert np.allclose(file.keypoints2d(session).xy[:, 0].numpy(), 2 * xy, atol=1e-3)


def test_a_format_of_ones_own_shows_its_options(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        fit_images.main(['--import=flat_format.py', 'flat', '--help'])
    assert stop.value.code == 0
    shown = ' '.join(capsys.readouterr().out.split())
    assert '--enlarged' in shown
    assert 'by how much the points must be multiplied. (default: 1.0)' in shown


def test_a_body_model_and_a_loss_of_ones_own(folder, capsys):
    write_sessions(
        folder / 'sessions', SMIL(make_quadruped()), n_sessions=1, n_frames=4, n_cameras=2, size=(96, 80)
    )
    words = [
        'sleap', 'sessions', 'out.h5', '--joint-lookup', 'sessions/joint_lookup.csv', '--unit', 'mm', '--quiet',
        '--target-resolution', '32', '--body-model', 'animal.rig',
    ]  # fmt: skip
    assert preprocess.main(words) == 1
    assert "a body model must end in .smil.json, .pkl or .npz; got '.rig'" in capsys.readouterr().err
    assert preprocess.main([*words, '--import', 'rigs']) == 0
    assert open_dataset('out.h5').body_model_file.endswith('animal.rig')
    # The dataset names the rig, and the config the loss of the other file, which it imports itself, too.
    config = FIT_CONFIG.replace("type='PoseRegLoss'", "type='GentlePoseLoss'")
    (folder / 'fit.py').write_text(config + "custom_imports = dict(imports=['gentle_loss'])\n")
    words = ['fit.py', '--data', 'out.h5', '--out', 'fitted', '--no-video', '--import', 'rigs.py']
    assert fit.main([*words, '--import', 'gentle_loss.py', '--body-model', 'animal.rig']) == 0
    assert fit.main([*words, '--import', 'gentle_loss.py']) == 0
    history = FitResult.load('fitted/session_000/fit.npz').history
    assert history[-1]['terms'].keys() == {'keypoints2d_mse', 'pose_reg'}


def test_a_loss_that_the_command_line_alone_names(folder, capsys):
    (folder / 'fit.py').write_text(FIT_CONFIG.replace("type='PoseRegLoss'", "type='GentlePoseLoss'"))
    from smilfit.registry import build_registrant, read_config

    cfg = read_config('fit.py').to_dict()
    with pytest.raises(KeyError, match=r"'GentlePoseLoss' is not in any registry.*--import"):
        build_registrant({**cfg, 'body_model': SMIL(make_quadruped())})


@pytest.mark.parametrize('tool', [preprocess, fit, fit_images, train, testing])
def test_an_import_that_fails_is_reported_before_all_else(folder, tool, capsys):
    (folder / 'broken.py').write_text('a = 1\nb = unknown\n')
    assert tool.main(['--import', 'broken.py', 'no', 'such', 'words']) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith(
        "error: broken.py: the plugin must be Python that runs; got NameError: name 'unknown'"
    )
    assert 'in line 2' in stderr
    with pytest.raises(SystemExit) as stop:
        tool.main(['--import'])
    assert stop.value.code == 2
    assert '--import: expected one argument' in capsys.readouterr().err


def test_import_is_written_out_in_full(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(['--imp', 'flat_format.py', 'config.py'])
    assert stop.value.code == 2
    assert '--import must be written out in full' in capsys.readouterr().err
