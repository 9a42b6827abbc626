"""What users hold on to, as sorted lists: names with their parameters, registries, commands, configs, files.

    python -m tests.contract_lists FOLDER

writes one .json file each into a folder. Only the doors are named here (the package's names, its registries, its
command), so that modules behind them may move.
"""

import argparse
import contextlib
import dataclasses
import importlib
import inspect
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'smilfit'
JsonLists = dict[str, Any]


def door() -> Callable[[list[str]], int]:
    """Import what pyproject.toml says that the command `smilfit` calls."""
    text = (ROOT / 'pyproject.toml').read_text()
    module, name = re.search(r'^smilfit = "([\w.]+):(\w+)"$', text, re.M).groups()
    return getattr(importlib.import_module(module), name)


def repr_of_default(value: object) -> str:
    """Return a repr that is the same in every process and on every machine."""
    if callable(value) and hasattr(value, '__qualname__'):
        return value.__qualname__
    text = re.sub(r' at 0x[0-9a-f]+', '', repr(value))
    return re.sub(r'\b(?:smilfit|tests|mmengine|torch|numpy|pathlib)(?:\.\w+)*\.(?=[A-Z])', '', text)


def signature_of(thing: Callable) -> list[str] | str:
    """Return the parameters of a function or of a class's construction, defaults with them."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return 'no signature'
    lines = []
    for p in parameters:
        star = {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, '')
        only = {p.KEYWORD_ONLY: ' (by name)', p.POSITIONAL_ONLY: ' (by place)'}.get(p.kind, '')
        default = '' if p.default is p.empty else f' = {repr_of_default(p.default)}'
        lines.append(f'{star}{p.name}{default}{only}')
    return lines


def members_of(kind: type) -> list[str]:
    """Return the public attributes that a class and its own bases define, without fields."""
    owners = [base for base in kind.__mro__ if base.__module__.partition('.')[0] == PACKAGE]
    names = {name for owner in owners for name in vars(owner) if not name.startswith('_')}
    fields = {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    return sorted(names - fields)


def public_names() -> JsonLists:
    """Return the public names of the package's doors."""
    lists: JsonLists = {}
    for room in (PACKAGE, f'{PACKAGE}.apis', f'{PACKAGE}.registry'):
        module = importlib.import_module(room)
        for name in sorted(module.__all__):
            thing = getattr(module, name)
            entry: Any = type(thing).__name__
            if inspect.isclass(thing) or inspect.isfunction(thing):
                entry = {'kind': 'class' if inspect.isclass(thing) else 'function'}
                entry['parameters'] = signature_of(thing)
            if inspect.isclass(thing) and (dataclasses.is_dataclass(thing) or name.startswith('Base')):
                entry['members'] = members_of(thing)
            lists[f'{room}.{name}'] = entry
    return lists


def registered_names() -> JsonLists:
    """Return what every registry knows after it imported its rooms, with the parameters a config may name."""
    from mmengine.registry import Registry

    module = importlib.import_module(f'{PACKAGE}.registry')
    registries = {name: getattr(module, name) for name in module.__all__}
    registries = {name: r for name, r in registries.items() if isinstance(r, Registry)}
    for registry in registries.values():
        registry.import_from_location()
    lists: JsonLists = {}
    for name, registry in sorted(registries.items()):
        lists[name] = {key: signature_of(value) for key, value in sorted(registry.module_dict.items())}
    return lists


class _Parser(SystemExit):
    """A command has made its parser and would parse now."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(0)
        self.parser = parser


def parser_of(command: list[str]) -> argparse.ArgumentParser | str:
    """Return the parser that a command line meets, or what a group of commands prints."""
    made: list[argparse.ArgumentParser] = []

    def parse(self: argparse.ArgumentParser, *arguments: object) -> None:
        made.append(self)
        raise _Parser(self)

    stubs = {'parse_args': parse, 'parse_intermixed_args': parse}
    with patch.multiple(argparse.ArgumentParser, **stubs), contextlib.suppress(SystemExit):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            door()(command)
        return printed.getvalue()
    return made[0]


def leaves(command: list[str]) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Walk the commands below one, each with its parser."""
    met = parser_of(command)
    if isinstance(met, str):
        # A group prints its commands, two spaces before each.
        for name in re.findall(r'^  ([\w-]+)  ', met, re.M):
            # With underscores, which are read as well.
            yield from leaves([*command, name.replace('-', '_')])
        return
    yield from _subcommands(' '.join(command), met)
    if command == ['convert_checkpoint']:
        # The other use: whose checkpoint it is comes first.
        yield from _subcommands('convert_checkpoint animer', parser_of([*command, 'animer']))
    if command == ['export']:
        # The other use: what is named is a checkpoint.
        yield from _subcommands('export CHECKPOINT', parser_of(['export', 'some.pth']))


