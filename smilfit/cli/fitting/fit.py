"""Fit a body model to every session of a dataset file, stage by stage."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from smilfit.apis.fit_options import FitOptions
from smilfit.cli.command import run_command
from smilfit.cli.next_step import export_step, no_fps_stated
from smilfit.cli.parser import given, make_parser
from smilfit.cli.progress_bar import progress_bar
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.apis.fitting.fit_run import FitRun

# Done, but something was left out, or is not believable.
EXIT_INCOMPLETE = 3
EXIT_CODES = (
    'Exit codes: 0 all went well; 1 nothing could be done; 2 a bad command line; 3 done, and all files are written, '
    'but an image was not fitted, or a session or an image is judged not believable (verdict.json and report.html '
    'say why).'
)
STOPPED = 'Stopped. The same command goes on after the last whole session or window.'


@dataclass(frozen=True, kw_only=True)
class Command(FitOptions):
    """What a command line says."""

    config: Path = option(
        help='a registrant config, such as configs/fit/multiview_keypoints.py', positional=True
    )
    data: Path = option(help='dataset file to fit', metavar='FILE.h5')
    out: Path = option(help='folder for the results', metavar='DIR')


def build_parser(prog: str | None = 'fit') -> argparse.ArgumentParser:
    """Describe the command line."""
    about = (
        f'{__doc__} Writes per session the parameters (.npz and .json), numbers and an overlay video, and one '
        'report.html. A session that is already fitted the same way is not fitted again.'
    )
    return make_parser(Command, prog, about, EXIT_CODES)


def main(argv: Sequence[str] | None = None, prog: str = 'fit') -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog, STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.apis import fit

    with progress_bar(sys.stderr.isatty()) as progress:
        done = fit(**given(arguments, Command) | {'progress': progress})
    return 0 if done is None else show_fit(done)


def show_fit(done: 'FitRun') -> int:
    """Print what came out; gives the exit code."""
    console = Console()
    if done.benchmarks:
        console.print(_camera_table(done))
    if done.points:
        console.print(_point_table(done))
    if any('masks' in result.report for result in done.results.values()):
        _print_masks(console, done)
    if done.images:
        console.print(_image_table(done))
    _print_swaps(console, done)
    _print_verdicts(console, done)
    console.print(f'report: {done.report}', highlight=False, soft_wrap=True)
    _print_next(done)
    return EXIT_INCOMPLETE if done.n_images_not_fitted or done.not_believable else 0


def _print_next(done: 'FitRun') -> None:
    """Return how the motion of a recording goes on to other programs; of an unbelievable one, that it should not."""
    if not done.fps:
        return
    if done.not_believable:
        print(f'next: look at {done.report}, which says what is not believable, before the fit is used')
        return
    taken = None
    if not all(done.fps.values()):
        from smilfit.io.recordings.videos import USUAL_FPS

        taken = USUAL_FPS
        print(no_fps_stated(taken))
    print(f'next: {export_step(done.report.parent, taken)}')


def _print_swaps(console: Console, done: 'FitRun') -> None:
    """Return which labels of left and right were put back."""
    from smilfit.registrants.swaps import swap_sentences

    for session, result in done.results.items():
        for sentence in swap_sentences(result.report):
            console.print(f'{session}: {sentence}.', highlight=False, soft_wrap=True, markup=False)


def _print_verdicts(console: Console, done: 'FitRun') -> None:
    """Report on every session what its fit was judged to be, and why."""
    for session in done.results:
        verdict = done.verdicts.get(session)
        if verdict is None:
            console.print(f'{session}: not judged', highlight=False, soft_wrap=True, markup=False)
            continue
        words = list(dict.fromkeys(verdict.frame_words))
        counts = ', '.join(f'{verdict.count(word)} {word}' for word in words)
        console.print(
            f'{session}: {verdict.word} (frames: {counts})', highlight=False, soft_wrap=True, markup=False
        )
        for reason in verdict.reasons:
            console.print(f'  - {reason}', highlight=False, soft_wrap=True, markup=False)


def _camera_table(done: 'FitRun') -> Table:
    table = Table(
        title='median distance of keypoints from annotated ones, px of the annotated images',
        caption='no body: points triangulated from the same labels',
    )
    for column in (
        'session',
        'camera',
        'fit',
        'no body',
        'given 3D points',
        'fit / no body',
    ):
        # Names that are cut are alike.
        text = column in ('session', 'camera')
        table.add_column(column, justify='left' if text else 'right', overflow='fold' if text else 'ellipsis')
    for session, benchmark in done.benchmarks.items():
        for row in benchmark.cameras:
            numbers = (row.median_fitted_px, row.common_triangulated_px, row.given_px, row.ratio)
            table.add_row(session, row.camera, *('-' if n is None else f'{n:.2f}' for n in numbers))
    return table


def _point_table(done: 'FitRun') -> Table:
    unit = next((b.unit for b in done.points.values()), None) or 'world unit'
    table = Table(title=f'distance of fitted keypoints from the given points, {unit}')
    for column in ('session', 'median', '90 % below', 'worst keypoint', 'its median', "animal's size"):
        text = column in ('session', 'worst keypoint')
        table.add_column(column, justify='left' if text else 'right', overflow='fold' if text else 'ellipsis')
    for session, benchmark in done.points.items():
        medians = [(benchmark.median(k), name) for k, name in enumerate(benchmark.names)]
        worst, name = max((m for m in medians if m[0] == m[0]), default=(float('nan'), '-'))
        numbers = (benchmark.median(), benchmark.percentile(90))
        cells = [f'{n:.2f}' for n in numbers]
        table.add_row(session, *cells, name, f'{worst:.2f}', f'{benchmark.size:.1f}')
    return table


def _print_masks(console: Console, done: 'FitRun') -> None:
    """Return how well silhouettes fill masks, where these came from, and which were refused."""
    from smilfit.evaluation import mask_sentences

    console.print(_mask_table(done))
    for session, result in done.results.items():
        for sentence in mask_sentences(result.report):
            console.print(f'{session}: {sentence}', highlight=False, soft_wrap=True, markup=False)


def _mask_table(done: 'FitRun') -> Table:
    from smilfit.evaluation import mask_rows

    table = Table(title='IoU of the body and masks of frames that took no part in the shape')
    for column in ('session', 'camera', 'keypoints alone', 'with masks', 'as another time'):
        table.add_column(column, justify='left' if column in ('session', 'camera') else 'right')
    for session, result in done.results.items():
        for row in mask_rows(result.report):
            if row['frames'] == 'checked':
                values = [row[name] for name in ('keypoints alone', 'with masks', 'as another time')]
                table.add_row(session, row['camera'], *('-' if v is None else f'{v:.2f}' for v in values))
    return table


def _image_table(done: 'FitRun') -> Table:
    from smilfit.evaluation import summary

    table = Table(title='means over images: start -> fit')
    for column in ('session', 'pictures', 'IoU', 'PCK@5px', 'median, px of a 224 px crop'):
        table.add_column(column, justify='left' if column == 'session' else 'right')
    for session, figures in done.images.items():
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
