"""Make a dataset file from recorded sessions."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from smilfit.body_models import BodyModelData, load_body_model_data
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets import (
    CROP_MODES,
    PreprocessOptions,
    SessionPlan,
    plan_session,
    preprocess,
    shared_keypoint_names,
)
from smilfit.io import SleapSession, check_lookup, find_sessions, read_joint_lookup, read_shape_betas
from smilfit.io.calibration import read_calibration
from smilfit.registry import UnknownNameError, did_you_mean

_DEFAULTS = PreprocessOptions()

# Option of PreprocessOptions -> argparse's arguments; the help gains the default.
_OPTIONS: dict[str, dict[str, Any]] = {
    'max_frames_per_session': {
        'type': int,
        'help': 'frames to take of each session at most; all if not given',
    },
    'frame_skip': {'type': int, 'help': 'take every n-th of the frames that have enough views'},
    'min_views': {'type': int, 'help': 'cameras that must see a keypoint for a frame to count'},
    'crop_mode': {
        'choices': CROP_MODES,
        'help': 'default: the whole picture made square; centred: its central square; bbox_crop: a square '
        'around the keypoints',
    },
    'bbox_margin': {'type': float, 'help': "side of bbox_crop's square over the keypoints' extent"},
    'target_resolution': {'type': int, 'help': 'side of the stored pictures, px'},
    'no_3d_data': {'action': 'store_true', 'help': 'store no 3D keypoints'},
    'retriangulate': {
        'action': 'store_true',
        'help': 'triangulate 3D keypoints although points3d.h5 is there',
    },
    'no_undistort': {'action': 'store_true', 'help': 'store pictures as the lens made them'},
    'confidence_threshold': {'type': float, 'help': 'labels of a smaller score (0 to 1) count as missing'},
    'use_reprojections': {'action': 'store_true', 'help': 'take 2D keypoints from reprojections.h5'},
    'num_workers': {'type': int, 'help': 'threads that cut and encode pictures while others are decoded'},
    'exclude_cameras': {'nargs': '+', 'metavar': 'NAME', 'help': 'cameras to leave out'},
    'allow_inconsistent_cameras': {
        'nargs': '+',
        'metavar': 'NAME',
        'help': 'cameras to keep although they contradict the others',
    },
    'jpeg_quality': {'type': int, 'help': 'quality of the stored pictures, 1 to 100'},
}


def build_parser(prog: str = 'preprocess') -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    formats = parser.add_subparsers(dest='format', required=True, metavar='FORMAT')
    sleap = formats.add_parser(
        'sleap',
        help='multi-camera sessions labelled with SLEAP and calibrated with anipose',
        description='Make a dataset file from multi-camera sessions labelled with SLEAP. A session is a folder '
        'with calibration.toml and one folder a camera, each with labels (.slp or analysis .h5) and a video. '
        'A run that was stopped goes on where it was when the same command is given again.',
    )
    sleap.add_argument(
        'sessions', type=Path, metavar='SESSIONS_DIR', help='a session, or a folder of sessions'
    )
    sleap.add_argument('out', type=Path, metavar='OUT.h5', help='the dataset file to make')
    _add(sleap, 'body_model', type=Path, required=True, metavar='FILE', help='body model (.smil.json, .pkl)')
    _add(sleap, 'joint_lookup', type=Path, metavar='CSV', help='model keypoint -> label (columns model,data)')
    _add(sleap, 'shape_betas', type=Path, metavar='CSV', help='known shapes (columns label,PC1,PC2,...)')
    _add(sleap, 'unit', metavar='UNIT', help='world unit where the calibration states none, such as mm')
    _add(sleap, 'partial_labels', action='store_true', help='labels may end before their video')
    for name, arguments in _OPTIONS.items():
        default = getattr(_DEFAULTS, name)
        shown = '' if default in (None, (), False) else f' (default: {default})'
        _add(sleap, name, default=default, **(arguments | {'help': arguments['help'] + shown}))
    _add(sleap, 'dry_run', action='store_true', help='say what would be done, write nothing')
    _add(sleap, 'restart', action='store_true', help="throw a stopped run's partial file away")
    _add(sleap, 'overwrite', action='store_true', help='replace OUT.h5')
    _add(sleap, 'quiet', action='store_true', help='no progress bar, no table')
    return parser


def _add(parser: argparse.ArgumentParser, name: str, **arguments: Any) -> None:
    """Add an option in both spellings, `--like-this` and `--like_this`."""
    spellings = dict.fromkeys((f'--{name.replace("_", "-")}', f'--{name}'))
    parser.add_argument(*spellings, dest=name, **arguments)


def main(argv: Sequence[str] | None = None, prog: str = 'preprocess') -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input, 2 on a bad command line."""
    arguments = build_parser(prog).parse_args(argv)
    try:
        _sleap(arguments)
    except (ValueError, KeyError, OSError) as error:
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('Stopped. The same command goes on where it was.', file=sys.stderr)
        return 130
    return 0