def _subcommands(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    # Options that are added late are there once the help is shown.
    parser.format_help()
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice, below in sorted(action.choices.items()):
                yield from _subcommands(f'{name} {choice}', below)


def option_of(action: argparse.Action) -> str:
    """Return what a command line may say of an option, in a line."""
    if action.nargs == 0 and isinstance(action.const, bool):
        # Which of the two a flag stores is the program's affair.
        return 'Flag'
    parts = [type(action).__name__.strip('_').removesuffix('Action')]
    if action.nargs is not None:
        parts.append(f'nargs={action.nargs}')
    if action.choices is not None:
        parts.append(f'choices={",".join(map(str, action.choices))}')
    if action.required:
        parts.append('required')
    # Nothing is said by all of these.
    if action.default not in (None, argparse.SUPPRESS, (), [], '') and action.default != {}:
        parts.append(f'default={repr_of_default(action.default)}')
    if action.const is not None:
        parts.append(f'const={repr_of_default(action.const)}')
    return ' '.join(parts)


def commands() -> JsonLists:
    """Return every command with its options and the exit codes that its help documents."""
    lists: JsonLists = {}
    for name, parser in leaves([]):
        actions = {' '.join(a.option_strings) or a.dest: a for a in parser._actions}
        notes = re.search(r'Exit codes: (.*)', ' '.join((parser.epilog or '').split()))
        entry: JsonLists = {key: option_of(action) for key, action in sorted(actions.items())}
        if notes:
            entry['exit codes'] = ', '.join(re.findall(r'(?:^|; )(\d) ', notes[1]))
        lists[name] = entry
    return lists


def configs() -> JsonLists:
    """Return the shipped configs with their top-level keys."""
    from mmengine.config import Config

    files = sorted((ROOT / 'configs').rglob('*.py'))
    return {f.relative_to(ROOT).as_posix(): sorted(Config.fromfile(f).to_dict()) for f in files}


def files() -> JsonLists:
    """Return what stands in the files of a tiny preprocessing, fit and training."""
    from tests.hostile.small_inputs import make_inputs

    lists: JsonLists = {}
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = make_inputs(Path(name) / 'in', ROOT / 'configs' / 'train' / 'multiview_demo.py', n_frames=6)
        data = folder / 'small.h5'
        lists['dataset.h5'] = in_hdf5(data)
        lists['dataset.h5.report.json'] = in_json(json.loads(Path(f'{data}.report.json').read_text()))
        fit = ['fit', str(folder / 'fit.py'), '--data', str(data), '--out', f'{name}/fit', '--no-video']
        code = door()(fit)
        assert code in (0, 3), code
        session = Path(name) / 'fit' / 'session_000'
        lists['fit: files'] = sorted(p.name for p in session.iterdir())
        lists['fit.npz'] = in_npz(session / 'fit.npz')
        for part in ('fit.json', 'verdict.json'):
            lists[part] = in_json(json.loads((session / part).read_text()))
        train = [
            'train',
            str(folder / 'train.py'),
            '--work-dir',
            f'{name}/train',
            '--device',
            'cpu',
            '--no-validate',
        ]
        code = door()(
            [*train, '--cfg-options', f'train_dataloader.dataset.data_path={data}', 'train_cfg.max_epochs=1']
        )
        assert code == 0, code
        lists['checkpoint.pth'] = in_checkpoint(next(Path(f'{name}/train').glob('epoch_*.pth')))
    return lists


def in_npz(path: Path) -> JsonLists:
    """Return the arrays of a .npz file: type and number of axes."""
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in sorted(stored.files)}
    # How long a text is depends on the text.
    return {k: f'{"text" if a.dtype.kind == "U" else a.dtype} {a.ndim}d' for k, a in arrays.items()}


def in_hdf5(path: Path) -> JsonLists:
    """Return the groups, datasets and attributes of a .h5 file; what stands behind `@` is an attribute."""
    import h5py

    lists: JsonLists = {}

    def look(name: str, thing: Any) -> None:
        dataset = isinstance(thing, h5py.Dataset)
        kind = 'text' if dataset and thing.dtype.kind in 'OS' else str(getattr(thing, 'dtype', ''))
        lists[name] = f'{kind} {thing.ndim}d' if dataset else 'group'
        for key, value in thing.attrs.items():
            lists[f'{name}@{key}'] = re.sub(r'\d*$', '', type(value).__name__) or 'value'

    with h5py.File(path) as file:
        look('/', file)
        file.visititems(look)
    return dict(sorted(lists.items()))


def in_json(value: object, where: str = '') -> JsonLists:
    """Return the keys of a document, dotted, each with the kinds of its values; entries of a list are alike."""
    kinds: dict[str, set[str]] = {}

    def look(at: str, value: object) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                look(f'{at}.{key}'.lstrip('.'), part)
        elif isinstance(value, list):
            for part in value:
                look(f'{at}[]', part)
        # Whether a number is whole depends on the number.
        names = {'int': 'number', 'float': 'number', 'bool': 'bool', 'NoneType': 'null'}
        kind = type(value).__name__
        kinds.setdefault(at or '.', set()).add(names.get(kind, kind))

    look(where, value)
    return {key: ' or '.join(sorted(kinds[key])) for key in sorted(kinds)}


def in_checkpoint(path: Path) -> JsonLists:
    """Return the keys of a checkpoint, and the weights' names with their types and axes."""
    import torch

    stored = torch.load(path, map_location='cpu', weights_only=False)
    lists: JsonLists = {key: type(value).__name__ for key, value in stored.items()}
    lists |= {f'meta.{key}': type(value).__name__ for key, value in stored.get('meta', {}).items()}
    weights = stored['state_dict'].items()
    lists |= {f'state_dict.{key}': f'{value.dtype} {value.ndim}d' for key, value in weights}
    return dict(sorted(lists.items()))


PARTS = {
    'names': public_names,
    'registries': registered_names,
    'commands': commands,
    'configs': configs,
    'files': files,
}


def write(folder: Path) -> None:
    """Write all lists into a folder, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PARTS.items():
        text = json.dumps(make(), indent=1, sort_keys=True, ensure_ascii=False)
        (folder / f'{name}.json').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    write(Path(sys.argv[1]))
