"""Configs that do not run say which file and line."""

import pytest

from smilfit.registry import ConfigError, read_config


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a = 1\nb = (\n', r'c\.py: the config must be Python that runs; got SyntaxError: .* in line 2\.'),
        ('a = 1\n\nb = unknown\n', r"got NameError: name 'unknown' is not defined in line 3\."),
        ('def f():\n    return 1 / 0\n\n\na = f()\n', r'got ZeroDivisionError: .* in line 2\.'),
        ('import sys\n\nsys.exit(0)\n', r'got SystemExit: 0 in line 3\.'),
        ("_base_ = 'none.py'\n", r'none\.py'),
        ('', r'a config must set names'),
        (
            "custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)\n",
            r"custom_imports, must import; got ModuleNotFoundError: No module named 'no_such_module'.*Put the module",
        ),
        (
            'import no_such_module\n',
            r"must import; got ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "custom_imports = dict(imports=['own_broken_module'], allow_failed_imports=False)\n",
            r'got ValueError: no in line 2 of .*own_broken_module\.py',
        ),
    ],
)
def test_a_config_that_does_not_run(tmp_path, text, message):
    (tmp_path / 'own_broken_module.py').write_text("a = 1\nraise ValueError('no')\n")
    path = tmp_path / 'c.py'
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_what_is_no_config(tmp_path):
    (tmp_path / 'a.txt').write_text('')
    (tmp_path / 'a.json').write_text('[1]')
    for path, error in (
        (tmp_path, ConfigError),
        (tmp_path / 'a.txt', ConfigError),
        (tmp_path / 'a.json', ConfigError),
    ):
        with pytest.raises(error, match='config must'):
            read_config(path)
    with pytest.raises(FileNotFoundError, match='the config must be there'):
        read_config(tmp_path / 'none.py')
    (tmp_path / 'b.json').write_text('{"a": 1}')
    assert read_config(tmp_path / 'b.json').a == 1
