"""Preprocess annotated pictures and videos of one camera, of any registered format."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from smilfit.body_models import BodyModelData, load_body_model_data
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.cli.argument_types import positive_float
from smilfit.cli.preprocess_options import add_option, options_of, read_reader_options, reader_arguments
from smilfit.cli.preprocess_sessions import portable
from smilfit.cli.preprocess_tables import print_findings, print_left_out, print_report
from smilfit.datasets import (
    ImageSession,
    PreprocessOptions,
    image_sessions,
    preprocess,
    shared_keypoint_names,
)
from smilfit.datasets.preprocess import plan_sessions
from smilfit.io import check_lookup, load_keypoint_map
from smilfit.io.annotations import check_pictures
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import AnnotationSet, SkippedAnnotation

# Done, but entries were left out.
LEFT_OUT = 3


def add_image_options(parser: argparse.ArgumentParser, reader: type) -> None:
    """Add what only pictures take; a reader's own `category` goes before ours."""
    add_option(
        parser,
        'images',
        type=Path,
        metavar='DIR',
        help='folder that picture paths are relative to; where the format itself says if not given',
    )
    add_option(
        parser,
        'allow_outside_images',
        action='store_true',
        help='read pictures and masks, too, that the annotations name outside that folder (by .., an absolute '
        'path or a link); without it they are left out and told',
    )
    add_option(
        parser,
        'focal_px',
        type=positive_float,
        metavar='PX',
        help='focal length of pictures without a known camera; guessed as 1.2 times the longer side if not given',
    )
    if 'category' not in reader_arguments(reader):
        add_option(parser, 'category', metavar='NAME', help='take only the entries of this category')


def run_images(arguments: argparse.Namespace, reader: type) -> int:
    """Make the dataset file; 0, or 3 where entries were left out."""
    options = options_of(arguments, crop_mode=arguments.crop_mode or 'bbox_crop', min_views=1)
    body = load_body_model_data(arguments.body_model)
    lookup = None
    if arguments.keypoint_map:
        lookup = load_keypoint_map(arguments.keypoint_map)
        check_lookup(lookup, model_names=keypoint_definitions(body), where=arguments.keypoint_map)
    made = reader(images=arguments.images, **read_reader_options(arguments, reader))
    # Also of a reader of somebody else's, whose constructor does not take it.
    made.allow_outside_images = arguments.allow_outside_images
    annotations = made.read(arguments.annotations)
    wanted = getattr(arguments, 'category', None)
    annotations = check_pictures(annotations if wanted is None else of_category(annotations, wanted))
    sessions, repeated = image_sessions(annotations, lookup, arguments.unit, arguments.focal_px)
    left_out = (*annotations.skipped, *repeated)
    if not sessions:
        first = f'; the first is {left_out[0].where}: {left_out[0].reason}' if left_out else ''
        raise ValueError(
            f'{arguments.annotations}: an entry must be usable; all {len(left_out)} are left out{first}'
        )
    console = Console()
    if arguments.dry_run:
        return _dry_run(console, sessions, left_out, body, options)
    report = preprocess(
        sessions,
        arguments.out,
        body,
        options,
        body_model_file=portable(arguments.body_model, arguments.out),
        progress=not arguments.quiet and console.is_terminal,
        restart=arguments.restart,
        overwrite=arguments.overwrite,
        left_out=left_out,
    )
    if not arguments.quiet:
        print_report(console, report)
        print_left_out(console, report['left_out'], arguments.out)
        console.print(f'{arguments.out}', highlight=False, soft_wrap=True)
    return LEFT_OUT if report['left_out'] else 0


def of_category(annotations: AnnotationSet, category: str) -> AnnotationSet:
    """Take the entries of one category.

    Raises:
        KeyError: no entry is of it; names the near ones.
    """
    images = tuple(image for image in annotations.images if image.category == category)
    if not images:
        known = sorted({image.category for image in annotations.images})
        raise UnknownNameError(
            f'--category: no entry is of category {category!r}. {did_you_mean(category, known)}'
        )
    return replace(annotations, images=images)


def _dry_run(
    console: Console,
    sessions: Sequence[ImageSession],
    left_out: Sequence[SkippedAnnotation],
    body: BodyModelData,
    options: PreprocessOptions,
) -> int:
    plans, unusable = plan_sessions(sessions, shared_keypoint_names(sessions, body), options)
    print_findings(console, plans, body)
    told = [{'where': entry.where, 'reason': entry.reason} for entry in (*left_out, *unusable)]
    print_left_out(console, told, None)
    return LEFT_OUT if told else 0
