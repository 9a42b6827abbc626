"""Fit a body model to every session of a dataset file, stage by stage."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from smilfit.apis.output_paths import check_output_folder
from smilfit.cli.argument_types import KeyValues, device, int_from
from smilfit.cli.errors import run_reporting_errors

if TYPE_CHECKING:
    from smilfit.apis.fit_run import FitRun

# As in engine/launch.py, which would bring torch with it.
LAUNCHERS = ('none', 'pytorch', 'slurm')
# A process that has done its sessions waits for one that still fits; one that is not heard any more ends the run.
PATIENCE = timedelta(days=14)
# Done, but something was left out.
PARTLY = 3
STOPPED = 'Stopped. The same command goes on after the last whole session or window.'


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
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes that share the work: python -m torch.distributed.run (pytorch) or srun '
        '(slurm). Each takes whole sessions; where there are fewer sessions than processes, stages solved by '
        'LevenbergMarquardt without motion terms are fitted by all together, each on a part of the frames',
    )
    parser.add_argument('--overwrite', action='store_true', help='fit again what is fitted already')
    add_fit_options(parser)
    return parser


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Add how a fit is computed and what is written of it."""
    parser.add_argument(
        '--device',
        type=device,
        default='cpu',
        help='where to compute: cpu, cuda, cuda:0 (or another number) or auto; with a launcher, cuda gives each '
        'process its own',
    )
    parser.add_argument(
        '--threads',
        type=int_from(1, 1024),
        default=1,
        help='CPU threads; the tensors of a fit are small, more is slower',
    )
    parser.add_argument(
        '--window-px',
        type=int_from(16, 4096),
        default=400,
        help='side of a camera in the overlay video, px',
    )
    parser.add_argument(
        '--meshes',
        choices=('obj', 'ply', 'none'),
        help='write the mesh of every frame in this format; if not given, obj for pictures and none for recordings',
    )
    parser.add_argument('--no-video', action='store_true', help='write no overlay videos')
    parser.add_argument('--traceback', action='store_true', help='show where in the code an error arose')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override config values, such as stages.0.n_iter=5',
    )


def main(argv: Sequence[str] | None = None, prog: str = 'fit') -> int:
    """Run the command.

    0 if all went well, 1 with a message on bad input, 2 on a bad command line, 3 if a picture was not fitted.
    """
    return run(build_parser(prog).parse_args(argv))


def run(arguments: argparse.Namespace) -> int:
    """Run what a parsed command line asks for; as `main`, and 3 where a picture could not be fitted."""
    return run_reporting_errors(_run, arguments, STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    check_output_folder(arguments.out, '--out')
    # Imported late: --help should not wait for torch.
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        done = _fit(arguments)
    finally:
        torch.set_num_threads(threads)
    if done is None:
        return 0
    _tell(done)
    return PARTLY if done.n_pictures_not_fitted else 0


def _fit(arguments: argparse.Namespace) -> 'FitRun | None':
    from smilfit.apis.fit_run import fit_dataset
    from smilfit.apis.fit_session import FitOptions
    from smilfit.engine.launch import process_group
    from smilfit.solvers import DistributedProcesses, Processes

    # Sums are small and taken on the CPU, on whatever device the bodies are: the CPU's way of talking serves.
    with process_group(arguments.launcher, 'cpu', PATIENCE):
        alone = arguments.launcher == 'none'
        processes = Processes() if alone else DistributedProcesses()
        options = FitOptions(
            sessions=tuple(arguments.sessions or ()),
            device=_chosen_device(arguments.device, alone),
            window_px=arguments.window_px,
            video=not arguments.no_video,
            overwrite=arguments.overwrite,
            mesh_format=arguments.meshes or '',
            progress=sys.stderr.isatty() and processes.rank == 0,
        )
        return fit_dataset(
            arguments.config,
            arguments.data,
            arguments.out,
            body_model=arguments.body_model,
            cfg_options=arguments.cfg_options,
            options=options,
            processes=processes,
        )


def _chosen_device(name: str, alone: bool) -> str:
    """Decide where to compute; each process of a machine gets a GPU of its own where no number is asked for.

    Raises:
        ValueError: the machine has no such device.
    """
    import torch

    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'cuda' and not alone:
        name = f'cuda:{os.environ["LOCAL_RANK"]}'
    found = torch.device(name)
    if found.type == 'cuda' and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f'--device: {name} must be there; torch finds {torch.cuda.device_count()} CUDA devices. Use --device cpu.'
        )
    return name


def _tell(done: 'FitRun') -> None:
    console = Console()
    if done.benchmarks:
        console.print(_camera_table(done))
    if done.pictures:
        console.print(_picture_table(done))
    console.print(f'report: {done.report}', highlight=False, soft_wrap=True)


def _camera_table(done: 'FitRun') -> Table:
    table = Table(title='median distance of fitted keypoints from annotated ones, px')
    for column in ('session', 'camera', 'fit', 'given 3D points', 'fit / given'):
        table.add_column(column, justify='left' if column in ('session', 'camera') else 'right')
    for session, benchmark in done.benchmarks.items():
        for row in benchmark.cameras:
            numbers = (row.median_fitted_px, row.common_given_px, row.ratio)
            table.add_row(session, row.camera, *('-' if n is None else f'{n:.2f}' for n in numbers))
    return table


def _picture_table(done: 'FitRun') -> Table:
    from smilfit.evaluation import summary

    table = Table(title='means over pictures: start -> fit')
    for column in ('session', 'pictures', 'IoU', 'PCK@5px', 'median, px of a 224 px crop'):
        table.add_column(column, justify='left' if column == 'session' else 'right')
    for session, figures in done.pictures.items():
        means = summary(figures)
        start, fit = means.get('start', {}), means['fit']
        cells = []
        for name in ('mean_iou', 'mean_pck_5px', 'mean_median_px'):
            values = [part[name] for part in (start, fit) if name in part]
            cells.append(' -> '.join(f'{value:.2f}' for value in values) or '-')
        table.add_row(session, str(len(figures)), *cells)
    return table


if __name__ == '__main__':
    sys.exit(main())
