"""What is said once of an option is what signature, docstring and command line have."""

import argparse
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smilfit.apis.options import with_options
from smilfit.cli.parser import add_options, given, make_parser
from smilfit.options.fields import option, reported


@dataclass(frozen=True)
class Baking:
    heat: int = option(180, 'heat of the oven', low=50, high=300, unit='deg')
    fan: bool = option(True, 'use the fan')
    shape: str | None = option(None, 'of the loaf', choices=('round', 'long'), notebook='None is round')
    seeds: Sequence[str] = option((), '100 % of the seeds', metavar='NAME')
    shares: Sequence[float] = option((), 'of flours', many='append', low=0.0, high=1.0)
    size: tuple[int, int] = option((30, 20), 'of the tin', low=1)
    further: Mapping[str, Any] | None = option(None, 'more', metavar='KEY=VALUE')
    steam: str = option('', 'by what', const='water', either='moisture')
    spray: int = option(0, 'times', flag='--sprays', typed=2, either='moisture')
    progress: Any = reported('called with a loaf')


@with_options(Baking, positional=('heat',))
def bake(dough: str, how: Baking, *, oven: str = 'old') -> tuple[str, str, Baking]:
    """Bake a loaf.

    Args:
        dough: what is baked.

    Returns:
        All.
    """
    return dough, oven, how


def test_a_function_takes_the_fields_as_keywords():
    assert bake('rye', heat=200, oven='new') == bake('rye', 200, oven='new') == ('rye', 'new', Baking(200))
    parameters = inspect.signature(bake).parameters
    assert list(parameters)[:3] == ['dough', 'heat', 'fan']
    assert parameters['heat'].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert parameters['fan'].kind is parameters['oven'].kind is inspect.Parameter.KEYWORD_ONLY
    assert (parameters['heat'].default, parameters['heat'].annotation) == (180, int)
    for wrong in ({'het': 1}, {'how': Baking()}):
        with pytest.raises(TypeError, match='unexpected keyword'):
            bake('rye', **wrong)
    with pytest.raises(TypeError, match='dough'):
        bake()


def test_its_docstring_describes_them():
    text = inspect.getdoc(bake)
    assert '    dough: what is baked.\n    heat: heat of the oven.\n' in text
    assert "    shape: of the loaf ('round' or 'long'). None is round.\n" in text
    assert '    progress: called with a loaf.\n\nReturns:\n    All.' in text


@dataclass(frozen=True, kw_only=True)
class Command(Baking):
    dough: str = option(help='what is baked', positional=True)
    out: Path = option(help='where it goes', metavar='DIR')


def test_a_command_line_has_them(capsys):
    parser = make_parser(Command, 'bake', 'Bake.')
    said = parser.parse_args(['rye', '--out', 'table'])
    assert given(said, Baking) == {
        'heat': 180, 'fan': True, 'shape': None, 'seeds': (), 'shares': (), 'size': (30, 20), 'further': None,
        'steam': '', 'spray': 2,
    }  # fmt: skip
    assert (said.dough, said.out) == ('rye', Path('table'))
    words = 'rye --out t --heat 200 --no-fan --seeds a b --shares 0.2 --shares 0.5 --size 4 5 --further a.b=1 --steam'
    assert given(parser.parse_args(words.split()), Baking) == {
        'heat': 200, 'fan': False, 'shape': None, 'seeds': ('a', 'b'), 'shares': (0.2, 0.5), 'size': (4, 5),
        'further': {'a.b': 1}, 'steam': 'water', 'spray': 2,
    }  # fmt: skip
    for wrong in ('--heat 20', '--shape flat', '--steam --sprays 3', '--size 4', '--progress'):
        with pytest.raises(SystemExit, match='2'):
            parser.parse_args(['rye', '--out', 't', *wrong.split()])
    assert 'must be a whole number from 50 to 300' in capsys.readouterr().err
    shown = ' '.join(parser.format_help().split())
    assert '--heat DEG heat of the oven (50 to 300; default: 180)' in shown
    assert '--no-fan do not use the fan' in shown
    assert '100 % of the seeds' in shown


def test_both_spellings_and_none_that_must_be_given():
    parser = argparse.ArgumentParser()
    add_options(parser, Command, without=('dough',), underscored=True, required=False, heat=90)
    said = parser.parse_args(['--no_fan'])
    assert (said.heat, said.fan, said.out) == (90, False, None)
    assert '--no_fan' not in parser.format_help()
