"""A finished fit run again: whole parts stay, others are made again, and nobody else writes meanwhile."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.reliability.small_inputs import make_inputs, preprocess_arguments
from smilfit.apis.shipped_configs import configs_folder
from smilfit.cli import preprocess, train
from smilfit.cli.fit import main
from smilfit.files import OutputLock
from smilfit.structures import FitResult

SESSION = 'session_000'


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('fit_outputs') / 'inputs'
    return make_inputs(folder, configs_folder() / 'train' / 'multiview_demo.py')


@pytest.fixture(scope='module')
def finished(inputs):
    assert fit(inputs, inputs.parent / 'out') == 0
    return inputs.parent / 'out'


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / 'out')


def fit(inputs, out, *more, window='64', meshes='obj'):
    files = [str(inputs / 'fit.py'), '--data', str(inputs / 'small.h5'), '--out', str(out)]
    return main([*files, '--window-px', window, '--meshes', meshes, '--no-verdict', *more])


def content(out: Path) -> dict[str, bytes]:
    """All files but the markers, by name."""
    files = (p for p in out.rglob('*') if p.is_file() and p.name != 'done.json')
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


def times(out: Path) -> dict[str, int]:
    return {name: (out / name).stat().st_mtime_ns for name in content(out)}


def test_nothing_is_made_twice(inputs, out):
    before = times(out)
    assert fit(inputs, out) == 0
    assert times(out) == before
    assert {p.name for p in out.iterdir()} == {'done.json', 'report.html', SESSION}
    record = json.loads((out / SESSION / 'done.json').read_text())['parts']
    assert set(record) == {'fit', 'overlay', 'meshes', 'benchmark'}
    assert record['overlay']['options'] == {'window_px': 64}


def test_other_options_make_their_part_again_and_no_other(inputs, out):
    before = times(out)
    assert fit(inputs, out, meshes='ply') == 0
    after = times(out)
    assert {n for n in after if n.endswith('.ply')} == {n[:-3] + 'ply' for n in before if n.endswith('.obj')}
    # Meshes of the old kind are gone: nobody knows of which fit they would be after the next one.
    assert not [n for n in after if n.endswith('.obj')]
    kept = [n for n in before if not n.endswith('.obj')]
    assert {n: after[n] for n in kept} == {n: before[n] for n in kept}
    assert fit(inputs, out, meshes='ply', window='96') == 0
    again = times(out)
    assert {n for n in again if again[n] != after[n]} == {f'{SESSION}/overlay.mp4', 'report.html'}


@pytest.mark.parametrize(
    'name', ['fit.npz', 'fit.json', 'benchmark.json', 'meshes/000003.obj', 'overlay.mp4', 'done.json']
)
@pytest.mark.parametrize(
    'damage', [lambda data: b'', lambda data: data[: len(data) // 2], None], ids=['empty', 'cut', 'gone']
)
def test_what_is_damaged_is_made_again(inputs, out, name, damage):
    whole, path = content(out), out / SESSION / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    assert fit(inputs, out) == 0
    assert content(out).keys() == whole.keys()
    changed = {n for n, data in content(out).items() if data != whole[n] and not n.endswith('.mp4')}
    assert changed <= {'report.html'}
    FitResult.load(out / SESSION / 'fit.npz')


def test_another_fit_leaves_nothing_of_the_old_one(inputs, out, tmp_path):
    stages = ('--cfg-options', 'stages.1.n_iter=1')
    # Neither video nor meshes are asked for: those of the old parameters go all the same.
    assert fit(inputs, out, '--no-video', *stages, meshes='none') == 0
    assert set(content(out)) == {
        'report.html',
        *(f'{SESSION}/{n}' for n in ('fit.npz', 'fit.json', 'benchmark.json')),
    }
    assert fit(inputs, tmp_path / 'fresh', '--no-video', *stages, meshes='none') == 0
    for name, data in content(tmp_path / 'fresh').items():
        assert (out / name).read_bytes() == data, name


def test_an_output_that_somebody_writes_is_left_alone(inputs, out, tmp_path, capsys):
    before = content(out)
    work = tmp_path / 'work'
    data = f'train_dataloader.dataset.data_path={inputs / "small.h5"}'
    runs = {
        out: lambda: fit(inputs, out, '--overwrite'),
        tmp_path / 'made.h5': lambda: preprocess.main(preprocess_arguments(inputs, tmp_path / 'made.h5')),
        work: lambda: train.main([str(inputs / 'train.py'), '--work-dir', str(work), '--cfg-options', data]),
    }
    for output, run in runs.items():
        lock = OutputLock.of_file(output) if output.suffix else OutputLock.of_folder(output)
        with lock:
            assert run() == 1
        record = capsys.readouterr().err
        assert f'error: {output}: is being written by process ' in record
        assert 'elete' not in record
    assert content(out) == before
    assert not (tmp_path / 'made.h5').exists()
