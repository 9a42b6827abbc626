"""Show a model's keypoints, and propose which of them the keypoints of annotations are."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from smilfit.apis.model_options import LookupOptions
from smilfit.cli.command import run_command
from smilfit.cli.next_step import POINTS3D, likely_format, no_fps_stated, preprocess_step
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.apis.preprocessing.lookup_proposal import LookupProposal

# Done, but keypoints have no place.
LEFT_EMPTY = 3


@dataclass(frozen=True, kw_only=True)
class Command(LookupOptions):
    """What a command line says."""

    model: Path = option(help='body model (.smil.json, .pkl)', positional=True, metavar='MODEL')
    data: Path | None = option(
        None, 'sessions or annotations: a folder or file', positional=True, metavar='DATA'
    )
    out: Path | None = option(
        None, 'the table to write (default: joint_lookup.csv)', positional=True, metavar='OUT.csv'
    )
    format: str | None = option(
        None,
        'format of DATA, as preprocess names them (default: points3d for .mat, .nwb, .npz and points3d.h5, else '
        'sleap)',
        metavar='NAME',
    )
    images: Path | None = option(None, 'folder that image paths are relative to', metavar='DIR')
    unit: str | None = option(None, 'world unit where the data state none, such as mm', metavar='UNIT')
    skeleton: Path | None = option(
        None, 'names of the keypoints of points3d, where DATA has none', metavar='FILE'
    )
    fps: float | None = option(
        None,
        'frames a second of points3d, where DATA states none: part of the command that is printed at the end',
        low=0.0,
        above=True,
        metavar='N',
    )
    partial_labels: bool = option(False, 'labels may end before their video')


def build_parser(prog: str | None = 'landmarks') -> argparse.ArgumentParser:
    """Describe the command line."""
    about = (
        f'{__doc__} Writes joint_lookup.csv, the table to go on with by hand, and a page with the model from '
        'several sides beside labelled frames. Without DATA it lists and shows the keypoints of the model.'
    )
    codes = (
        'Exit codes: 0 every keypoint has a place; 1 nothing could be done; 2 a bad command line; 3 done, but '
        'keypoints were left without a place.'
    )
    return make_parser(Command, prog, about, codes)


def main(argv: Sequence[str] | None = None, prog: str = 'landmarks') -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.apis.preprocessing.data_source import DataSource
    from smilfit.apis.preprocessing.lookup_proposal import propose_joint_lookup

    source = None
    if arguments.data is not None:
        arguments.format = arguments.format or likely_format(arguments.data)
        if arguments.fps is not None and arguments.format != POINTS3D:
            raise ValueError(
                f'--fps: must go with points3d; got {arguments.format}, whose videos have their own. Leave it out.'
            )
        read = ('unit', 'images', 'partial_labels', 'skeleton', 'fps')
        said = {name: getattr(arguments, name) for name in read}
        source = DataSource(arguments.format, arguments.data, **said)
    options = given(arguments, LookupOptions)
    done = propose_joint_lookup(arguments.model, source, arguments.out, **options)
    code = show_proposal(done)
    if done.table is not None:
        if (result := done.likely_unit) is not None:
            print(
                f'unit: none is stated; points are {result.points:.3g} long and the model {result.model_mm:.3g} mm, '
                f'so they are taken for {result.unit} below. Change --unit if that is wrong.'
            )
        if done.taken_fps is not None:
            print(no_fps_stated(done.taken_fps))
        print(f'next: {next_command(arguments, done)}')
    return code


def next_command(arguments: argparse.Namespace, done: 'LookupProposal') -> str:
    """Write the command that goes on with a table: a dataset of what was looked at."""
    options = {name: getattr(arguments, name) for name in ('skeleton', 'images', 'unit', 'fps')}
    if done.likely_unit is not None:
        options['unit'] = done.likely_unit.unit
    if done.taken_fps is not None:
        options['fps'] = done.taken_fps
    assert done.table is not None
    return preprocess_step(arguments.format, arguments.data, arguments.model, done.table, options)


def show_proposal(done: 'LookupProposal') -> int:
    """Print what was proposed; gives the exit code."""
    console = Console()
    console.print(f'axes: {done.axes.source}', highlight=False, soft_wrap=True, markup=False)
    if done.table is None:
        _print_keypoints(console, done)
    else:
        _print_rows(console, done)
        console.print(f'table: {done.table}', highlight=False, soft_wrap=True, markup=False)
    console.print(f'page: {done.page}', highlight=False, soft_wrap=True, markup=False)
    return LEFT_EMPTY if any(not row.model for row in done.rows) else 0


def _print_rows(console: Console, done: 'LookupProposal') -> None:
    table = Table(title='proposed lookup')
    for column in ('annotated', 'model', 'confidence', 'why'):
        table.add_column(column)
    for row in done.rows:
        table.add_row(
            *(_plain(cell) for cell in (row.data, row.model or '-', row.confidence or '-', row.remark))
        )
    console.print(table)
    empty = [row.data for row in done.rows if not row.model]
    if empty:
        text = (
            f'{len(empty)} without a place: {", ".join(empty)}. Write one into the table, or leave them out.'
        )
        console.print(text, highlight=False, soft_wrap=True, markup=False)


def _print_keypoints(console: Console, done: 'LookupProposal') -> None:
    body = done.body
    console.print(f'{body.n_joints} joints: {", ".join(body.joint_names)}', highlight=False, markup=False)
    for name, keypoints in body.keypoint_sets.items():
        text = f'keypoint set {name}: {", ".join(keypoints)}'
        console.print(text, highlight=False, markup=False)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == '__main__':
    sys.exit(main())
