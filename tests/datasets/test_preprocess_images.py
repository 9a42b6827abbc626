"""The command on annotated images: every registered reader, what was left out, and the exit codes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from smilfit.apis.preprocessing.data_source import annotation_readers
from smilfit.body_models import save_body_model
from smilfit.cli.data.format_facts import describe_arguments, describe_reader
from smilfit.cli.data.preprocess import build_parser, main
from smilfit.cli.data.preprocess_arguments import add_reader_options, read_reader_options
from smilfit.datasets import open_dataset
from smilfit.io import AnnotationReader
from smilfit.synthetic import make_quadruped
from tests.datasets.image_set import make_images


def write_dlc(path: Path, names: Sequence[str], rows: dict[str, np.ndarray]) -> None:
    """Write a table of labels as DeepLabCut does."""
    with path.open('w', newline='') as file:
        table = csv.writer(file)
        for head, cells in (
            ('scorer', ['me'] * 2 * len(names)),
            ('bodyparts', [n for n in names for _ in 'xy']),
            ('coords', ['x', 'y'] * len(names)),
        ):
            table.writerow([head, *cells])
        for image, xy in rows.items():
            table.writerow([image, *xy.ravel()])


@pytest.fixture
def command(tmp_path) -> list[str]:
    """A folder of four images with labels, one of which is no image, and one that nobody labelled."""
    data = make_quadruped()
    folder = tmp_path / 'labeled-data' / 'shots'
    folder.mkdir(parents=True)
    made = make_images(folder, data)
    rows = {f'labeled-data/shots/{im.image.name}': im.keypoints for im in made.annotations.images}
    labels = list(made.annotations.keypoint_names)
    (folder / '001.png').write_bytes(b'nothing')
    rows['labeled-data/shots/003.png'] = np.full_like(made.annotations.images[3].keypoints, np.nan)
    write_dlc(folder / 'CollectedData_me.csv', [f'my {n}' for n in labels], rows)
    (tmp_path / 'map.csv').write_text('model,data\n' + ''.join(f'{n},my {n}\n' for n in labels))
    model = save_body_model(data, tmp_path / 'quadruped.smil.json')
    table = str(folder / 'CollectedData_me.csv')
    return ['dlc', table, str(tmp_path / 'out.h5'), '--body-model', str(model)]


def test_a_folder_of_images_becomes_a_file(command, tmp_path, capsys):
    command += ['--keypoint-map', str(tmp_path / 'map.csv'), '--target-resolution=64']
    assert main([*command, '--dry-run']) == 3
    shown = capsys.readouterr().out
    assert '140x170 to 330x256' not in shown
    assert 'picture' in shown
    assert not (tmp_path / 'out.h5').exists()
    assert main(command) == 3
    shown = capsys.readouterr().out
    assert '2 entries left out' in shown
    assert '001.png' in shown
    left_out = json.loads((tmp_path / 'out.h5.report.json').read_text())['left_out']
    assert len(left_out) == 2
    assert all('CollectedData_me.csv' in entry['where'] for entry in left_out)
    file = open_dataset(tmp_path / 'out.h5')
    assert (file.crop_mode, file.n_samples, file.camera_names) == ('bbox_crop', 2, ('picture',))
    assert file.body_model_file == str(tmp_path / 'quadruped.smil.json')
    # The same command again finds the file made, and tells the same.
    assert main(command) == 3
    assert '2 entries left out' in capsys.readouterr().out


def test_all_well_and_all_lost(command, tmp_path, capsys):
    assert main(command) == 1
    assert 'keypoints must have names of quadruped' in capsys.readouterr().err
    command += ['--joint-lookup', str(tmp_path / 'map.csv'), '--target-resolution=32']
    folder = tmp_path / 'labeled-data' / 'shots'
    table = folder / 'CollectedData_me.csv'
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(''.join([*lines[:4], lines[5]]))
    assert main([*command, '--quiet']) == 0
    assert capsys.readouterr().out == ''
    table.write_text(''.join([*lines[:3], lines[4]]))
    assert main([*command, '--overwrite']) == 1
    assert 'an entry must be usable; all 1 are left out; the first is' in capsys.readouterr().err
    misspelt = ['--keypoint-map', 'stanfordextra_to_quadrupde', '--overwrite']
    assert main([*command, *misspelt]) == 1
    assert "Did you mean 'stanfordextra_to_quadruped'" in capsys.readouterr().err
    assert main([*command, '--overwrite', '--category', 'horse']) == 1
    assert "no entry is of category 'horse'" in capsys.readouterr().err


@pytest.mark.parametrize('name', sorted(annotation_readers()))
def test_every_reader_is_a_subcommand_with_its_arguments(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, '--help'])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert 'see the reader' not in shown
    assert '--images' in shown


class Reader(AnnotationReader):
    """Reads nothing.

    Args:
        images: images.
        kind: one of two
            kinds, 100 % sure.
        names: several.
        unit: clashes with an option of the command.
        strict: a switch.
        limit: a number.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        kind: Literal['a', 'b'] = 'a',
        names: Sequence[str] | None = None,
        unit: str | None = None,
        strict: bool = True,
        limit: int | None = 3,
    ) -> None:
        super().__init__(images)

    def read(self, path: str | Path):
        raise NotImplementedError


