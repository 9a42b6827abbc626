"""Import what a user names: a file, or a module beside the working directory, whose classes register themselves."""

import hashlib
import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from smilfit.registry.config_file import bring_in_reach, cause


class PluginError(ValueError):
    """A plugin is not there or does not run. The message names it and the line."""


def import_plugin(name: str | Path) -> ModuleType:
    """Import a python file, or a module by its dotted name.

    A file is run once, under a name of its own, however often and by whatever name it is asked for. Modules are
    looked for in the working directory too, after everything that is installed.

    Args:
        name: the path of a `.py` file, or a dotted name.

    Raises:
        PluginError: no such file or module, or it raises an error.
    """
    path = Path(name).expanduser()
    bring_in_reach(Path.cwd())
    if path.suffix == '.py' or path.is_file() or len(path.parts) > 1:
        return _import_file(path)
    if not all(part.isidentifier() for part in str(name).split('.')):
        raise PluginError(f'{name}: a plugin must be a .py file or a dotted module name. Correct the name.')
    return _import_module(str(name))


def _import_file(path: Path) -> ModuleType:
    if path.suffix != '.py' or not path.is_file():
        got = 'it is not there' if not path.exists() else 'it is none'
        raise PluginError(f'{path}: the plugin must be a .py file; {got}. Check the path.')
    file = path.resolve()
    known = _loaded(file)
    if known is not None:
        return known
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    spec = spec_from_file_location(f'smilfit_plugin_{file.stem}_{digest}', file)
    if spec is None or spec.loader is None:
        raise PluginError(
            f'{path}: the plugin must be a module that Python can load; it is none. Check the file.'
        )
    module = module_from_spec(spec)
    # Dataclasses and pickles look for the module of a class here.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    # A plugin is a program of the user's: any kind of error may come out of it, and sys.exit() too.
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise PluginError(
            f'{path}: the plugin must be Python that runs; got {cause(path, error)}. Correct it there.'
        ) from error
    if not any(isinstance(finder, _SameFile) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SameFile())
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    # As above.
    except (Exception, SystemExit) as error:
        raise PluginError(
            f'{name}: the plugin must be a module that imports; got {cause(Path(name), error)}. Put its file into '
            'the working directory, name the file itself, or correct it.'
        ) from error


def _loaded(file: Path) -> ModuleType | None:
    """Return the module that was made of a file, by whatever name."""
    for module in list(sys.modules.values()):
        origin = getattr(getattr(module, '__spec__', None), 'origin', None)
        if origin is not None and origin.endswith(file.name) and Path(origin).resolve() == file:
            return module
    return None


class _SameFile(MetaPathFinder):
    """Finder of a plugin that is imported as a module, too: a config may name what the command line named."""

    # The path of a namespace package is no `Sequence`.
    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.origin.endswith('.py'):
            return None
        digest = hashlib.sha256(str(Path(spec.origin).resolve()).encode()).hexdigest()[:8]
        module = sys.modules.get(f'smilfit_plugin_{Path(spec.origin).stem}_{digest}')
        return None if module is None else spec_from_loader(fullname, _Loaded(module), origin=spec.origin)


class _Loaded(Loader):
    """Loader of a module that has run already."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec
