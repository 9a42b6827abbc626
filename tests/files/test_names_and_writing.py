"""Names stay inside their folder, files appear whole, and whatever a file causes names it."""

import errno
import json
import os

import pytest

from smilfit.files import (
    BadFileError,
    DiskFullError,
    OutputLock,
    check_entry_name,
    file_stem,
    folder_name,
    inside,
    reading,
    replacing,
    shorten,
    write_text,
    writing,
)
from smilfit.registry import UnknownNameError

FINE = ['session_001', 'mouse 3 (left)', 'Größe', '2024-01-01T10.20', 'a+b,c=d@e']
BAD = [
    '',
    '.',
    '..',
    '../../X',
    '/abs',
    'a/b',
    'a\\b',
    'C:x',
    'a\0b',
    'a\nb',
    ' a',
    'a.',
    'nul',
    'COM1.txt',
    'x' * 300,
]


@pytest.mark.parametrize('name', FINE)
def test_a_fine_name_is_its_own_folder(name):
    assert folder_name(name) == name
    assert check_entry_name(name, 'file') == name


@pytest.mark.parametrize('name', BAD)
def test_any_name_becomes_one_folder_inside(name, tmp_path):
    folder = folder_name(name)
    (tmp_path / folder).mkdir()
    assert (tmp_path / folder).resolve().parent == tmp_path.resolve()
    with pytest.raises(BadFileError, match=r'data\.h5: the name of a session must'):
        check_entry_name(name, 'data.h5')


def test_two_names_never_share_a_folder():
    assert len({folder_name(name) for name in [*FINE, *BAD, 'a:b', 'a?b']}) == len(FINE) + len(BAD) + 2


def test_links_out_of_a_folder_are_seen(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'out.png').touch()
    (tmp_path / 'in' / 'link.png').symlink_to(tmp_path / 'out.png')
    assert inside(tmp_path / 'in', 'a/b.png') == tmp_path / 'in' / 'a' / 'b.png'
    for name in ('../out.png', str(tmp_path / 'out.png'), 'link.png', 'a/../../out.png', 'x\0y'):
        with pytest.raises(BadFileError, match='must lie inside'):
            inside(tmp_path / 'in', name, 'labels.json')


CAUSES = [MemoryError(), RecursionError(), OverflowError('big'), EOFError(), IndexError(3), RuntimeError('x')]
CAUSES += [
    KeyError('a'),
    AttributeError('b'),
    OSError('decoder'),
    UnicodeDecodeError('utf-8', b'', 0, 1, 'bad'),
]


@pytest.mark.parametrize('error', CAUSES)
def test_whatever_a_file_causes_names_it(error):
    with (
        pytest.raises(BadFileError, match=r'^f\.bin: a thing must .* Do it\.$'),
        reading('f.bin', 'a thing', 'Do it.'),
    ):
        raise error


def test_errors_that_name_the_file_and_those_of_the_system_keep_their_kind(tmp_path):
    with pytest.raises(UnknownNameError, match='^f.bin: no key'), reading('f.bin'):
        raise UnknownNameError('f.bin: no key')
    with pytest.raises(FileNotFoundError, match='must be there'), reading(tmp_path / 'none'):
        (tmp_path / 'none').read_bytes()
    with pytest.raises(PermissionError, match='f.bin'), reading('f.bin'):
        raise PermissionError(errno.EACCES, 'Permission denied')
    with pytest.raises(ImportError), reading('f.bin'):
        raise ImportError('no warp')


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = write_text(tmp_path / 'deep' / 'a.json', '{"a": 1}')

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text('{"a"')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert json.loads(path.read_text()) == {'a': 1}
    assert os.listdir(path.parent) == ['a.json']


@pytest.mark.parametrize(
    'error', [OSError(errno.ENOSPC, 'x'), RuntimeError("error message = 'No space left on device'")]
)
def test_a_full_disk_is_a_sentence(error, tmp_path):
    message = r'out\.h5: the disk .* wants 3\.0 MB.* free in'
    with pytest.raises(DiskFullError, match=message), writing(tmp_path / 'out.h5', 3_000_000):
        raise error


def test_only_errors_of_a_write_become_errors_of_the_disk(tmp_path):
    with pytest.raises(RuntimeError, match='shape'), writing(tmp_path / 'a'):
        raise RuntimeError('shape')
    with (
        pytest.raises(OSError, match='must be writable; got Slist'),
        writing(tmp_path / 'a', None, (RuntimeError,)),
    ):
        raise RuntimeError('Slist already enabled?')


def test_hostile_values_are_not_written_out():
    deep = []
    for _ in range(100):
        deep = [deep, deep]
    for value in (deep, 10**5000, 'x' * 10**6, b'y' * 10**6, object(), {1: deep}, ValueError('z' * 10**6)):
        assert len(shorten(value)) < 200
    assert shorten('a\x1b[31mb') == 'a?[31mb'


def test_links_under_temporary_names_lead_nowhere(tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    for name in ('.a.tmp.json', '.lock'):
        (tmp_path / name).symlink_to(victim)
    write_text(tmp_path / 'a.json', '{}')
    with pytest.raises(OSError, match='lock'):
        OutputLock.of_folder(tmp_path).__enter__()
    assert victim.read_text() == 'mine'
    assert (tmp_path / 'a.json').read_text() == '{}'


@pytest.mark.parametrize(
    ('label', 'stem'),
    [
        ('photos/dog.png', 'dog'),
        ('photos/狗 子.jpg', '狗_子'),
        ('фото/собака.2.jpeg', 'собака.2'),
        # Typed as a letter and an accent, kept as one letter.
        ('e\u0301te\u0301.png', '\u00e9t\u00e9'),
        # Which of the animals of an image, and which frame.
        ('photos/dog.png #2', 'dog_2'),
        ('film.avi, frame 17', 'film_frame_17'),
        ('a/../\0b:*?.png', '_b_'),
        ('broken \udce9.png', 'broken_'),
        ('.hidden', '.hidden'),
    ],
)
def test_the_stem_of_a_label_keeps_letters_of_any_script(label, stem):
    assert file_stem(label) == stem
    assert (
        len(('犬' * 500 + '.png').encode())
        > 255
        > len(f'000001_{file_stem("犬" * 500 + ".png")}.jpg'.encode())
    )


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    wanted = tmp_path / 'x.npz'
    (tmp_path / '.x.tmp.npz').mkdir()
    with (
        pytest.raises(IsADirectoryError if os.name == 'posix' else OSError) as refused,
        replacing(wanted) as temporary,
    ):
        temporary.write_bytes(b'')
    assert str(refused.value).startswith(f'{wanted}: ')
