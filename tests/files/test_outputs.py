"""A folder of results: whole and as the marker says, or made again; one process at a time."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest

from smilfit.files import MadeOf, OutputFolder, OutputHeldError, OutputLock, remove_temporary

MADE_OF = MadeOf(inputs={'data': 'abc'}, options={'format': 'obj', 'side': 400})


def make(outputs, part='meshes', made_of=MADE_OF, files=('meshes/0.obj', 'meshes/1.obj'), text='x'):
    with outputs.make(part, made_of) as staging:
        for name in files:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text(text + name)


@pytest.fixture
def outputs(tmp_path):
    made = OutputFolder(tmp_path / 'out')
    make(made)
    return made


def names(outputs):
    return sorted(p.relative_to(outputs.folder).as_posix() for p in outputs.folder.rglob('*') if p.is_file())


def test_what_was_made_is_believed_once_whole(outputs):
    assert outputs.reason_to_make('meshes', MADE_OF) is None
    assert names(outputs) == ['done.json', 'meshes/0.obj', 'meshes/1.obj']
    record = json.loads(outputs.marker.read_text())['parts']['meshes']
    assert record['inputs'] == {'data': 'abc'}
    assert record['files']['meshes/0.obj'][0] == len('xmeshes/0.obj')


@pytest.mark.parametrize('damage', ['missing', 'cut', 'bit', 'marker', 'marker gone'])
def test_what_is_damaged_is_not_believed(outputs, damage):
    path = outputs.folder / 'meshes' / '1.obj'
    content = path.read_bytes()
    if damage == 'missing':
        path.unlink()
    elif damage == 'cut':
        path.write_bytes(content[:-1])
    elif damage == 'bit':
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == 'marker':
        outputs.marker.write_bytes(outputs.marker.read_bytes()[:-9])
    else:
        outputs.marker.unlink()
    assert outputs.reason_to_make('meshes', MADE_OF) is not None
    make(outputs)
    assert outputs.reason_to_make('meshes', MADE_OF) is None
    assert path.read_bytes() == content


def test_other_options_and_inputs_are_named(outputs):
    other = replace(MADE_OF, options={'format': 'ply', 'side': 400})
    assert outputs.reason_to_make('meshes', other) == 'it was made with other options (format)'
    assert (
        outputs.reason_to_make('meshes', replace(MADE_OF, inputs={'data': 'd'}))
        == 'it was made of other inputs'
    )
    make(outputs, made_of=other, files=('meshes/0.ply',))
    # Files of the old kind would lie beside the new ones for ever.
    assert names(outputs) == ['done.json', 'meshes/0.ply']


def test_one_part_is_made_again_and_the_others_stay(outputs):
    make(outputs, 'fit', files=('fit.npz',))
    before = outputs.checksum('meshes')
    (outputs.folder / 'fit.npz').write_text('damaged')
    assert outputs.reason_to_make('fit', MADE_OF) == 'fit.npz is damaged or was changed'
    assert outputs.reason_to_make('meshes', MADE_OF) is None
    make(outputs, 'fit', files=('fit.npz',))
    assert outputs.checksum('meshes') == before


def test_after_an_error_all_is_as_before(outputs):
    def fail():
        with outputs.make('meshes', MADE_OF) as staging:
            (staging / 'a').write_text('half')
            raise ValueError('no')

    before = {name: (outputs.folder / name).read_bytes() for name in names(outputs)}
    with pytest.raises(ValueError, match='no'):
        fail()
    assert {name: (outputs.folder / name).read_bytes() for name in names(outputs)} == before


@pytest.mark.parametrize('stop', range(20))
def test_wherever_a_replacement_stops_the_next_run_is_right(outputs, stop, monkeypatch):
    class StoppedError(BaseException):
        pass

    left = iter(range(stop))
    real = {name: getattr(os, name) for name in ('rename', 'replace', 'unlink', 'fsync', 'rmdir')}

    def stopping(name):
        def call(*arguments, **options):
            if next(left, None) is None:
                raise StoppedError
            return real[name](*arguments, **options)

        return call

    new = replace(MADE_OF, options={'format': 'ply'})
    for name in real:
        monkeypatch.setattr(os, name, stopping(name))
    with suppress(StoppedError):
        make(outputs, made_of=new, files=('meshes/1.obj', 'meshes/2.obj'), text='new')
    monkeypatch.undo()
    for made_of, text, files in ((MADE_OF, 'x', ('0', '1')), (new, 'new', ('1', '2'))):
        if outputs.reason_to_make('meshes', made_of) is None:
            assert all(
                (outputs.folder / f'meshes/{f}.obj').read_text() == f'{text}meshes/{f}.obj' for f in files
            )
    make(outputs, made_of=new, files=('meshes/2.obj',), text='new')
    assert [n for n in names(outputs) if n.startswith('meshes')] == ['meshes/2.obj']


def test_a_part_that_nobody_asks_for_goes_with_its_inputs(outputs):
    outputs.drop_stale('meshes', {'data': 'abc'})
    assert len(names(outputs)) == 3
    outputs.drop_stale('meshes', {'data': 'other'})
    assert names(outputs) == ['done.json']


def test_a_marker_cannot_name_files_elsewhere(outputs, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    record = json.loads(outputs.marker.read_text())
    record['parts']['meshes']['files'] = {'../victim': [4, 'x']}
    outputs.marker.write_text(json.dumps(record))
    outputs.drop('meshes')
    make(outputs)
    assert victim.read_text() == 'mine'


HOLD = """
import sys
from smilfit.files import OutputLock
with OutputLock.of_folder(sys.argv[1]):
    print('held', flush=True)
    sys.stdin.read()
"""


def test_a_second_process_learns_who_holds_an_output(tmp_path):
    command = [sys.executable, '-c', HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == 'held\n'
        with pytest.raises(
            OutputHeldError, match=f'is being written by process {first.pid} on .*Wait'
        ) as record:
            OutputLock.of_folder(tmp_path).__enter__()
        assert 'elete' not in str(record.value)
        first.kill()
    with OutputLock.of_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_a_forked_child_does_not_hold_an_output_on(tmp_path):
    lock = OutputLock.of_file(tmp_path / 'a.h5')
    reader, writer = os.pipe()
    with lock:
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    with OutputLock.of_file(tmp_path / 'a.h5'):
        pass
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0


def test_what_killed_processes_left_under_temporary_names_goes(tmp_path):
    for name in (
        '.epoch_2.tmp.pth',
        '.last_checkpoint.tmp',
        'epoch_2.pth',
        '.hidden',
        'a.tmp.pth',
        '.a.tmper',
    ):
        (tmp_path / name).touch()
    (tmp_path / '.folder.tmp').mkdir()
    remove_temporary(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['.a.tmper', '.folder.tmp', '.hidden', 'a.tmp.pth', 'epoch_2.pth']
