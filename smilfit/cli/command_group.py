"""Several commands behind one name: `smilfit COMMAND`, `smilfit model COMMAND`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from smilfit.registry.spelling import did_you_mean


def group_usage(prog: str, commands: Mapping[str, str], more: str = '') -> str:
    """Return what commands there are, and what more there is to say."""
    width = max(map(len, commands), default=0)
    lines = [f'  {name:<{width}}  {what}' for name, what in commands.items()]
    head = f'usage: {prog} COMMAND [arguments]'
    return '\n'.join([head, '', *lines, '', f'{prog} COMMAND --help says more{more}.'])


def run_group(
    arguments: Sequence[str],
    prog: str,
    commands: Mapping[str, str],
    module: Callable[[str], ModuleType],
    usage: str | None = None,
) -> int:
    """Hand the arguments to the command that they begin with; 2 on an unknown one.

    Args:
        arguments: the command line after the group's name.
        prog: the group's name.
        commands: what each command is for.
        module: imports a command's module, which has `main(argv, prog)`.
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
    return int(module(command).main(arguments, prog=f'{prog} {command}'))
