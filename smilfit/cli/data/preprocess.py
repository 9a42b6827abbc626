"""Make a dataset file from recorded sessions, annotated images or dataset files of SMILify."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from smilfit.cli.command import add_import, add_traceback, run_command
from smilfit.cli.next_step import fit_step
from smilfit.cli.parser import LaterParser
from smilfit.cli.progress_bar import progress_bar
from smilfit.registry import ANNOTATIONS

if TYPE_CHECKING:
    from smilfit.apis.preprocessing.data_source import DataSource
    from smilfit.apis.preprocessing.make_dataset import PreprocessRun
    from smilfit.body_models import BodyModelData
    from smilfit.datasets import SessionPlan

# The formats in a line each; their readers, which say the same, would bring torch with them.
FORMATS = {
    'animal3d': 'Reads `{"data": [...]}`, one animal an image.',
    'animalkey': 'Reads a folder of frames, or a folder of such folders, each a sequence in time.',
    'animalpose': 'Read `animal_pose_data.json`; images are those of PASCAL VOC.',
    'anipose': "Reads a session's folder: `pose-2d*/<video>.h5|csv`, `pose-3d*/<trial>.csv`, a calibration, "
    '`videos-raw/`.',
    'badja': "Read one of BADJA's JSON files, which is one video, or a folder of them.",
    'coco': "Read COCO's JSON: `images`, `annotations`, `categories`. Every annotation is an entry of its own.",
    'dlc': 'Reads tables of DeepLabCut, csv or h5, of one animal or several.',
    'grevyzebra': 'Reads a folder of `<image>_ferrari-tail-face.mat` files: a struct `annotation` of `kp` and '
    '`invisible`.',
    'lightningpose': 'Reads csv files of LightningPose.',
    'points3d': 'points in space without images',
    'replicant': 'Read one JSON file, `_BatchData_<name>.json` for its whole batch, or a folder of batches.',
    'sleap': 'multi-camera sessions calibrated with anipose or single views, labelled with SLEAP',
    'smilify': "dataset files (HDF5) of SMILify's preprocessors",
    'stanfordextra': "Read StanfordExtra's JSON: a list of dogs, with images relative to Stanford Dogs' folder "
    '`Images`.',
    'tigdog': 'Reads a folder `behaviorDiscovery2.0`: `ranges/<animal>/ranges.mat` and '
    '`landmarks/<animal>/<shot>.mat`.',
}
# Done, but entries were left out.
LEFT_OUT = 3
# So many left-out entries are shown; the report beside the file has all.
MOST_SHOWN = 20


def build_parser(
    prog: str = 'preprocess',
    about: str | None = __doc__,
    out: tuple[str, str] = ('OUT.h5', 'the dataset file to make'),
    extend: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> argparse.ArgumentParser:
    """Describe the command line: a subcommand a format.

    Args:
        prog: the command's name.
        about: what it does.
        out: how its result is called, and what that is.
        extend: adds options of another command that preprocesses first.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=about,
        epilog='Exit codes: 0 all went well; 1 nothing could be done; 2 a bad command line; 3 done, but entries were '
        'left out, each reported with file and entry in OUT.h5.report.json.',
    )
    add_import(parser)
    formats = parser.add_subparsers(dest='format', required=True, metavar='FORMAT', parser_class=LaterParser)
    for name, summary in sorted(_known_formats().items()):
        fill = partial(_describe, name=name, summary=summary, out=out, extend=extend)
        formats.add_parser(name, help=summary.replace('%', '%%'), fill=fill)
    return parser


def _known_formats() -> dict[str, str]:
    """Return the formats with a line each, those among them that a user's import registered."""
    own = {name: (reader.__doc__ or '').strip() for name, reader in ANNOTATIONS.module_dict.items()}
    return {name: text.partition('\n')[0] for name, text in own.items()} | FORMATS


def _describe(
    made: argparse.ArgumentParser,
    name: str,
    summary: str,
    out: tuple[str, str],
    extend: Callable[[argparse.ArgumentParser], None],
) -> None:
    # Imported late: a list of the formats should not wait for what reads them.
    from smilfit.cli.data.preprocess_options import add_format

    add_format(made, name, summary, out)
    extend(made)
    add_traceback(made)
    add_import(made)


