"""How every command starts: which one of a group, what the user imports, the command line, then the work."""

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Protocol, TypeVar, runtime_checkable

from smilfit.cli.errors import BAD_INPUT, STOPPED, run_reporting_errors
from smilfit.cli.parser import IMPORT, add_import, given, make_parser
from smilfit.registry import import_plugin
from smilfit.registry.spelling import did_you_mean

# Exit codes beside those of `errors`: done, but not all of it, or not to be trusted; a bad command line.
INCOMPLETE, BAD_COMMAND_LINE = 3, 2

T = TypeVar('T')


def exit_codes(done: str, incomplete: str | None = None, failed: str = 'nothing could be done') -> str:
    """Describe the exit codes of a command."""
    third = '' if incomplete is None else f'; {INCOMPLETE} {incomplete}'
    return f'Exit codes: 0 {done}; {BAD_INPUT} {failed}; {BAD_COMMAND_LINE} a bad command line{third}.'


@runtime_checkable
class Main(Protocol):
    """What a script or a group of commands calls; gives the exit code."""

    def __call__(self, argv: Sequence[str] | None = None, prog: str = ...) -> int:
        """Run a command line; this process's own if None."""


def command(
    options: type[T],
    name: str,
    about: str,
    codes: str | None = None,
    stopped: str = STOPPED,
    made_by: type[argparse.ArgumentParser] = argparse.ArgumentParser,
    formatter: type[argparse.HelpFormatter] = argparse.HelpFormatter,
) -> Callable[[Callable[[T], int | None]], Main]:
    """Make a decorator: what a function does with options, giving an exit code or None for 0, becomes a command.

    Args:
        options: their class.
        name: of the command.
        about: what it does.
        codes: its exit codes, and what else stands at the end of help.
        stopped: what to print after Ctrl-C or SIGTERM.
        made_by: as of `make_parser`.
        formatter: as of `make_parser`.
    """

    def build_parser(prog: str | None) -> argparse.ArgumentParser:
        parser = make_parser(options, prog, about, codes, made_by=made_by, formatter=formatter)
        # For options that have a field of this name.
        parser.set_defaults(prog=parser.prog)
        return parser

    def decorate(work: Callable[[T], int | None]) -> Main:
        def run(arguments: argparse.Namespace) -> int | None:
            return work(options(**given(arguments, options)))

        def main(argv: Sequence[str] | None = None, prog: str = name) -> int:
            return run_command(run, build_parser, argv, prog, stopped)

        return main

    return decorate


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


def shown(name: str) -> str:
    """Return a command's name as help and pages write it."""
    return name.replace('_', '-')


def group_usage(prog: str, commands: Commands, more: str = '') -> str:
    """Return what commands there are, and what more there is to say."""
    width = max(map(len, commands), default=0)
    lines = [f'  {shown(name):<{width}}  {what}' for name, (_, what) in commands.items()]
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
    asked = arguments.pop(0)
    # convert_config reads as well as convert-config.
    command = asked.replace('-', '_')
    if command not in commands:
        print(
            f'{prog}: error: no command {asked!r}. {did_you_mean(asked, map(shown, commands))}',
            file=sys.stderr,
        )
        return BAD_COMMAND_LINE
    return int(module_of(commands, command).main(arguments, prog=f'{prog} {shown(command)}'))