def _sleap(arguments: argparse.Namespace) -> None:
    values = {f.name: getattr(arguments, f.name) for f in fields(PreprocessOptions)}
    options = PreprocessOptions(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    body = load_body_model_data(arguments.body_model)
    betas = read_shape_betas(arguments.shape_betas) if arguments.shape_betas else {}
    if arguments.joint_lookup:
        lookup = read_joint_lookup(arguments.joint_lookup)
        check_lookup(lookup, model_names=keypoint_definitions(body), where=str(arguments.joint_lookup))
    folders = find_sessions(arguments.sessions)
    excluded = _excluded_of(folders, options.exclude_cameras)
    sessions = [
        SleapSession(
            folder,
            joint_lookup=arguments.joint_lookup,
            exclude_cameras=excluded[folder],
            # The pipeline applies the threshold, so that it can count what falls below.
            confidence_threshold=0.0,
            use_reprojections=options.use_reprojections,
            with_3d=not options.no_3d_data,
            unit=arguments.unit,
            partial_labels=arguments.partial_labels,
        )
        for folder in folders
    ]
    console = Console()
    if arguments.dry_run:
        names = shared_keypoint_names(sessions, body)
        plans = [plan_session(s, [n for n in names if n in s.keypoint_names], options) for s in sessions]
        _print_findings(console, plans, body)
        return
    report = preprocess(
        sessions,
        arguments.out,
        body,
        options,
        body_model_file=_portable(arguments.body_model, arguments.out),
        shape_betas=betas,
        progress=not arguments.quiet and console.is_terminal,
        restart=arguments.restart,
        overwrite=arguments.overwrite,
    )
    if not arguments.quiet:
        _print_report(console, report)
        console.print(f'{arguments.out}', highlight=False, soft_wrap=True)


def _portable(file: Path, out: Path) -> Path:
    """Name a file relative to the dataset where it lies beside or below it, so that both can move together."""
    file, folder = file.resolve(), out.parent.resolve()
    return file.relative_to(folder) if file.is_relative_to(folder) else file


def _excluded_of(folders: Sequence[Path], exclude: Sequence[str]) -> dict[Path, tuple[str, ...]]:
    """Give each session the excluded cameras that it has; every name must be in some session."""
    known = {}
    for folder in folders:
        calibration = folder / 'calibration.toml'
        names = set(read_calibration(calibration).names) if calibration.is_file() else set()
        known[folder] = names | {path.name for path in folder.iterdir() if path.is_dir()}
    for name in exclude:
        everywhere = set().union(*known.values())
        if name not in everywhere:
            raise UnknownNameError(
                f'--exclude-cameras: no camera {name!r}. {did_you_mean(name, sorted(everywhere))}'
            )
    return {folder: tuple(name for name in exclude if name in known[folder]) for folder in folders}


def _print_findings(console: Console, plans: Sequence[SessionPlan], body: BodyModelData) -> None:
    for plan in plans:
        table = Table(title=f'{plan.session.name}: {plan.counts["frames_stored"]} frames would be stored')
        for column in ('camera', 'picture, px', 'views', 'keypoints', 'median from 3D points, px'):
            table.add_column(column, justify='left' if column == 'camera' else 'right')
        for c, name in enumerate(plan.cameras.names):
            width, height = (int(x) for x in plan.cameras.size[c])
            px = plan.counts['camera_median_px'].get(name)
            row = (plan.view_mask[:, c].sum(), (plan.confidence2d[:, c] > 0).sum())
            table.add_row(name, f'{width}x{height}', *map(str, row), 'unknown' if px is None else f'{px:.1f}')
        console.print(table)
        missing = [name for name in body.joint_names if name not in plan.names]
        console.print(f'{len(plan.names)} keypoints matched: {", ".join(plan.names)}', soft_wrap=True)
        console.print(
            f'{len(missing)} joints without a label: {", ".join(missing) or "none"}', soft_wrap=True
        )


def _print_report(console: Console, report: dict[str, Any]) -> None:
    table = Table(title='kept and left out')
    table.add_column('')
    names = list(report['sessions'])
    for name in names:
        table.add_column(name, justify='right')
    if len(names) > 1:
        table.add_column('all', justify='right')
    for key, total in report['totals'].items():
        cells = [str(report['sessions'][name][key]) for name in names]
        table.add_row(key.replace('_', ' '), *cells, *([str(total)] if len(names) > 1 else []))
    console.print(table)


if __name__ == '__main__':
    sys.exit(main())
