"""Make a dataset file from recorded sessions, annotated images or dataset files of SMILify."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from smilfit.cli.command import INCOMPLETE, exit_codes, run_command
from smilfit.cli.data.format_facts import format_facts
from smilfit.cli.next_step import fit_step
from smilfit.cli.parser import LaterParser, add_import, add_traceback
from smilfit.cli.terminal import print_table, progress_bar
from smilfit.registry import ANNOTATIONS

if TYPE_CHECKING:
    from smilfit.apis.preprocessing.data_source import DataSource
    from smilfit.apis.preprocessing.make_dataset import PreprocessRun
    from smilfit.body_models import BodyModelData
    from smilfit.datasets import SessionPlan

# The formats in a line each.
FORMATS = format_facts()['summaries'] | {
    'points3d': 'points in space without images',
    'sleap': 'multi-camera sessions calibrated with anipose or single views, labelled with SLEAP',
    'smilify': "dataset files (HDF5) of SMILify's preprocessors",
}
# So many left-out entries are shown; the report beside the file has all.
MOST_SHOWN = 20
_MOST_COLUMNS = 8


def build_parser(
    prog: str | None = 'preprocess',
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
        epilog=exit_codes(
            'all went well',
            'done, but entries were left out, each reported with file and entry in OUT.h5.report.json',
        ),
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
    from smilfit.cli.data.preprocess_arguments import add_format

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
    from smilfit.cli.data.preprocess_arguments import options_of, source_of

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
    code = show_run(done, arguments)
    if not arguments.quiet and (step := fit_step(arguments.format, done.path)) is not None:
        print(f'next: {step}')
    return code


def show_plan(source: 'DataSource', out: Path, arguments: argparse.Namespace) -> int:
    """Print what would be done; gives the exit code."""
    from smilfit.apis.preprocessing.make_dataset import plan_preprocess
    from smilfit.cli.data.preprocess_arguments import options_of

    made = plan_preprocess(source, out, arguments.body_model, options_of(arguments))
    for plan in made.plans:
        _print_plan(plan, made.body)
    _print_left_out(made.left_out, None)
    return INCOMPLETE if made.left_out else 0


def show_run(done: 'PreprocessRun', arguments: argparse.Namespace) -> int:
    """Print what came out; gives the exit code."""
    if not arguments.quiet:
        _print_report(done.report)
        _print_left_out(done.left_out, done.path)
        print(done.path)
    return INCOMPLETE if done.left_out else 0


def _print_plan(plan: 'SessionPlan', body: 'BodyModelData') -> None:
    """Print what a dry run knows of a session."""
    rows = []
    for c, name in enumerate(plan.cameras.names):
        px = plan.counts.get('camera_median_px', {}).get(name)
        counts = (plan.view_mask[:, c].sum(), (plan.confidence2d[:, c] > 0).sum())
        dropped = _dropped(plan.counts['cameras'][name])
        rows.append((name, _sizes(plan, c), *counts, dropped, 'unknown' if px is None else f'{px:.1f}'))
    print_table(
        f'{plan.session.name}: {plan.counts["frames_stored"]} frames would be stored',
        ('camera', 'image, px', 'views', 'keypoints', 'below threshold', 'median from 3D points, px'),
        rows,
        text=('camera',),
    )
    missing = [name for name in body.joint_names if name not in plan.names]
    print(f'{len(plan.names)} keypoints matched: {", ".join(plan.names)}')
    print(f'{len(missing)} joints without a label: {", ".join(missing) or "none"}')


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


def _print_report(report: Mapping[str, Any]) -> None:
    """Print the counts of what was kept and left out, and each camera's labels."""
    sessions = report['sessions']
    # A set of many sequences would be wider than any screen.
    shown = {name: sessions[name] for name in sessions if len(sessions) <= _MOST_COLUMNS}
    counted = shown if len(shown) == 1 else shown | {'all': report['totals']}
    rows = [(key.replace('_', ' '), *(c.get(key, '') for c in counted.values())) for key in report['totals']]
    print_table('kept and left out', ('', *counted), rows, text=('',))
    if any(counts['cameras'] for counts in shown.values()):
        rows = [
            (session, camera, row['labels'], _dropped(row))
            for session, counts in sessions.items()
            for camera, row in counts['cameras'].items()
        ]
        columns = ('session', 'camera', 'labels', 'below threshold')
        print_table('labels by camera', columns, rows, text=('session', 'camera'))


def _print_left_out(left_out: Sequence[Mapping[str, str]], out: Path | None) -> None:
    """Print which entries were left out, the first ones here and where the rest is."""
    if not left_out:
        return
    print(f'{len(left_out)} entries left out:')
    for entry in left_out[:MOST_SHOWN]:
        print(f'  {entry["where"]}: {entry["reason"]}')
    more = len(left_out) - MOST_SHOWN
    if more > 0:
        print(f'  and {more} more{"" if out is None else f" in {out}.report.json"}')
