"""Read annotated images and videos of one camera, of any registered format, for preprocessing."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from smilfit.apis.preprocessing.data_source import DataSource, annotation_readers
from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets import ImageSession, image_sessions
from smilfit.io import check_lookup, load_keypoint_map
from smilfit.io.annotations import check_images
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import AnnotationSet, SkippedAnnotation


def read_images(
    source: DataSource, body: BodyModelData
) -> tuple[Sequence[ImageSession], tuple[SkippedAnnotation, ...]]:
    """Read annotations and make sessions of them.

    Returns:
        The sessions, and the entries that were left out.

    Raises:
        KeyError: a lookup of other names, or a category that no entry has.
        ValueError: the file is not of its format, or no entry can be used.
    """
    lookup = None
    if source.keypoint_map:
        lookup = load_keypoint_map(source.keypoint_map)
        check_lookup(lookup, model_names=keypoint_definitions(body), where=str(source.keypoint_map))
    annotations = _reader(source).read(source.path)
    if source.category is not None:
        annotations = of_category(annotations, source.category)
    annotations = check_images(annotations)
    sessions, repeated = image_sessions(annotations, lookup, source.unit, source.focal_px)
    left_out = (*annotations.skipped, *repeated)
    if not sessions:
        first = f'; the first is {left_out[0].where}: {left_out[0].reason}' if left_out else ''
        raise ValueError(f'{source.path}: an entry must be usable; all {len(left_out)} are left out{first}')
    return sessions, left_out


def _reader(source: DataSource) -> Any:
    reader = annotation_readers()[source.format]
    given = dict(source.reader)
    # A reader of somebody else's may have a constructor that takes neither.
    if 'images' in inspect.signature(reader).parameters:
        given['images'] = source.images
    made = reader(**given)
    if source.images is not None:
        made.images = source.images
    made.allow_outside_images = source.allow_outside_images
    return made


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
