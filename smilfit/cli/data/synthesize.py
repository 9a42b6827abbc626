"""Render training sessions of a body model, without any labelled image."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from smilfit.apis.synthesis_options import SynthesisInputs, SynthesisOptions
from smilfit.cli.command import command
from smilfit.cli.next_step import synthesis_step
from smilfit.cli.parser import keywords_of, part_of
from smilfit.cli.terminal import progress_bar
from smilfit.options.fields import CROP_MODES, option


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Fields of `PreprocessOptions`."""

    crop_mode: str | None = option(None, 'of OUT.h5, as preprocess has it', choices=CROP_MODES)
    target_resolution: int | None = option(None, 'side of images in OUT.h5, px', low=16, high=8192)


@dataclass(frozen=True, kw_only=True)
class Arguments(SynthesisInputs, SynthesisOptions, Stored):
    """A command line of `synthesize`."""

    model: Path = option(
        help='body model (.smil.json, .pkl), or a shipped name', positional=True, metavar='MODEL'
    )
    out: Path | None = option(
        None,
        'a folder for sessions (videos, labels, calibration, truth), or a dataset file: OUT.h5',
        positional=True,
        metavar='OUT',
    )
    named_out: Path | None = option(None, 'the same, by name', flag='--out', metavar='OUT')
    overwrite: bool = option(False, 'replace what was made of other options')
    quiet: bool = option(False, 'no progress bar')


@command(
    Arguments,
    'synthesize',
    (
        f'{__doc__} Poses are drawn from the joint limits or from fits, shapes from the shape space. Labels are '
        'exact projections; what is hidden is not labelled, and all points in space are known. A run that was '
        'stopped goes on where it was when the same command is given again.'
    ),
    stopped='Stopped. The same command goes on where it was.',
)
def main(options: Arguments) -> int:
    """Run the command."""
    out = options.out or options.named_out
    if out is None or (options.out is not None and options.named_out is not None):
        raise ValueError(
            'synthesize: one OUT must be given; got none or two. Name a folder, or a file OUT.h5.'
        )
    from smilfit.synthetic.synthesize import synthesize

    stored = keywords_of(options, Stored)
    with progress_bar(not options.quiet and Console().is_terminal) as progress:
        done = synthesize(
            options.model,
            out,
            part_of(options, SynthesisOptions, unit=options.unit or 'mm'),
            part_of(options, SynthesisInputs),
            store={name: value for name, value in stored.items() if value is not None},
            overwrite=options.overwrite,
            progress=progress,
        )
    if not options.quiet:
        for reason in done.left_out:
            print(f'clips: {reason}')
        print(f'{done.n_images} images, {len(done.keypoint_names)} keypoints: {done.path}')
        print(f'next: {synthesis_step(done.path, options.model, options.unit)}')
    return 0
