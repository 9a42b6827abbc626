"""Read a config file, with the user's own modules beside it in reach."""

import sys
import sysconfig
import traceback
from collections.abc import Mapping
from pathlib import Path

import mmengine
from mmengine.config import Config

ENDINGS = ('.py', '.json', '.yaml', '.yml')
_LONGEST = 300
_PACKAGE = Path(__file__).resolve().parents[1]


class ConfigError(ValueError):
    """A config, or a module that it imports, does not run. The message names the file and the line."""


def read_config(path: str | Path) -> Config:
    """Read a config file and import what its `custom_imports` names.

    A config is Python and is run. Modules are looked for beside the config and in the working directory too, after
    everything that is installed. Both stay on the search path, because loaders of training data may start processes
    that import them again.

    Raises:
        FileNotFoundError: no such file.
        ConfigError: it is no config, it raises an error, or a module that it names cannot be imported.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: the config must be there; it is not. Check the path.')
    if path.is_dir() or path.suffix not in ENDINGS:
        got = 'a folder' if path.is_dir() else f'a file that ends in {path.suffix!r}'
        raise ConfigError(
            f'{path}: a config must be a file {", ".join(ENDINGS)}; got {got}. Name the config.'
        )
    bring_in_reach(path.resolve().parent, Path.cwd())
    try:
        cfg = Config.fromfile(path)
        # mmengine imports what a config imports when it is asked for.
        for _ in cfg._cfg_dict.items():
            pass
    # A config is a program of the user's: any kind of error may come out of it, and sys.exit() too.
    except (Exception, SystemExit) as error:
        raise ConfigError(_sentence(path, error)) from error
    if not isinstance(cfg._cfg_dict, Mapping) or not cfg._cfg_dict:
        raise ConfigError(f'{path}: a config must set names, such as model = dict(...); it sets none.')
    return cfg


def bring_in_reach(*folders: Path) -> None:
    """Let modules of these folders be imported, after everything that is installed."""
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]


def _sentence(path: Path, error: BaseException) -> str:
    # mmengine tells the import of a module that fails by an error of its own; the first one says why.
    first = error
    if isinstance(error, ImportError):
        while (before := first.__cause__ or first.__context__) is not None:
            first = before
    reason = cause(path, first)
    if isinstance(error, ImportError):
        return (
            f'{path}: the modules that it imports, or names in custom_imports, must import; got {reason}. Put the '
            'module beside the config or in the working directory, or install it.'
        )
    return f'{path}: the config must be Python that runs; got {reason}. Correct it there.'


def cause(path: Path, error: BaseException) -> str:
    """Name an error that a user's file raised, and the file and line where it did."""
    return f'{type(error).__name__}: {shorten_error(error)}{_place(path, error)}'


def _place(path: Path, error: BaseException) -> str:
    """Report in which of the user's files and lines an error arose."""
    if isinstance(error, SyntaxError):
        file = Path(error.filename) if error.filename else path
        name = f' of {file}' if file.is_file() and file.resolve() != path.resolve() else ''
        return f' in line {error.lineno}{name}' if error.lineno else ''
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.suffix == '.py' and file.is_file() and not _installed(file):
            name = '' if file.resolve() == path.resolve() else f' of {file}'
            return f' in line {frame.lineno}{name}'
    return ''


def _installed(file: Path) -> bool:
    """Check whether a file belongs to python, to a package that was installed, or to smilfit."""
    folders = [sysconfig.get_paths()[key] for key in ('stdlib', 'platstdlib', 'purelib', 'platlib')]
    folders += [str(_PACKAGE), str(Path(mmengine.__file__).parent)]
    return any(file.is_relative_to(folder) for folder in folders)


def shorten_error(error: BaseException) -> str:
    """Return an error's text in one line, cut where it is long."""
    # A SyntaxError's text names a file of mmengine's; its place is reported after it.
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    text = ' '.join(text[: 10 * _LONGEST].split())
    return text if len(text) <= _LONGEST else f'{text[:_LONGEST]} …'
