"""`check`: measure and draw a dataset's ground truth before training."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smilfit.cli.command import run_command
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option, other_body_model

# Done, but something speaks against the ground truth.
EXIT_WARNINGS = 3


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line says."""

    data: Path = option(help='the dataset file', positional=True, metavar='DATA.h5')
    out: Path | None = option(
        None, 'folder for report.html, figures.json and an image a session', metavar='DIR'
    )
    body_model: str | None = other_body_model('dataset')
    n_samples: int = option(3, 'samples of a session to draw', flag='--samples', low=1, high=100, metavar='N')


def build_parser(prog: str | None = 'check') -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Check the ground truth of a dataset file before training: labels against 3D points and parameters, cameras '
        'against each other, left against right, crops, counts; and draw some samples with what is stored of them.'
    )
    codes = (
        'Exit codes: 0 nothing speaks against it; 1 it could not be looked at; 2 a bad command line; 3 there are '
        'warnings.'
    )
    return make_parser(Command, prog, about, codes)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.apis.checking import check_data

    done = check_data(**given(arguments, Command))
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
