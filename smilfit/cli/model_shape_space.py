"""`model shape-space`: a model's shape space from registered specimens."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from smilfit.cli.argument_types import float_from, positive_int
from smilfit.cli.command import add_import, add_traceback, run_command

# As measurements/shape_space.py, which would bring scipy with it; a test holds the two together.
FORMS = ('entangled', 'disentangled', 'vertices')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Make the shape space of registered specimens (principal components), and write it as a body '
        'model whose betas are in standard deviations, with a page of its curves (compactness, generalisation, '
        'specificity, each with a 95 % interval) and pictures, and a table of sizes (mm where known) and betas.',
        epilog='Written: OUT.smil.json, OUT_shape_space.html and .png, OUT_scores.csv. Exit codes: 0 made; 1 '
        'nothing could be done; 2 a bad command line.',
    )
    made.add_argument(
        'paths',
        nargs='+',
        metavar='REGISTRATIONS',
        help='registration.npz, its folder, or a folder of such folders; at least three specimens of one model',
    )
    made.add_argument('out', type=Path, metavar='OUT.smil.json', help='the model')
    made.add_argument(
        '--form',
        choices=FORMS,
        default=FORMS[0],
        help='entangled: each beta moves vertices, logarithms of joint scales, and joint offsets together; '
        'disentangled: betas of each alone; vertices: rest vertices with what scales did to them '
        '(default: %(default)s)',
    )
    counts = made.add_mutually_exclusive_group()
    counts.add_argument(
        '--variance',
        type=float_from(0.0, 1.0, above=True),
        default=0.95,
        metavar='SHARE',
        help='as many betas as hold this share of the variance (default: %(default)s)',
    )
    counts.add_argument(
        '--components',
        type=positive_int,
        metavar='N',
        help='so many betas, of each block where there are several',
    )
    made.add_argument(
        '--size',
        choices=('remove', 'keep'),
        default='remove',
        help='remove: specimens are brought to one centroid size first, and sizes stand in the table; keep: size is '
        'part of the space (default: %(default)s)',
    )
    made.add_argument(
        '--body-model', metavar='FILE|NAME', help='body model of the registrations, where it is not found'
    )
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> None:
    # Imported late: --help should not wait for torch.
    from smilfit.apis.shape_spaces import make_shape_space

    done = make_shape_space(
        arguments.paths,
        arguments.out,
        body_model=arguments.body_model,
        form=arguments.form,
        variance=arguments.variance,
        components=arguments.components,
        keep_size=arguments.size == 'keep',
    )
    space = done.space
    print(f'{space.data.name}: {len(space.scores)} specimens, {space.form}, {space.data.n_betas} betas')
    for block in space.blocks:
        curves = done.curves[block.name]
        at = min(block.count, len(curves.generalisation.value)) - 1
        error, drawn = curves.generalisation, curves.specificity
        print(
            f'  {block.name}: {block.count} components, {100 * block.kept:.1f} % of the variance; one left out '
            f'{error.value[at]:.3g} {done.unit} ({error.low[at]:.3g} to {error.high[at]:.3g}), '
            f'{error.value[at] / curves.spread:.2f} of the spread of {curves.spread:.3g}; drawn to the nearest '
            f'{drawn.value[at]:.3g} {done.unit}'
        )
    for remark in done.remarks:
        print(f'  note: {remark}')
    for file in done.files:
        print(f'written: {file}')


if __name__ == '__main__':
    sys.exit(main())
