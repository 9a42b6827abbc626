"""Predict a body in every frame of raw videos, images or a dataset file by a trained regressor."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smilfit.apis.infer_options import (
    OWN,
    VIDEO_STYLES,
    FrameOptions,
    InferenceOutputs,
    InferOptions,
    SourceOptions,
)
from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.parser import keywords_of, part_of
from smilfit.cli.terminal import progress_bar
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.networks.inference.infer import InferenceRun

EXIT_CODES = exit_codes(
    'all went well',
    'done, and all files are written, but a frame was not predicted (which, and why, is printed and stands in '
    'predictions.json), or the refined fit is judged not believable (verdict.json says why)',
)
STOPPED = 'Stopped. The same command goes on after the last whole block of frames.'


@dataclass(frozen=True, kw_only=True)
class Arguments(InferOptions, InferenceOutputs, FrameOptions, SourceOptions):
    """A command line of `infer`."""

    checkpoint: Path = option(help='a checkpoint of a training', positional=True)
    source: Path | None = option(
        None,
        'a session folder (synchronised videos and calibration.toml), a video, a folder of images, or a dataset file '
        '(.h5)',
        positional=True,
    )
    out: Path = option(help='folder for the results', metavar='DIR')
    features: bool = option(
        False,
        "of AniMer's network (convert-checkpoint animer) and images: write each image's mesh, parameters, keypoints "
        'and features to a folder of its own, and nothing else; needs --body-model, takes --boxes FILE.csv',
    )
    view_indices: tuple[int, ...] = option((), 'cameras in the video, by number', low=0, metavar='N')


@command(
    Arguments,
    'infer',
    (
        f'{__doc__} The checkpoint says which model it is; frames are read once, in order. What is there already is '
        'not made again, and a run that was stopped goes on after its last whole block.'
    ),
    EXIT_CODES,
    stopped=STOPPED,
)
def main(options: Arguments) -> int:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.networks.inference.infer import infer

    if options.source is None and not options.videos:
        raise ValueError('infer: a source must be given; got neither SOURCE nor --videos CAMERA=FILE.')
    if options.features:
        return _describe(options)
    if options.video_views and options.view_indices:
        raise ValueError(
            'infer: views of the video must be named or numbered; got --video-views and --view-indices.'
        )
    views = options.video_views or options.view_indices
    if (views or options.view_videos) and not options.video:
        raise ValueError(f'infer: views of a video need one; give --video {"|".join(VIDEO_STYLES)}.')
    with progress_bar(sys.stderr.isatty()) as progress:
        done = infer(
            options.checkpoint,
            options.source,
            options.out,
            sources=part_of(options, SourceOptions),
            frames=part_of(options, FrameOptions),
            outputs=part_of(options, InferenceOutputs, video_views=views, progress=progress),
            **keywords_of(options, InferOptions, progress=progress),
        )
    return 0 if done is None else show_runs(done)


def _describe(options: Arguments) -> int:
    """Write what AniMer's network says of images."""
    from smilfit.networks.animer.describing import describe_images

    if options.source is None or options.body_model is None:
        raise ValueError(
            'infer --features: SOURCE must be images and --body-model SMAL; one of them is missing. See --help.'
        )
    boxes = None if options.boxes == OWN else str(options.boxes)
    with progress_bar(sys.stderr.isatty()) as progress:
        done = describe_images(
            *(options.checkpoint, options.source, options.out, options.body_model),
            boxes=boxes,
            device=options.device,
            progress=progress,
        )
    print(f'{len(done.folders)} images described: {options.out}')
    for name, reason in done.left_out.items():
        print(f'  - {name} not: {reason}')
    return INCOMPLETE if done.left_out else 0


def show_runs(done: Sequence['InferenceRun']) -> int:
    """Print what came out; gives the exit code."""
    from smilfit.evaluation.verdict import NOT_BELIEVABLE

    incomplete = False
    for run in done:
        valid = int(run.predictions.valid.sum())
        print(f'{run.name}: {valid} of {len(run.predictions)} frames predicted')
        for reason, count in run.predictions.reason_counts().items():
            print(f'  - {count} not: {reason}')
            incomplete = True
        missing = ~run.predictions.view_mask
        if missing.any():
            print(f'  - {missing.sum()} views missing, in {missing.any(1).sum()} frames')
        if run.identities:
            _print_identity(run.identities)
        if run.verdict is not None:
            print(f'  refined: {run.verdict.word}')
            for reason in run.verdict.reasons:
                print(f'  - {reason}')
            incomplete |= run.verdict.word == NOT_BELIEVABLE
        print(f'predictions: {run.file}')
    return INCOMPLETE if incomplete else 0


def _print_identity(report: Mapping[str, Any]) -> None:
    """Print where one of several animals was lost, and where it may be another."""
    unsure, again = report['frames_unsure'], report['taken_up_again']
    if again:
        guess = f', {report["taken_up_by_guess"]} times by guess' if report['taken_up_by_guess'] else ''
        print(f'  - lost and taken up again {again} times{guess}')
    if unsure:
        print(f'  - may have changed places with another in {len(unsure)} frames, the first {unsure[0]}')
