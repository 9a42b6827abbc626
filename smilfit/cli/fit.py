"""Fit a body model to every session of a dataset file, stage by stage."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console
from rich.table import Table


def build_parser(prog: str = 'fit') -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__ + ' Writes per session the parameters (.npz and .json), numbers and an overlay '
        'video, and one report.html. A session that is already fitted the same way is not fitted again.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        'config', type=Path, help='a registrant config, such as configs/fit/multiview_keypoints.py'
    )
    parser.add_argument('--data', type=Path, required=True, metavar='FILE.h5', help='dataset file to fit')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the results')
    parser.add_argument(
        '--body-model', type=Path, help='body model file, instead of the one the dataset names'
    )
    parser.add_argument('--sessions', nargs='+', metavar='NAME', help='sessions to fit; all if not given')
    parser.add_argument('--device', default='cpu', help='where to compute, such as cpu or cuda:0')
    parser.add_argument(
        '--threads', type=int, default=1, help='CPU threads; the tensors of a fit are small, more is slower'
    )
    parser.add_argument(
        '--window-px', type=int, default=400, help='side of a camera in the overlay video, px'
    )
    parser.add_argument('--no-video', action='store_true', help='write no overlay videos')
    parser.add_argument('--overwrite', action='store_true', help='fit again what is fitted already')
    parser.add_argument('--traceback', action='store_true', help='show where in the code an error arose')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override config values, such as stages.0.n_iter=5',
    )
    return parser


def main(argv: Sequence[str] | None = None, prog: str = 'fit') -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input, 2 on a bad command line."""
    arguments = build_parser(prog).parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    # Imported late: --help should not wait for torch.
    import torch

    from smilfit.cli.fit_run import FitOptions, fit_dataset

    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    options = FitOptions(
        sessions=tuple(arguments.sessions or ()),
        device=arguments.device,
        window_px=arguments.window_px,
        video=not arguments.no_video,
        overwrite=arguments.overwrite,
        progress=sys.stderr.isatty(),
    )
    try:
        done = fit_dataset(
            arguments.config,
            arguments.data,
            arguments.out,
            body_model=arguments.body_model,
            cfg_options=arguments.cfg_options,
            options=options,
        )
    except (ValueError, KeyError, TypeError, OSError, FloatingPointError) as error:
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        if arguments.traceback:
            raise
        return 1
    finally:
        torch.set_num_threads(threads)
    console = Console()
    table = Table(title='median distance of fitted keypoints from annotated ones, px')
    for column in ('session', 'camera', 'fit', 'given 3D points', 'fit / given'):
        table.add_column(column, justify='left' if column in ('session', 'camera') else 'right')
    for session, benchmark in done.benchmarks.items():
        for row in benchmark.cameras:
            numbers = (row.median_fitted_px, row.common_given_px, row.ratio)
            table.add_row(session, row.camera, *('-' if n is None else f'{n:.2f}' for n in numbers))
    console.print(table)
    console.print(f'report: {done.report}', highlight=False, soft_wrap=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
