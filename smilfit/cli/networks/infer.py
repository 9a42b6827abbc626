"""Predict a body in every frame of raw videos, images or a dataset file by a trained regressor."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from smilfit.apis.infer_options import (
    VIDEO_STYLES,
    FrameOptions,
    InferenceOutputs,
    InferOptions,
    SourceOptions,
)
from smilfit.cli.command import run_command
from smilfit.cli.fitting.fit import EXIT_INCOMPLETE
from smilfit.cli.parser import given, make_parser
from smilfit.cli.progress_bar import progress_bar
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.networks.inference.infer import InferenceRun

EXIT_CODES = (
    'Exit codes: 0 all went well; 1 nothing could be done; 2 a bad command line; 3 done, and all files are written, '
    'but a frame was not predicted (which, and why, is printed and stands in predictions.json), or the refined '
    'fit is judged not believable (verdict.json says why).'
)
STOPPED = 'Stopped. The same command goes on after the last whole block of frames.'


@dataclass(frozen=True, kw_only=True)
class Command(InferOptions, InferenceOutputs, FrameOptions, SourceOptions):
    """What a command line says."""

    checkpoint: Path = option(help='a checkpoint of a training', positional=True)
    source: Path | None = option(
        None,
        'a session folder (synchronised videos and calibration.toml), a video, a folder of images, or a dataset file '
        '(.h5)',
        positional=True,
    )
    out: Path = option(help='folder for the results', metavar='DIR')
    view_indices: tuple[int, ...] = option((), 'cameras in the video, by number', low=0, metavar='N')


def build_parser(prog: str | None = 'infer') -> argparse.ArgumentParser:
    """Describe the command line."""
    about = (
        f'{__doc__} The checkpoint says which model it is; frames are read once, in order. What is there already is '
        'not made again, and a run that was stopped goes on after its last whole block.'
    )
    return make_parser(Command, prog, about, EXIT_CODES)


def main(argv: Sequence[str] | None = None, prog: str = 'infer') -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog, STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.apis import infer

    if arguments.source is None and not arguments.videos:
        raise ValueError('infer: a source must be given; got neither SOURCE nor --videos CAMERA=FILE.')
    read = given(arguments, SourceOptions) | {'videos': _pairs('--videos', arguments.videos)}
    options = given(arguments, InferOptions) | {'cameras': _pairs('--cameras', arguments.cameras)}
    with progress_bar(sys.stderr.isatty()) as progress:
        done = infer(
            arguments.checkpoint,
            arguments.source,
            arguments.out,
            sources=SourceOptions(**read),
            frames=FrameOptions(**given(arguments, FrameOptions)),
            outputs=InferenceOutputs(**_outputs_of(arguments), progress=progress),
            **options,
            progress=progress,
        )
    return 0 if done is None else show_runs(done)


def _outputs_of(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.video_views and arguments.view_indices:
        raise ValueError(
            'infer: views of the video must be named or numbered; got --video-views and --view-indices.'
        )
    if (arguments.video_views or arguments.view_indices or arguments.view_videos) and not arguments.video:
        raise ValueError(f'infer: views of a video need one; give --video {"|".join(VIDEO_STYLES)}.')
    views = {'video_views': tuple(arguments.video_views or arguments.view_indices)}
    return given(arguments, InferenceOutputs) | views


def show_runs(done: Sequence['InferenceRun']) -> int:
    """Print what came out; gives the exit code."""
    from smilfit.evaluation.verdict import NOT_BELIEVABLE

    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    incomplete = False
    for run in done:
        valid = int(run.predictions.valid.sum())
        say(f'{run.name}: {valid} of {len(run.predictions)} frames predicted')
        for reason, count in run.report['frames_not_predicted'].items():
            say(f'  - {count} not: {reason}')
            incomplete = True
        missing = run.report['views_missing']
        if missing['views']:
            say(f'  - {missing["views"]} views missing, in {missing["frames_with_fewer_views"]} frames')
        if run.identities:
            _say_identity(run.identities, say)
        if run.verdict is not None:
            say(f'  refined: {run.verdict.word}')
            for reason in run.verdict.reasons:
                say(f'  - {reason}')
            incomplete |= run.verdict.word == NOT_BELIEVABLE
        say(f'predictions: {run.file}')
    return EXIT_INCOMPLETE if incomplete else 0


def _say_identity(told: dict[str, Any], say: Callable[[str], None]) -> None:
    """Report on one of several animals where it was lost, and where it may be another."""
    unsure, again = told['frames_unsure'], told['taken_up_again']
    if again:
        guess = f', {told["taken_up_by_guess"]} times by guess' if told['taken_up_by_guess'] else ''
        say(f'  - lost and taken up again {again} times{guess}')
    if unsure:
        say(f'  - may have changed places with another in {len(unsure)} frames, the first {unsure[0]}')


def _pairs(option: str, values: Sequence[str] | None) -> dict[str, str]:
    result: dict[str, str] = {}
    for value in values or ():
        name, valid, text = value.partition('=')
        if not valid or not name or not text or name in result:
            raise ValueError(f'{option}: must be pairs NAME=VALUE, each name once; got {value!r}.')
        result[name] = text
    return result


if __name__ == '__main__':
    sys.exit(main())
