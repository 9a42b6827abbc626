"""How every command starts: which one of a group, what the user imports, the command line, then the work."""

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType

from smilfit.cli.errors import STOPPED, run_reporting_errors
from smilfit.registry import import_plugin
from smilfit.registry.spelling import did_you_mean

IMPORT = '--import'


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add `--import` to a parser, for its help; it was read before there was a parser."""
    parser.add_argument(
        IMPORT,
        action='append',
        dest='imports',
        metavar='FILE_OR_MODULE',
        help='run a python file of yours (a path that ends in .py, or the dotted name of a module in the working '
        'directory or installed) before all else, so that the classes that it registers are known; may be given '
        'several times',
    )


def add_traceback(parser: argparse._ActionsContainer) -> None:
    """Add `--traceback` to a parser or group, where a command that extends this one has not added it."""
    if '--traceback' not in parser._option_string_actions:
        parser.add_argument('--traceback', action='store_true', help='show where in the code an error arose')


def run_command(
    command: Callable[[argparse.Namespace], int | None],
    build_parser: Callable[[str | None], argparse.ArgumentParser],
    argv: Sequence[str] | None,
    prog: str | None,
    stopped: str = STOPPED,
) -> int:
    """Import what the command line names, parse it, and run the command; gives the exit code.

    Args:
        command: takes the parsed command line; gives an exit code, or None for 0.
        build_parser: makes the parser of a program's name; what was imported may have become choices of it.
        argv: the command line; this process's own if None.
        prog: the program's name; the script's if None.
        stopped: what to say after Ctrl-C or SIGTERM.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    names = _imports_of(argv, prog)
    # torch from 2.13 on warns of what its own forward derivatives call: nothing that a user could change.
    warnings.filterwarnings('ignore', '.*torch.jit.script. is deprecated', module='torch')

    def run(early: argparse.Namespace) -> int | None:
        for name in names:
            import_plugin(name)
        parser = build_parser(prog)
        arguments = parser.parse_args(argv)
        if not set(arguments.imports or ()) <= set(names):
            parser.error(f'{IMPORT} must be written out in full.')
        early.traceback = arguments.traceback
        return command(arguments)

    return run_reporting_errors(run, argparse.Namespace(traceback='--traceback' in argv), stopped)


def _imports_of(argv: Sequence[str], prog: str | None) -> list[str]:
    """Read `--import` alone, whatever else stands there."""
    early = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    add_import(early)
    return early.parse_known_args(argv)[0].imports or []


# The module of each command in this room, and what the command is for.
Commands = Mapping[str, tuple[str, str]]


def group_usage(prog: str, commands: Commands, more: str = '') -> str:
    """Return what commands there are, and what more there is to say."""
    width = max(map(len, commands), default=0)
    lines = [f'  {name:<{width}}  {what}' for name, (_, what) in commands.items()]
    head = f'usage: {prog} COMMAND [arguments]'
    return '\n'.join([head, '', *lines, '', f'{prog} COMMAND --help says more{more}.'])


def module_of(commands: Commands, name: str) -> ModuleType:
    """Import the module of a command, which has `main(argv, prog)`."""
    return import_module(f'smilfit.cli.{commands[name][0]}')


def run_group(arguments: Sequence[str], prog: str, commands: Commands, usage: str | None = None) -> int:
    """Hand the arguments to the command that they begin with; 2 on an unknown one.

    Args:
        arguments: the command line after the group's name.
        prog: the group's name.
        commands: the group.
        usage: what to print without a command; by default what `group_usage` says.
    """
    arguments = list(arguments)
    if not arguments or arguments[0] in ('-h', '--help'):
        print(usage or group_usage(prog, commands))
        return 0
    command = arguments.pop(0)
    # convert-config reads as well as convert_config.
    command = command if command in commands else command.replace('-', '_')
    if command not in commands:
        print(f'{prog}: error: no command {command!r}. {did_you_mean(command, commands)}', file=sys.stderr)
        return 2
    return int(module_of(commands, command).main(arguments, prog=f'{prog} {command}'))
