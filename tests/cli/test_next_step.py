"""From a rig to a fit: the commands that each one prints for the next."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from smilfit.cli.data.landmarks import Arguments
from smilfit.cli.data.preprocess import build_parser as preprocess_parser
from smilfit.cli.data.preprocess import show_run
from smilfit.cli.data.synthesize import Arguments as SynthesisArguments
from smilfit.cli.main import main
from smilfit.cli.next_step import (
    POINTS3D,
    SLEAP,
    export_step,
    fit_step,
    landmarks_step,
    likely_format,
    synthesis_step,
    training_set_step,
)
from smilfit.cli.parser import make_parser
from tests.cli.test_rig_to_animation import write_insect


def words_of(step):
    program, command, *words = shlex.split(step)
    assert program == 'smilfit'
    return command, words


def test_what_is_told_can_be_copied_as_it_is():
    """Names with spaces, and numbers that are not whole, arrive as they were."""
    command, words = words_of(
        landmarks_step(Path('my rat.smil.json'), Path('day 1.npz'), {'fps': 29.97002997})
    )
    result = make_parser(Arguments, 'landmarks', '').parse_args(words)
    assert (command, result.data, result.format) == ('landmarks', Path('day 1.npz'), POINTS3D)
    assert result.fps == pytest.approx(29.97002997, abs=1e-9)
    _, words = words_of(synthesis_step(Path('made up'), Path('rat.smil.json'), None))
    result = preprocess_parser('preprocess').parse_args(words)
    assert (result.annotations, result.out) == (Path('made up'), Path('made up.h5'))
    command, words = words_of(training_set_step(Path('my rat.smil.json')))
    assert (command, words[:2]) == ('synthesize', ['my rat.smil.json', 'my rat.h5'])
    assert make_parser(SynthesisArguments, 'synthesize', '').parse_args(words).crop_mode == 'default'
    command, words = words_of(synthesis_step(Path('my rat.h5'), Path('m'), 'mm'))
    assert (command, Path(words[0]).name) == ('train', 'keypoint_unet.py')
    assert words[-1] == 'train_dataloader.dataset.data_path=my rat.h5'
    assert words_of(export_step(Path('a fit'), None))[1][-2:] == ['--out', 'a fit_animation']
    assert fit_step('coco', Path('x.h5')) is None


def test_what_fits_by_itself_names_no_next_fit(capsys):
    """`fit_images` shows its preprocessing by `show_run` and goes on; `preprocess` alone asks for a fit."""
    report = {'sessions': {}, 'totals': {}}
    done = SimpleNamespace(report=report, left_out=[], path=Path('out/pictures.h5'))
    assert show_run(done, SimpleNamespace(quiet=False, format=SLEAP)) == 0
    out = capsys.readouterr().out
    assert 'out/pictures.h5' in out
    assert 'next:' not in out


def test_the_format_of_a_table_is_told_by_its_columns(tmp_path):
    for columns, known in (('nose_x,nose_y,nose_z,fnum', POINTS3D), ('frame,keypoint,x,y,z', POINTS3D),
                           ('scorer,net,net', SLEAP)):  # fmt: skip
        (tmp_path / 'points.csv').write_text(columns + '\n')
        assert likely_format(tmp_path / 'points.csv') == known


def test_frames_per_second_are_asked_for_aloud_and_carried_along(tmp_path, monkeypatch, capsys):
    """A recording that states none: what is written for it is told, and what a user says goes on instead."""
    monkeypatch.chdir(tmp_path)
    write_insect(tmp_path / 'fly.xml')
    np.savez('walk.npz', xyz=np.random.default_rng(0).normal(size=(5, 2, 3)), names=['head', 'abdomen'])
    notes = {}
    for fps in ((), ('--fps', '200')):
        command = ['model', 'import', 'fly.xml', 'fly.smil.json', '--recording', 'walk.npz', *fps, '--force']
        for _ in range(2):
            assert main(command) == 0
            out = capsys.readouterr().out
            *command, last = shlex.split(out.strip().splitlines()[-1].removeprefix('next: smilfit '))
            command = [*command, last]
            if command[0] == 'landmarks':
                command += ['--force']
        notes[fps] = command
        assert ('states no frames per second' in out) == (not fps)
    result = {fps: preprocess_parser('preprocess').parse_args(c[1:]).fps for fps, c in notes.items()}
    assert result == {(): 25, ('--fps', '200'): 200}


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--fps', '50'], '--fps: must go with --recording'),
        (['--recording', 'gone.npz'], '--recording: must be there; gone.npz is not'),
        (['--recording', '.', '--fps', '50'], '--fps: must go with a file of points in space'),
    ],
)
def test_what_the_next_command_could_not_use_is_refused_by_this_one(
    options, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_insect(tmp_path / 'fly.xml')
    assert main(['model', 'import', 'fly.xml', 'fly.smil.json', *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'fly.smil.json').exists()


def test_videos_have_frames_per_second_of_their_own(tmp_path, capsys):
    assert main(['landmarks', 'insect', str(tmp_path), '--fps', '50']) == 1
    assert '--fps: must go with points3d' in capsys.readouterr().err
