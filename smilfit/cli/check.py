"""`check`: measure and draw a dataset's ground truth before training."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from smilfit.cli.argument_types import int_from
from smilfit.cli.command import add_body_model, add_import, add_traceback, run_command

# Done, but something speaks against the ground truth.
EXIT_WARNINGS = 3


def build_parser(prog: str | None = 'check') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Check the ground truth of a dataset file before training: labels against 3D points and '
        'parameters, '
        'cameras against each other, left against right, crops, counts; and draw some samples with what is stored '
        'of them.',
        epilog='Exit codes: 0 nothing speaks against it; 1 it could not be looked at; 2 a bad command line; 3 there '
        'are '
        'warnings.',
    )
    made.add_argument('data', type=Path, metavar='DATA.h5', help='the dataset file')
    made.add_argument(
        '--out', type=Path, metavar='DIR', help='folder for report.html, figures.json and an image a session'
    )
    add_body_model(made, 'dataset')
    made.add_argument(
        '--samples',
        type=int_from(1, 100),
        default=3,
        metavar='N',
        help='samples of a session to draw (default: 3)',
    )
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.apis.checking import check_data

    done = check_data(arguments.data, arguments.out, arguments.body_model, arguments.samples)
    for name, session in done.figures.items():
        print(f'{name}: {session.samples} samples. {session.calibration}')
        for camera, figures in session.cameras.items():
            parts = [f'{figures.labels} labels in {figures.views} views']
            if figures.label_to_point_px == figures.label_to_point_px:
                parts.append(f'{figures.label_to_point_px:.1f} px from the 3D points')
            if figures.label_to_params_px == figures.label_to_params_px:
                parts.append(f'{figures.label_to_params_px:.1f} px from the parameters')
            print(f'  {camera}: {", ".join(parts)}')
    for warning in done.warnings:
        print(f'warning: {warning}')
    if done.folder is not None:
        print(f'report: {done.folder / "report.html"}')
    return EXIT_WARNINGS if done.warnings else 0


if __name__ == '__main__':
    sys.exit(main())
