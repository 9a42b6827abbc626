"""Files that Blender cannot open, or should not: refused with the file's name and what to do."""

import numpy as np
import pytest

from smilfit.cli.models import main as model
from smilfit.files import BadFileError
from smilfit.rigs import read_rig
from smilfit.rigs.blender import run_in_blender
from tests.rigs.blender.conftest import HERE

ADVICE = 'Open it in the program that made it and export it anew'


@pytest.fixture(scope='module')
def files(blender, tmp_path_factory):
    """One small rig as .blend, .fbx and .dae."""
    folder = tmp_path_factory.mktemp('files')
    run_in_blender(HERE / 'make_scenes.py', folder, 'plain')
    return folder


@pytest.mark.parametrize(
    ('name', 'share'), [('plain.fbx', 3), ('packed.blend', 3), ('plain.dae', 3), ('plain.blend', None)]
)
def test_what_is_cut_short_or_another_kind_is_refused(files, tmp_path, name, share):
    whole = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // share] if share else b'another kind of file' * 40)
    with pytest.raises(BadFileError, match='must be whole and well-formed; Blender said: .*') as refused:
        read_rig(path)
    assert str(refused.value).startswith(f'{path}: ')
    assert 'Traceback' not in str(refused.value)


@pytest.mark.parametrize('suffix', ['.fbx', '.blend', '.dae'])
def test_empty_and_missing_files_need_no_blender(tmp_path, monkeypatch, suffix):
    monkeypatch.setenv('SMILFIT_BLENDER', 'none')
    path = tmp_path / f'bad{suffix}'
    with pytest.raises(FileNotFoundError, match=f'{path}: '):
        read_rig(path)
    path.touch()
    with pytest.raises(BadFileError, match=f'must hold something; it is empty. {ADVICE}'):
        read_rig(path)


def test_entities_of_xml_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setenv('SMILFIT_BLENDER', 'none')
    text = '<?xml version="1.0"?><!DOCTYPE COLLADA [<!ENTITY all SYSTEM "file:///etc/passwd">]><COLLADA/>'
    for encoding in ('utf-8', 'utf-16'):
        path = tmp_path / f'{encoding}.dae'
        path.write_text(text, encoding=encoding)
        with pytest.raises(BadFileError, match='must declare no XML entities'):
            read_rig(path)


def test_numbers_that_are_none_are_refused(files, tmp_path):
    text = (files / 'plain.dae').read_text()
    start = text.index('mesh-positions-array"')
    start = text.index('>', start) + 1
    broken = tmp_path / 'nan.dae'
    broken.write_text(text[:start] + 'nan nan nan' + text[text.index('<', start) :])
    with pytest.raises(ValueError, match='nan.dae'):
        read_rig(broken)


def test_collada_without_its_reader_is_told(files, tmp_path):
    """Blender 5 has none."""
    script = tmp_path / 'later.py'
    script.write_text(
        'import sys\nfrom types import SimpleNamespace\n'
        f'sys.path.insert(0, {str(HERE.parents[2] / "smilfit/rigs/blender/inside")!r})\n'
        'import bpy, reading\n'
        'later = SimpleNamespace(ops=SimpleNamespace(wm=SimpleNamespace('
        'read_factory_settings=bpy.ops.wm.read_factory_settings)), app=SimpleNamespace(version_string="5.0.0"), '
        'context=bpy.context)\n'
        'reading.bpy = later\n'
        'reading.open_file(sys.argv[1], [])\n'
    )
    with pytest.raises(
        ValueError, match=r'Blender 4.5 or older, .* this is Blender 5.0.0, .* SMILFIT_BLENDER'
    ):
        run_in_blender(script, files / 'plain.dae')


def test_the_command_reads_them_and_says_what_is_missing(files, tmp_path, capsys, monkeypatch):
    out = tmp_path / 'worm.smil.json'
    assert model(['import', str(files / 'plain.fbx'), str(out), '--limits', 'clips']) == 0
    assert 'worm.clips.npz' in capsys.readouterr().out
    # Nothing is wrong with it but what is told of every rig without sides.
    assert model(['check', str(files / 'plain.dae')]) in (0, 3)
    capsys.readouterr()
    assert (
        model(['import', str(files / 'plain.blend'), str(out), '--force', '--skin', str(files / 'plain.fbx')])
        == 1
    )
    assert 'skin must go with a MuJoCo model (.xml); got .blend' in capsys.readouterr().err
    monkeypatch.setenv('SMILFIT_BLENDER', 'none')
    assert model(['import', str(files / 'plain.fbx'), str(out), '--force']) == 1
    assert "got 'none', which is no program. Install Blender" in capsys.readouterr().err


def test_seams_split_vertices_and_nothing_else():
    """Two triangles that share an edge and lie apart on the texture; a third without any."""
    from smilfit.body_models import SparseMatrix
    from smilfit.rigs.blender.blender_rig import Seams

    triangles = np.array([[0, 1, 2], [2, 1, 3], [3, 4, 0]])
    uv = np.array([[[0, 0], [1, 0], [0, 1]], [[0.5, 1], [1, 0], [1, 1]], [[np.nan] * 2] * 3])
    seams = Seams.of(triangles, uv, 6)
    assert seams.source.tolist() == [0, 1, 2, 2, 3, 4, 5]
    np.testing.assert_array_equal(seams.source[seams.triangles], triangles)
    np.testing.assert_allclose(seams.uv[seams.triangles[:2]], uv[:2])
    weights = SparseMatrix(
        np.array([0, 2, 2, 5]), np.array([0, 1, 0, 1]), np.array([1.0, 0.4, 0.6, 1.0]), (6, 2)
    )
    np.testing.assert_allclose(seams.weights(weights).to_dense(), weights.to_dense()[seams.source])
    assert Seams.of(triangles, np.full_like(uv, np.nan), 6).uv is None
