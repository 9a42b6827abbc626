"""Fit a body model to annotated images or single-view videos, from the annotation file to meshes and overlays.

Makes OUT/pictures.h5 as `preprocess` does and fits it as `fit` does; a run that was stopped goes on where it was
when the same command is given again.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smilfit.apis.fit_options import FitImagesOptions
from smilfit.apis.shipped_configs import FIT_IMAGES_CONFIG
from smilfit.cli.command import run_command
from smilfit.cli.data import preprocess
from smilfit.cli.fitting import fit
from smilfit.cli.parser import add_options, given
from smilfit.cli.terminal import progress_bar
from smilfit.options.fields import option


@dataclass(frozen=True)
class Arguments(FitImagesOptions):
    """A command line of `fit_images` beside what is preprocessed."""

    config: Path = option(Path(FIT_IMAGES_CONFIG), 'a registrant config', metavar='FILE')
    protocols: tuple[str, ...] = option(
        (),
        'score the fits by a published protocol, into protocols.json: wldo, animer, smalst, tigdog, badja, space or '
        'motion; may be given again',
        flag='--protocol',
        many='append',
        metavar='NAME',
    )


def build_parser(prog: str | None = 'fit_images') -> argparse.ArgumentParser:
    """Describe the command line: a subcommand an annotation format."""
    parser = preprocess.build_parser(prog, __doc__, ('OUT', 'folder for the results'), _extend)
    parser.epilog = f'{parser.epilog} 3 also where an image was not fitted or a fit is judged not believable.'
    return parser


def _extend(parser: argparse.ArgumentParser) -> None:
    # OUT and --overwrite are preprocessing's.
    add_options(parser, Arguments, without=('overwrite',))


def main(argv: Sequence[str] | None = None, prog: str = 'fit_images') -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog, fit.STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for what reads and draws.
    from smilfit.apis.fitting.fit_run import DATASET, check_images_folder, fit_images
    from smilfit.apis.preprocessing.data_source import annotation_readers, as_images
    from smilfit.cli.data.preprocess_arguments import options_of, source_of
    from smilfit.evaluation import protocol_lines

    source = as_images(source_of(arguments, annotation_readers().get(arguments.format)))
    if arguments.dry_run:
        return preprocess.show_plan(source, check_images_folder(arguments.out) / DATASET, arguments)
    codes = []
    with progress_bar(not arguments.quiet and sys.stderr.isatty()) as progress:
        done = fit_images(
            source,
            arguments.out,
            arguments.body_model,
            options=options_of(arguments),
            restart=arguments.restart,
            preprocessed=lambda made: codes.append(preprocess.show_run(made, arguments)),
            **given(arguments, Arguments) | {'progress': progress},
        )
    code = fit.show_fit(done.fit)
    for name, figures in done.protocols.items():
        print('\n'.join(protocol_lines(name, figures)))
    return code or codes[0]
