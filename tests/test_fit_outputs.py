"""A finished fit run again: whole parts stay, others are made again, and nobody else writes meanwhile."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from smilfit.apis.shipped_configs import configs_folder
from smilfit.cli.data import preprocess
from smilfit.cli.fitting.fit import main
from smilfit.cli.networks import train
from smilfit.files import OutputLock
from smilfit.structures import FitResult
from tests.hostile.small_inputs import make_inputs, preprocess_arguments

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
    drawn = {n for n in again if again[n] != after[n]}
    assert {n for n in drawn if 'overlay_frames' not in n} == {f'{SESSION}/overlay.mp4', 'report.html'}


def frames_of(out: Path) -> list[np.ndarray]:
    capture, result = cv2.VideoCapture(str(out / SESSION / 'overlay.mp4')), []
    while True:
        ok, image = capture.read()
        if not ok:
            return result
        result.append(image)


def test_a_video_shows_the_frames_that_are_asked_for(inputs, out):
    whole, before = frames_of(out), times(out)
    stills = f'{SESSION}/overlay_frames'
    assert fit(inputs, out, '--video-every', '2', '--video-frames', '1:6') == 0
    chosen = frames_of(out)
    assert len(chosen) == 3
    # Compressed among other frames: near, and nearer than to any other.
    apart = [[float(np.abs(a.astype(int) - b).mean()) for b in whole] for a in chosen]
    assert [int(np.argmin(one)) for one in apart] == [1, 3, 5]
    # The report shows frames of the video; nothing else was made again.
    assert {n for n in content(out) if n.startswith(stills)} == {f'{stills}/{i:06d}.jpg' for i in (1, 3, 5)}
    made = {n for n, at in times(out).items() if at != before.get(n)}
    assert {n for n in made if not n.startswith(stills)} == {f'{SESSION}/overlay.mp4', 'report.html'}
    page = (out / 'report.html').read_text()
    assert 'frame 3<' in page
    assert 'frame 0<' not in page.split('The fitted body over the recording')[0].split('Fit: the body')[1]
    assert fit(inputs, out, '--video-frames', ':2') == 0
    assert len(frames_of(out)) == 2


def test_frames_that_are_not_there_are_an_error_before_the_fit(inputs, tmp_path, capsys):
    assert fit(inputs, tmp_path / 'out', '--video-frames', '500:600') == 1
    assert (
        'session session_000 must have frames in 500:600; its frames go from 0 to' in capsys.readouterr().err
    )
    assert not (tmp_path / 'out' / SESSION).exists()
    for wrong in ('5', '3:3', 'a:b', ':', '-1:4'):
        with pytest.raises(SystemExit):
            fit(inputs, tmp_path / 'out', f'--video-frames={wrong}')
        assert '--video-frames' in capsys.readouterr().err


def test_processes_draw_the_video_of_one(inputs, out):
    alone = frames_of(out)
    (out / SESSION / 'overlay.mp4').unlink()
    assert fit(inputs, out, '--video-workers', '2') == 0
    for a, b in zip(alone, frames_of(out), strict=True):
        np.testing.assert_array_equal(a, b)


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
    changed = {
        n
        for n, data in content(out).items()
        if not n.endswith('.mp4') and without_place(data) != without_place(whole[n])
    }
    assert changed <= {'report.html'}
    FitResult.load(out / SESSION / 'fit.npz')


def without_place(data: bytes) -> bytes:
    """Leave out where the model is from here: these results are a copy that lies elsewhere."""
    return re.sub(rb'"relative": "[^"]*"', b'', data)


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
