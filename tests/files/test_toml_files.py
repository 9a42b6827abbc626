import pytest

from smilfit.files import BadFileError
from smilfit.files.account import FACTOR
from smilfit.files.text_files import read_toml


def test_what_a_file_says_comes_back(tmp_path):
    path = tmp_path / 'config.toml'
    path.write_text('names = ["a.b.c", "d"]\n[cameras.top."x.y"]\noffset = [1, 2.5]\n')
    assert read_toml(path, 'the configuration') == {
        'names': ['a.b.c', 'd'],
        'cameras': {'top': {'x.y': {'offset': [1, 2.5]}}},
    }


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a = 1\nb =', 'must be valid TOML; got: .*line 2'),
        ('a = 1\n' + '.'.join(['b'] * 40) + ' = 1', 'at most 32 parts between dots; line 2 has more'),
        ('[' + ' . '.join(['"b"'] * 40) + ']', 'at most 32 parts between dots; line 1 has more'),
        ('a = ' + '[' * 2000, 'must not be nested so deeply'),
        ('a = ' + '9' * 5000, 'must be whole and well-formed; got Exceeds'),
        ('a = [' + '"",' * 4000 + ']', r'reading the configuration must take at most 3,0\d\d objects'),
        ('[a]\n' * 10_000, 'must take at most 5 MiB of memory; got 10 MiB with its keys and values'),
        ('a' * (1 << 22), 'must be at most 4194304 bytes'),
    ],
)
def test_what_it_must_not_say(tmp_path, monkeypatch, text, message):
    monkeypatch.setenv(FACTOR, '0.01')
    path = tmp_path / 'config.toml'
    path.write_text(text + '\n')
    with pytest.raises(BadFileError, match=rf'config\.toml: .*{message}'):
        read_toml(path, 'the configuration')