def test_arguments_of_a_reader_become_options(capsys):
    import argparse

    assert describe_arguments(Reader.__doc__)['kind'] == 'one of two kinds, 100 % sure.'
    parser = argparse.ArgumentParser(prog='p')
    parser.add_argument('--unit')
    add_reader_options(parser, describe_reader(Reader))
    given = ['--kind=b', '--names', 'x', 'y', '--unit=mm', '--reader-unit=px', '--no-strict', '--limit=5']
    result = parser.parse_args(given)
    expected = {'kind': 'b', 'names': ('x', 'y'), 'unit': 'px', 'strict': False, 'limit': 5}
    assert read_reader_options(result, Reader) == expected
    assert result.unit == 'mm'
    defaults = {'kind': 'a', 'names': None, 'unit': None, 'strict': True, 'limit': 3}
    assert read_reader_options(parser.parse_args([]), Reader) == defaults
    with pytest.raises(SystemExit):
        parser.parse_args(['--help'])
    assert '100 % sure. (default: a)' in ' '.join(capsys.readouterr().out.split())


def test_formats_are_named_and_misspelt_ones_refused(capsys):
    assert 'dlc' in build_parser().format_help()
    with pytest.raises(SystemExit) as stop:
        main(['dcl', 'a', 'b'])
    assert stop.value.code == 2
    assert 'dlc' in capsys.readouterr().err


@pytest.mark.real
def test_real_images_of_dogs(real_data, tmp_path):
    folder = real_data / 'stanfordextra'
    command = ['stanfordextra', str(folder / 'StanfordExtra_sample.json'), str(tmp_path / 'dogs.h5')]
    command += ['--images', str(folder / 'sample_imgs'), '--keypoint-map', 'stanfordextra_to_quadruped']
    command += ['--body-model', 'quadruped', '--max-frames-per-session=4', '--target-resolution=64']
    assert main(command) == 0
    file = open_dataset(tmp_path / 'dogs.h5')
    masks, weight = file.masks(0)
    assert weight.all()
    # The crop goes round the animal.
    assert (masks > 0).mean() > 0.2


@pytest.mark.real
def test_one_real_view_labelled_with_sleap(real_data, tmp_path):
    labels = real_data / 'mouse_sessions' / 'minimal_session' / 'back' / 'minimal_back_proofread.slp'
    command = ['sleap', str(labels), str(tmp_path / 'one.h5'), '--max-frames-per-session=3']
    command += ['--body-model', str(real_data / 'models' / 'SMILy_Mouse_static_joints.pkl')]
    command += ['--keypoint-map', str(real_data / 'mouse_sessions' / 'joint_lookup.csv')]
    assert main([*command, '--frame-skip=4', '--target-resolution=64']) == 0
    file = open_dataset(tmp_path / 'one.h5')
    assert file.camera_names == ('picture',)
    assert file.temporal(0)
    assert file.frame_indices(0).tolist() == [0, 4, 8]
    # Half of these labels have scores below 0.5; somebody looked at them all.
    report = json.loads((tmp_path / 'one.h5.report.json').read_text())['sessions']
    cameras = next(iter(report.values()))['cameras']
    assert cameras['picture']['labels_below_threshold'] == 0
    assert cameras['picture']['confidence_threshold'] == 0
