"""`convert-checkpoint`: a trained regressor of SMILify becomes a checkpoint of smilfit."""

import argparse
from collections.abc import Sequence

from smilfit.cli.argument_types import positive_float
from smilfit.cli.command import add_import, add_traceback, run_command


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Convert a checkpoint of SMILify, single-view or multi-view. Writes OUT.pth, and OUT.py, the '
        'config to test it with. Nothing in the file is run.',
    )
    made.add_argument('checkpoint', metavar='IN.pth', help='best_model.pth of a training by SMILify')
    made.add_argument('out', metavar='OUT.pth', help='the checkpoint to write')
    made.add_argument('--body-model', required=True, metavar='FILE', help='the body model of its training')
    made.add_argument(
        '--cameras',
        nargs='+',
        metavar='NAME',
        help='the cameras of its training in alphabetical order, where the file does not name them',
    )
    made.add_argument(
        '--frame',
        choices=('world', 'first_camera'),
        help='the world it was trained in: the calibration’s, or that of first cameras (merged datasets); as the '
        'file has it if not given',
    )
    made.add_argument(
        '--unit',
        type=positive_float,
        default=1.0,
        metavar='FACTOR',
        help='the data’s units in one of the training’s: 1000 for data in mm, which SMILify brings to m (default: 1)',
    )
    made.add_argument('--force', action='store_true', help='replace OUT.pth and OUT.py')
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> None:
    from smilfit import apis

    done = apis.convert_smilify_checkpoint(
        arguments.checkpoint,
        arguments.out,
        arguments.body_model,
        camera_names=arguments.cameras,
        frame=arguments.frame,
        unit=arguments.unit,
        force=arguments.force,
    )
    print(f'checkpoint: {done.checkpoint}')
    print(f'config: {done.config}')
    if done.camera_names:
        print(f'cameras: {", ".join(done.camera_names)}')
    if done.left_out:
        print(f'left out, as they take no part: {len(done.left_out)} ({", ".join(done.left_out)})')
