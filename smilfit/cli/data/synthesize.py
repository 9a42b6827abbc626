"""Render training sessions of a body model, without any labelled image."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from smilfit.apis.synthesis_options import SynthesisInputs, SynthesisOptions
from smilfit.cli.command import run_command
from smilfit.cli.next_step import synthesis_step
from smilfit.cli.parser import given, make_parser
from smilfit.cli.progress_bar import progress_bar
from smilfit.options.fields import CROP_MODES, option


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Fields of `PreprocessOptions`."""

    crop_mode: str | None = option(None, 'of OUT.h5, as preprocess has it', choices=CROP_MODES)
    target_resolution: int | None = option(None, 'side of images in OUT.h5, px', low=16, high=8192)


@dataclass(frozen=True, kw_only=True)
class Command(SynthesisInputs, SynthesisOptions, Stored):
    """What a command line says."""

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


def build_parser(prog: str | None = 'synthesize') -> argparse.ArgumentParser:
    """Describe the command line."""
    about = (
        f'{__doc__} Poses are drawn from the joint limits or from fits, shapes from the shape space. Labels are '
        'exact projections; what is hidden is not labelled, and all points in space are known. A run that was '
        'stopped goes on where it was when the same command is given again.'
    )
    return make_parser(Command, prog, about)


def main(argv: Sequence[str] | None = None, prog: str = 'synthesize') -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog, 'Stopped. The same command goes on where it was.')


def _run(arguments: argparse.Namespace) -> int:
    if (arguments.out is None) == (arguments.named_out is None):
        raise ValueError(
            'synthesize: one OUT must be given; got none or two. Name a folder, or a file OUT.h5.'
        )
    out = arguments.out or arguments.named_out
    from smilfit.synthetic.synthesize import synthesize

    options = SynthesisOptions(**given(arguments, SynthesisOptions) | {'unit': arguments.unit or 'mm'})
    store = {name: value for name, value in given(arguments, Stored).items() if value is not None}
    console = Console()
    with progress_bar(not arguments.quiet and console.is_terminal) as progress:
        done = synthesize(
            arguments.model,
            out,
            options,
            SynthesisInputs(**given(arguments, SynthesisInputs)),
            store=store,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    if not arguments.quiet:
        for words in done.left_out:
            console.print(f'clips: {words}', highlight=False, soft_wrap=True, markup=False)
        text = f'{done.n_images} images, {len(done.keypoint_names)} keypoints: {done.path}'
        console.print(text, highlight=False, soft_wrap=True, markup=False)
        print(f'next: {synthesis_step(done.path, arguments.model, arguments.unit)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
