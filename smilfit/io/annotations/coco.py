"""COCO keypoints, with masks as polygons or run lengths."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from smilfit.files import BadFileError, shorten
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import (
    BadEntry,
    fields,
    given,
    image_path,
    image_size,
    numbers,
    one_of,
    place,
    read_json,
    read_valid_entries,
    require,
)
from smilfit.io.annotations.masks import PolygonMask, RleMask
from smilfit.io.keypoint_names import check_keypoint_names, mirror_pairs
from smilfit.registry import ANNOTATIONS, UnknownNameError, did_you_mean
from smilfit.structures import AnnotatedImage, AnnotationSet, MaskSource


@dataclass(frozen=True)
class _Source:
    """What all entries of a file share."""

    folder: Path
    images: Mapping[int | str, Mapping[str, object]]
    categories: Mapping[int | str, str]
    keypoint_names: tuple[str, ...]


@ANNOTATIONS.register_module(name='coco')
class CocoReader(AnnotationReader):
    """Read COCO's JSON: `images`, `annotations`, `categories`. Every annotation is an entry of its own.

    Keypoints are indices of pixels, from 0, and stay as they are; boxes and polygons count from the outer corner
    of the first pixel (COCO's format page), so boxes are shifted by half a pixel. Exports of predictions write scores
    in [0, 1] in place of the visibility 0, 1 or 2: an entry with such a number has scores, which are its confidences.
    An image without `width` and `height` has those of its file.

    Args:
        images: the folder of the images; the file's own if None.
        category: read this category; needed where categories have different keypoints. All that are used if None.
        occluded: what becomes of keypoints that are labelled but not visible (1): 'keep' or 'drop'.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        category: str | None = None,
        occluded: str = 'keep',
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.category = category
        self.occluded = one_of('CocoReader', 'occluded', occluded, ('keep', 'drop'))

    def read(self, path: str | Path) -> AnnotationSet:
        """Read the file. Crowds, and entries of unknown images or categories, are in `skipped`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a list is missing or broken, or several skeletons and no category is chosen.
            KeyError: no such category; names the near ones.
        """
        path = Path(path)
        content = read_json(path, dict, 'COCO')
        categories = _by_id(path, content, 'categories')
        entries = _by_id(path, content, 'images')
        annotations = _listed(path, content, 'annotations')
        named = _names_of_categories(path, categories)
        chosen = self._choose(path, named, annotations)
        source = _Source(
            folder=path.parent if self.images is None else self.images,
            images=entries,
            categories=named,
            keypoint_names=_keypoint_names(path, {i: categories[i] for i in chosen}),
        )
        left_out = set(categories) - chosen
        images, skipped = read_valid_entries(
            (where, partial(self._entry, where, entry, source))
            for index, entry in enumerate(annotations)
            if _get(entry, 'category_id') not in left_out
            for where in (place(path, index, _named(entry, entries)),)
        )
        return AnnotationSet(
            name=path.stem,
            keypoint_names=source.keypoint_names,
            images=images,
            skipped=skipped,
            flip=mirror_pairs(source.keypoint_names),
        )

    def _choose(
        self, path: Path, names: Mapping[int | str, str], annotations: list[object]
    ) -> set[int | str]:
        """Return the ids of the categories to read: the one asked for, or all that occur."""
        if self.category is not None:
            chosen = {i for i, name in names.items() if name == self.category}
            if not chosen:
                raise UnknownNameError(
                    f'{path}: category must be one of the file; {self.category!r} is none. '
                    f'{did_you_mean(self.category, names.values())}'
                )
            return chosen
        used = {_get(entry, 'category_id') for entry in annotations}
        return {i for i in names if i in used}

    def _entry(self, where: str, entry: object, source: '_Source') -> AnnotatedImage:
        category = require(entry, 'category_id', (int, str))
        if category not in source.categories:
            raise BadEntry(
                f'category_id must be one of categories; got {shorten(category)}. Known: '
                f'{", ".join(sorted(shorten(c, 40) for c in list(source.categories)[:20]))}. Correct it.'
            )
        number = require(entry, 'image_id', (int, str))
        if number not in source.images:
            raise BadEntry(f'image_id must be one of images; got {shorten(number)}. Correct it.')
        if given(entry, 'iscrowd'):
            raise BadEntry('iscrowd must be 0: a crowd is more than one animal.')
        image = source.images[number]
        unstated = image.get('width') is None and image.get('height') is None
        size = None if unstated else image_size(image, 'width', 'height')
        xy, confidence = self._keypoints(entry, source.keypoint_names)
        return AnnotatedImage(
            where=where,
            image=image_path(source.folder, require(image, 'file_name', str)),
            keypoints=xy,
            confidence=confidence,
            size=size,
            box=_box(given(entry, 'bbox')),
            mask=_mask(given(entry, 'segmentation'), size),
            category=source.categories[category],
        )

    def _keypoints(self, entry: object, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        if not names:
            return np.zeros((0, 2)), np.zeros(0)
        rows = numbers(require(entry, 'keypoints', list), (3 * len(names),), 'keypoints').reshape(-1, 3)
        visibility = rows[:, 2]
        odd = visibility[~np.isin(visibility, (0, 1, 2))]
        if len(odd) and ((visibility >= 0) & (visibility <= 1)).all():
            return np.where(visibility[:, None] > 0, rows[:, :2], 0.0), visibility.copy()
        if len(odd):
            raise BadEntry(
                f'keypoints must have a visibility of 0, 1 or 2, or scores in [0, 1]; got {odd[0]:g} among '
                f'{visibility.min():g} to {visibility.max():g}. Correct it.'
            )
        valid = visibility >= (2 if self.occluded == 'drop' else 1)
        return np.where(valid[:, None], rows[:, :2], 0.0), valid.astype(np.float64)


def _listed(path: Path, content: Mapping[str, object], key: str) -> list[object]:
    entries = content.get(key)
    if not isinstance(entries, list):
        raise BadFileError(
            f'{path}: {key} must be a list; got {type(entries).__name__}. COCO files have images, '
            f'annotations and categories; this one has {[shorten(name, 40) for name in list(content)[:10]]}. '
            'Is it another format?'
        )
    return entries


def _by_id(path: Path, content: Mapping[str, object], key: str) -> dict[int | str, Mapping[str, object]]:
    """Return a list's objects by their ids, which must differ."""
    result: dict[int | str, Mapping[str, object]] = {}
    for i, entry in enumerate(_listed(path, content, key)):
        try:
            number = require(entry, 'id', (int, str))
        except BadEntry as error:
            raise BadFileError(f'{path}: {key}, entry {i}: {error}') from None
        if number in result:
            raise BadFileError(
                f'{path}: {key} must have different ids; got {shorten(number)} twice. Number them anew.'
            )
        result[number] = fields(entry)
    return result


def _names_of_categories(
    path: Path, categories: Mapping[int | str, Mapping[str, object]]
) -> dict[int | str, str]:
    result = {}
    for i, category in categories.items():
        name = category.get('name')
        if not isinstance(name, str):
            raise BadFileError(
                f'{path}: categories must have a name; category {shorten(i)} has none. Give it one.'
            )
        result[i] = name
    return result


def _keypoint_names(path: Path, categories: Mapping[int | str, Mapping[str, object]]) -> tuple[str, ...]:
    """Return the keypoints of the categories to read, which must be the same for all."""
    skeletons = {}
    for category in categories.values():
        names = category.get('keypoints') or []
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise BadFileError(
                f'{path}: keypoints of a category must be different names; {shorten(category["name"])!r} has other '
                'things. Correct them.'
            )
        skeletons[tuple(names)] = shorten(category['name'])
    if len(skeletons) > 1:
        raise BadFileError(
            f'{path}: the categories to read must have the same keypoints; '
            f'{" and ".join(repr(name) for name in list(skeletons.values())[:10])} do not. Choose one with category.'
        )
    names = next(iter(skeletons), ())
    check_keypoint_names(path, names)
    return names


def _box(written: object) -> np.ndarray | None:
    if written is None:
        return None
    box = numbers(written, (4,), 'bbox')
    if box[2] <= 0 or box[3] <= 0:
        raise BadEntry(f'bbox must have a positive width and height; got {box[2]:g} and {box[3]:g}.')
    return box - np.array([0.5, 0.5, 0.0, 0.0])


def _mask(segmentation: object, size: tuple[int, int] | None) -> MaskSource | None:
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        if not all(isinstance(polygon, list) for polygon in segmentation):
            raise BadEntry('segmentation must be a list of polygons; got a list of other things.')
        return PolygonMask(tuple(tuple(polygon) for polygon in segmentation), size)
    counts = require(segmentation, 'counts', (str, list))
    height, width = numbers(require(segmentation, 'size', list), (2,), 'size of segmentation').tolist()
    if size is None:
        # `check_images` holds it against the image's.
        size = image_size({'width': width, 'height': height}, 'width', 'height')
    if (width, height) != size:
        raise BadEntry(
            f'size of segmentation must be that of the image, {size[1]}x{size[0]} (height x width) px; got '
            f'{height:g}x{width:g}. Was the mask made for another image?'
        )
    width, height = size
    return RleMask(counts if isinstance(counts, str) else tuple(counts), (width, height))


def _named(entry: object, images: Mapping[int | str, object]) -> str:
    """Name an annotation's image and its id, as far as they are known."""
    number, own = _get(entry, 'image_id'), _get(entry, 'id')
    image = None if number is None else images.get(number)
    name = _get(image, 'file_name')
    return ', '.join(str(part) for part in (name, None if own is None else f'id {own}') if part)


def _get(entry: object, key: str) -> int | str | None:
    """Return a value that can be looked up, or None of an entry that is broken."""
    value = given(entry, key)
    return value if isinstance(value, int | str) else None
