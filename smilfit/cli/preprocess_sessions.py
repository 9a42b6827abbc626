"""Preprocess multi-camera sessions labelled with SLEAP."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from smilfit.apis.output_paths import check_not_an_input
from smilfit.body_models import load_body_model_data
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.cli.preprocess_options import add_option, options_of
from smilfit.cli.preprocess_tables import print_findings, print_report
from smilfit.datasets import plan_session, preprocess, shared_keypoint_names
from smilfit.io import SleapSession, check_lookup, find_sessions, read_joint_lookup, read_shape_betas
from smilfit.io.calibration import read_calibration
from smilfit.io.session_folder import CALIBRATION_FILE
from smilfit.registry import UnknownNameError, did_you_mean

# What lies beside the cameras' folders.
_FILES = (CALIBRATION_FILE, 'points3d.h5', 'reprojections.h5')


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add what only sessions of several cameras take."""
    add_option(
        parser, 'shape_betas', type=Path, metavar='CSV', help='known shapes (columns label,PC1,PC2,...)'
    )
    add_option(parser, 'partial_labels', action='store_true', help='labels may end before their video')


def run_sessions(arguments: argparse.Namespace) -> int:
    """Make the dataset file; 0."""
    options = options_of(arguments, crop_mode=arguments.crop_mode or 'default')
    body = load_body_model_data(arguments.body_model)
    betas = read_shape_betas(arguments.shape_betas) if arguments.shape_betas else {}
    if arguments.keypoint_map:
        lookup = read_joint_lookup(arguments.keypoint_map)
        check_lookup(lookup, model_names=keypoint_definitions(body), where=arguments.keypoint_map)
    folders = find_sessions(arguments.annotations)
    check_not_an_input(arguments.out, _inputs_of(folders), 'OUT')
    excluded = _excluded_of(folders, options.exclude_cameras)
    sessions = [
        SleapSession(
            folder,
            joint_lookup=arguments.keypoint_map,
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
        print_findings(console, plans, body)
        return 0
    report = preprocess(
        sessions,
        arguments.out,
        body,
        options,
        body_model_file=portable(arguments.body_model, arguments.out),
        shape_betas=betas,
        progress=not arguments.quiet and console.is_terminal,
        restart=arguments.restart,
        overwrite=arguments.overwrite,
    )
    if not arguments.quiet:
        print_report(console, report)
        console.print(f'{arguments.out}', highlight=False, soft_wrap=True)
    return 0


def portable(file: Path, out: Path) -> Path:
    """Name a file relative to the dataset where it lies beside or below it, so that both can move together."""
    file, folder = file.resolve(), out.parent.resolve()
    return file.relative_to(folder) if file.is_relative_to(folder) else file


def _inputs_of(folders: Sequence[Path]) -> list[Path]:
    """Give what preprocessing reads of sessions: their cameras' folders, and the files beside these.

    A dataset file in a camera's folder would be taken for its labels the next time.
    """
    files = [folder / name for folder in folders for name in _FILES]
    return files + [path for folder in folders for path in folder.iterdir() if path.is_dir()]


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
