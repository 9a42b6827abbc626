"""A plugin is run once, by whatever name, and says what is wrong with it."""

import sys

import pytest

from smilfit.registry import PluginError, import_plugin, read_config

COUNTING = "import builtins\nbuiltins.plugin_runs = getattr(builtins, 'plugin_runs', 0) + 1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory of a user, forgotten afterwards."""
    import builtins

    monkeypatch.chdir(tmp_path)
    path, modules, finders = list(sys.path), set(sys.modules), list(sys.meta_path)
    builtins.plugin_runs = 0
    yield tmp_path
    del builtins.plugin_runs
    sys.path[:], sys.meta_path[:] = path, finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def runs() -> int:
    import builtins

    return builtins.plugin_runs


def test_a_file_is_run_once_under_a_name_of_its_own(folder):
    (folder / 'counted_plugin.py').write_text(COUNTING)
    other = folder / 'other' / 'counted_plugin.py'
    other.parent.mkdir()
    other.write_text(COUNTING)
    module = import_plugin('counted_plugin.py')
    assert import_plugin(folder / 'other' / '..' / 'counted_plugin.py') is module
    assert import_plugin('counted_plugin') is module
    assert runs() == 1
    assert module.__name__.startswith('smilfit_plugin_counted_plugin_')
    # Another file of the same name is another module.
    assert import_plugin(other) is not module
    assert runs() == 2


def test_a_config_may_name_the_file_too(folder):
    lab = folder / 'lab'
    lab.mkdir()
    (lab / 'counted_in_lab.py').write_text(COUNTING)
    (lab / 'c.py').write_text("a = 1\ncustom_imports = dict(imports=['counted_in_lab'])\n")
    module = import_plugin(lab / 'counted_in_lab.py')
    spec = module.__spec__
    read_config(lab / 'c.py')
    assert runs() == 1
    assert sys.modules['counted_in_lab'] is module
    assert module.__spec__ is spec


def test_a_module_that_is_there_already_is_not_run_again(folder):
    (folder / 'counted_first.py').write_text(COUNTING)
    module = import_plugin('counted_first')
    assert module.__name__ == 'counted_first'
    assert import_plugin(folder / 'counted_first.py') is module
    assert runs() == 1


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('p1.py', 'a = 1\nb = unknown\n', r'p1\.py: the plugin must be .*NameError: .* in line 2\.'),
        ('p2.py', 'b = (\n', r'p2\.py: the plugin must be Python that runs; got SyntaxError: .* in line 1\.'),
        ('p3.py', 'import sys\nsys.exit(0)\n', r'got SystemExit: 0 in line 2\.'),
        ('p4.py', None, r'p4\.py: the plugin must be a \.py file; it is not there\. Check the path\.'),
        ('p5.txt', 'a = 1', r'p5\.txt: the plugin must be a \.py file; it is none\.'),
        ('no_such_plugin_module', None, r"a module that imports; got ModuleNotFoundError: .*'no_such_plugin"),
        ('not a name', None, r'must be a \.py file or a dotted module name'),
    ],
)
def test_what_does_not_import(folder, name, text, message):
    if text is not None:
        (folder / name).write_text(text)
    before = set(sys.modules)
    with pytest.raises(PluginError, match=message):
        import_plugin(name)
    assert not [n for n in set(sys.modules) - before if 'plugin_p' in n]


def test_an_error_in_a_module_names_its_file(folder):
    (folder / 'broken_plugin_module.py').write_text("a = 1\nraise ValueError('no')\n")
    with pytest.raises(PluginError, match=r'got ValueError: no in line 2 of .*broken_plugin_module\.py'):
        import_plugin('broken_plugin_module')
