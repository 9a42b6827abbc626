"""Fit a body model to annotated pictures or single-view videos, from the annotation file to meshes and overlays.

Makes OUT/pictures.h5 as `preprocess` does and fits it as `fit` does; a run that was stopped goes on where it was
when the same command is given again.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from smilfit.apis.output_paths import check_output_folder
from smilfit.cli import fit, preprocess
from smilfit.cli.errors import run_reporting_errors
from smilfit.cli.preprocess_options import add_option
from smilfit.files import writing

CONFIG = 'configs/fit/smalify.py'
DATASET = 'pictures.h5'


def build_parser(prog: str = 'fit_images') -> argparse.ArgumentParser:
    """Describe the command line: a subcommand an annotation format."""
    return preprocess.build_parser(prog, __doc__, ('OUT', 'folder for the results'), _extend)


def _extend(parser: argparse.ArgumentParser) -> None:
    help_text = f'a registrant config (default: {CONFIG})'
    add_option(parser, 'config', type=Path, default=Path(CONFIG), metavar='FILE', help=help_text)
    fit.add_fit_options(parser)


def main(argv: Sequence[str] | None = None, prog: str = 'fit_images') -> int:
    """Run the command.

    0 if all went well, 1 with a message on bad input, 2 on a bad command line, 3 if an entry was left out.
    """
    return run_reporting_errors(_run, build_parser(prog).parse_args(argv), fit.STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    folder = arguments.out
    if folder.suffix == '.h5' or folder.is_file():
        raise NotADirectoryError(f'{folder}: OUT must be a folder; got a file. Name a folder.')
    check_output_folder(folder, 'OUT')
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    arguments.out = folder / DATASET
    made = preprocess.run(arguments)
    if made not in (0, fit.PARTLY) or arguments.dry_run:
        return made
    arguments.data, arguments.out = folder / DATASET, folder
    arguments.sessions, arguments.launcher = None, 'none'
    return fit.run(arguments) or made


if __name__ == '__main__':
    sys.exit(main())