def main(argv: Sequence[str] | None = None, prog: str = 'preprocess') -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog, 'Stopped. The same command goes on where it was.')


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.apis.preprocessing.data_source import annotation_readers
    from smilfit.apis.preprocessing.make_dataset import preprocess
    from smilfit.cli.data.preprocess_options import options_of, source_of

    source = source_of(arguments, annotation_readers().get(arguments.format))
    if arguments.dry_run:
        return show_plan(source, arguments.out, arguments)
    with progress_bar(not arguments.quiet and Console().is_terminal) as progress:
        done = preprocess(
            source,
            arguments.out,
            arguments.body_model,
            options_of(arguments),
            restart=arguments.restart,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    return show_run(done, arguments)


def show_plan(source: 'DataSource', out: Path, arguments: argparse.Namespace) -> int:
    """Print what would be done; gives the exit code."""
    from smilfit.apis.preprocessing.make_dataset import plan_preprocess
    from smilfit.cli.data.preprocess_options import options_of

    console = Console()
    plan = plan_preprocess(source, out, arguments.body_model, options_of(arguments))
    print_findings(console, plan.plans, plan.body)
    print_left_out(console, plan.left_out, None)
    return LEFT_OUT if plan.left_out else 0


def show_run(done: 'PreprocessRun', arguments: argparse.Namespace) -> int:
    """Print what came out; gives the exit code."""
    if not arguments.quiet:
        console = Console()
        print_report(console, done.report)
        print_left_out(console, done.left_out, done.path)
        console.print(f'{done.path}', highlight=False, soft_wrap=True)
        if (step := fit_step(arguments.format, done.path)) is not None:
            print(f'next: {step}')
    return LEFT_OUT if done.left_out else 0


def print_findings(console: Console, plans: Sequence['SessionPlan'], body: 'BodyModelData') -> None:
    """Show what a dry run found, session by session."""
    columns = ('camera', 'image, px', 'views', 'keypoints', 'below threshold', 'median from 3D points, px')
    for plan in plans:
        table = Table(title=f'{plan.session.name}: {plan.counts["frames_stored"]} frames would be stored')
        for column in columns:
            table.add_column(column, justify='left' if column == 'camera' else 'right')
        for c, name in enumerate(plan.cameras.names):
            px = plan.counts.get('camera_median_px', {}).get(name)
            dropped = _dropped(plan.counts['cameras'][name])
            row = (plan.view_mask[:, c].sum(), (plan.confidence2d[:, c] > 0).sum(), dropped)
            table.add_row(name, _sizes(plan, c), *map(str, row), 'unknown' if px is None else f'{px:.1f}')
        console.print(table)
        missing = [name for name in body.joint_names if name not in plan.names]
        console.print(f'{len(plan.names)} keypoints matched: {", ".join(plan.names)}', soft_wrap=True)
        console.print(
            f'{len(missing)} joints without a label: {", ".join(missing) or "none"}', soft_wrap=True
        )


def _dropped(counts: Mapping[str, Any]) -> str:
    lost, threshold = counts['labels_below_threshold'], counts['confidence_threshold']
    if threshold == 0:
        return '0, all count'
    share = 100 * lost / counts['labels'] if counts['labels'] else 0
    return f'{lost} ({share:.0f} %) < {threshold:g}'


def _sizes(plan: 'SessionPlan', c: int) -> str:
    sizes = plan.cameras.size[..., c, :].reshape(-1, 2)
    low, high = ('x'.join(str(int(v)) for v in size) for size in (sizes.amin(0), sizes.amax(0)))
    return low if low == high else f'{low} to {high}'


def print_report(console: Console, report: dict[str, Any]) -> None:
    """Show the counts of what was kept and left out."""
    table = Table(title='kept and left out')
    table.add_column('')
    names = list(report['sessions'])
    # A set of many sequences would be wider than any screen.
    shown = names if len(names) <= 8 else []
    for name in shown:
        table.add_column(name, justify='right')
    if len(shown) != 1:
        table.add_column('all', justify='right')
    for key, total in report['totals'].items():
        cells = [str(report['sessions'][name].get(key, '')) for name in shown]
        table.add_row(key.replace('_', ' '), *cells, *([str(total)] if len(shown) != 1 else []))
    console.print(table)
    if any(report['sessions'][name]['cameras'] for name in shown):
        _print_cameras(console, report['sessions'])


def _print_cameras(console: Console, sessions: Mapping[str, Mapping[str, Any]]) -> None:
    """Show each camera's labels, and how many the threshold leaves out."""
    table = Table(title='labels by camera')
    for column in ('session', 'camera', 'labels', 'below threshold'):
        table.add_column(column, justify='left' if column in ('session', 'camera') else 'right')
    for session, counts in sessions.items():
        for camera, row in counts['cameras'].items():
            table.add_row(session, camera, str(row['labels']), _dropped(row))
    console.print(table)


def print_left_out(console: Console, left_out: Sequence[dict[str, str]], out: Path | None) -> None:
    """Name entries that were left out, the first ones here and where the rest is."""
    if not left_out:
        return
    console.print(f'{len(left_out)} entries left out:')
    for entry in left_out[:MOST_SHOWN]:
        console.print(f'  {entry["where"]}: {entry["reason"]}', highlight=False, soft_wrap=True, markup=False)
    more = len(left_out) - MOST_SHOWN
    if more > 0:
        where = '' if out is None else f' in {out}.report.json'
        console.print(f'  and {more} more{where}', highlight=False, soft_wrap=True, markup=False)
