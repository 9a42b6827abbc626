"""Fit a body model to every session of a dataset file, stage by stage."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.apis.fit_options import FitOptions
from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.next_step import export_step, no_fps_stated
from smilfit.cli.parser import keywords_of
from smilfit.cli.terminal import print_table, progress_bar
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.apis.fitting.fit_run import FitRun

EXIT_CODES = exit_codes(
    'all went well',
    'done, and all files are written, but an image was not fitted, or a session or an image is judged not believable '
    '(verdict.json and report.html say why)',
)
STOPPED = 'Stopped. The same command goes on after the last whole session or window.'


@dataclass(frozen=True, kw_only=True)
class Arguments(FitOptions):
    """A command line of `fit`."""

    config: Path = option(
        help='a registrant config, such as configs/fit/multiview_keypoints.py', positional=True
    )
    data: Path = option(help='dataset file to fit', metavar='FILE.h5')
    out: Path = option(help='folder for the results', metavar='DIR')


@command(
    Arguments,
    'fit',
    (
        f'{__doc__} Writes per session the parameters (.npz and .json), numbers and an overlay video, and one '
        'report.html. A session that is already fitted the same way is not fitted again.'
    ),
    EXIT_CODES,
    stopped=STOPPED,
)
def main(options: Arguments) -> int:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.apis.fitting.fit_run import fit

    with progress_bar(sys.stderr.isatty()) as progress:
        done = fit(**keywords_of(options, progress=progress))
    return 0 if done is None else show_fit(done)


def show_fit(done: 'FitRun') -> int:
    """Print what came out; gives the exit code."""
    if done.benchmarks:
        _print_cameras(done)
    if done.points:
        _print_points(done)
    if any('masks' in result.report for result in done.results.values()):
        _print_masks(done)
    if done.images:
        _print_images(done)
    _print_swaps(done)
    _print_verdicts(done)
    print(f'report: {done.report}')
    _print_next(done)
    return INCOMPLETE if done.n_images_not_fitted or done.not_believable else 0


def _print_next(done: 'FitRun') -> None:
    """Print how the motion of a recording goes on to other programs; of an unbelievable one, that it should not."""
    if not done.fps:
        return
    if done.not_believable:
        print(f'next: look at {done.report}, which says what is not believable, before the fit is used')
        return
    assumed_fps = None
    if not all(done.fps.values()):
        from smilfit.io.recordings.videos import USUAL_FPS

        assumed_fps = USUAL_FPS
        print(no_fps_stated(assumed_fps))
    print(f'next: {export_step(done.report.parent, assumed_fps)}')


def _print_swaps(done: 'FitRun') -> None:
    """Print which labels of left and right were put back."""
    from smilfit.registrants.swaps import swap_sentences

    for session, result in done.results.items():
        for sentence in swap_sentences(result.report):
            print(f'{session}: {sentence}.')


def _print_verdicts(done: 'FitRun') -> None:
    """Print what each session's fit was judged to be, and why."""
    for session in done.results:
        verdict = done.verdicts.get(session)
        if verdict is None:
            print(f'{session}: not judged')
            continue
        words = dict.fromkeys(verdict.frame_words)
        counts = ', '.join(f'{verdict.count(word)} {word}' for word in words)
        print(f'{session}: {verdict.word} (frames: {counts})')
        for reason in verdict.reasons:
            print(f'  - {reason}')


def _print_cameras(done: 'FitRun') -> None:
    rows = [
        (
            session,
            row.camera,
            *map(_number, (row.median_fitted_px, row.common_triangulated_px, row.given_px, row.ratio)),
        )
        for session, benchmark in done.benchmarks.items()
        for row in benchmark.cameras
    ]
    print_table(
        'median distance of keypoints from annotated ones, px of the annotated images',
        ('session', 'camera', 'fit', 'no body', 'given 3D points', 'fit / no body'),
        rows,
        text=('session', 'camera'),
        caption='no body: points triangulated from the same labels',
    )


def _print_points(done: 'FitRun') -> None:
    rows = []
    for session, benchmark in done.points.items():
        medians = [(benchmark.median(k), name) for k, name in enumerate(benchmark.names)]
        worst, name = max((m for m in medians if m[0] == m[0]), default=(float('nan'), '-'))
        numbers = (benchmark.median(), benchmark.percentile(90))
        rows.append((session, *map(_number, numbers), name, _number(worst), f'{benchmark.size:.1f}'))
    unit = next((b.unit for b in done.points.values()), None) or 'world unit'
    print_table(
        f'distance of fitted keypoints from the given points, {unit}',
        ('session', 'median', '90 % below', 'worst keypoint', 'its median', "animal's size"),
        rows,
        text=('session', 'worst keypoint'),
    )


def _print_masks(done: 'FitRun') -> None:
    """Print how well silhouettes fill masks, where these came from, and which were refused."""
    from smilfit.evaluation import mask_rows, mask_sentences

    values = ('keypoints alone', 'with masks', 'as another time')
    print_table(
        'IoU of the body and masks of frames that took no part in the shape',
        ('session', 'camera', *values),
        [
            (session, row['camera'], *(_number(row[name]) for name in values))
            for session, result in done.results.items()
            for row in mask_rows(result.report)
            if row['frames'] == 'checked'
        ],
        text=('session', 'camera'),
    )
    for session, result in done.results.items():
        for sentence in mask_sentences(result.report):
            print(f'{session}: {sentence}')


def _print_images(done: 'FitRun') -> None:
    from smilfit.evaluation import summary

    rows = []
    for session, figures in done.images.items():
        means = summary(figures)
        start, fit = means.get('start', {}), means['fit']
        cells = []
        for name in ('mean_iou', 'mean_pck_5px', 'mean_median_px'):
            values = [part[name] for part in (start, fit) if name in part]
            cells.append(' -> '.join(f'{value:.2f}' for value in values) or None)
        rows.append((session, len(figures), *cells))
    print_table(
        'means over images: start -> fit',
        ('session', 'pictures', 'IoU', 'PCK@5px', 'median, px of a 224 px crop'),
        rows,
        text=('session',),
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f'{value:.2f}'
