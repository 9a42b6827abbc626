"""Adapt a trained regressor to one recording of which some frames are labelled, and predict all of it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from smilfit.apis.adapt_options import AdaptOptions
from smilfit.apis.infer_options import REFINE_CONFIG, InferenceOutputs, SourceOptions
from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.networks.infer import show_runs
from smilfit.cli.parser import keywords_of, part_of
from smilfit.cli.terminal import progress_bar
from smilfit.options.fields import option

EXIT_CODES = exit_codes(
    'all went well',
    'done, and all files are written, but a frame was not predicted, or the labels or the fit are judged not '
    'believable (adaptation.json and verdict.json say why)',
)


@dataclass(frozen=True, kw_only=True)
class Arguments(AdaptOptions, InferenceOutputs, SourceOptions):
    """A command line of `adapt`."""

    checkpoint: Path = option(help='a checkpoint of a training of a KeypointRegressor', positional=True)
    source: Path = option(
        help='a video, a folder of images, or a session folder (synchronised videos and calibration.toml)',
        positional=True,
    )
    annotations: Path = option(
        help='labels of some frames: SLEAP (.slp, analysis .h5) or a pose table (DeepLabCut, Lightning Pose); of '
        "several cameras a folder with a file, or a folder, of each camera's name",
        positional=True,
    )
    out: Path = option(help='folder for the results', metavar='DIR')
    refine: str = option(
        REFINE_CONFIG,
        "the config by which the body is fitted to the keypoints' paths, and the fit judged; '' fits none",
        metavar='CONFIG',
    )


@command(
    Arguments,
    'adapt',
    (
        f'{__doc__} The network goes on learning from the labels, and from those carried to other frames along the '
        'optical flow; keypoints then follow paths through what it sees. What is there already is not made again.'
    ),
    EXIT_CODES,
)
def main(options: Arguments) -> int:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.evaluation.verdict import NOT_BELIEVABLE
    from smilfit.networks.video.adapt import PATHS, adapt

    with progress_bar(sys.stderr.isatty()) as progress:
        done = adapt(
            options.checkpoint,
            options.source,
            options.annotations,
            options.out,
            sources=part_of(options, SourceOptions),
            outputs=part_of(options, InferenceOutputs, progress=progress),
            **keywords_of(options, AdaptOptions, progress=progress),
        )
    if done.labels is not None:
        print(f'labels left out: {done.labels.word}')
        for reason in done.labels.reasons:
            print(f'  - {reason}')
    code = show_runs([done.inference])
    print(f'adapted network: {done.checkpoint}\npaths of keypoints: {options.out / PATHS}')
    return INCOMPLETE if done.word == NOT_BELIEVABLE else code
