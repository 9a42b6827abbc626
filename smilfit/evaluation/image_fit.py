"""How well a fitted body explains single images: keypoints and silhouette, image by image."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float

from smilfit.evaluation.keypoint_errors import distances, pck, percentiles
from smilfit.files import read_json, reading, write_text

# PCK is stated in px of an image of this side, so that crops of any size compare.
REFERENCE_SIDE_PX = 224
PCK_PX = 5.0
# WLDO's threshold, a share of the square root of the silhouette's area (Biggs et al. 2020).
PCK_AREA_SHARE = 0.15


@dataclass(frozen=True)
class ImageFit:
    """One image. `median_px` and `pck_5px` are in px of a crop of 224 px; what cannot be stated is None.

    `pck_area` is the share of keypoints within 0.15 of the square root of the mask's area.
    """

    label: str
    n_keypoints: int
    median_px: float | None
    pck_5px: float | None
    pck_area: float | None
    iou: float | None

    def numbers(self) -> dict[str, int | float | None]:
        """Return all figures by name."""
        return {name: value for name, value in asdict(self).items() if name != 'label'}


def mask_iou(predicted: Bool[np.ndarray, 'H W'], mask: Bool[np.ndarray, 'H W']) -> float:
    """Return intersection over union of two silhouettes; two empty ones are equal."""
    union = int((predicted | mask).sum())
    return int((predicted & mask).sum()) / union if union else 1.0


def image_fit(
    label: str,
    pixels: Float[np.ndarray, 'K 2'],
    keypoints: Float[np.ndarray, 'K 2'],
    confidence: Float[np.ndarray, 'K'],
    side_px: int,
    silhouette: Bool[np.ndarray, 'H W'] | None = None,
    mask: Bool[np.ndarray, 'H W'] | None = None,
) -> ImageFit:
    """Measure one image.

    Args:
        label: names the image.
        pixels: the body's keypoints in the crop, px; not finite where they have no image.
        keypoints: the annotated ones.
        confidence: 0 where nothing was annotated.
        side_px: side of the crop.
        silhouette: where the body covers the crop.
        mask: where the animal does; None where that is not known.
    """
    visible = confidence > 0
    scale = REFERENCE_SIDE_PX / side_px
    errors = distances(pixels, keypoints, visible)
    # A mask of nothing is not known.
    known = mask if mask is not None and mask.any() else None
    area = 0.0 if known is None else float(known.sum())
    some = bool(visible.any())
    return ImageFit(
        label=label,
        n_keypoints=int(visible.sum()),
        median_px=float(percentiles(errors, visible, (50,))[0]) * scale if some else None,
        pck_5px=pck(errors * scale, visible, PCK_PX) if some else None,
        pck_area=pck(errors, visible, PCK_AREA_SHARE * area**0.5) if some and known is not None else None,
        iou=None if known is None or silhouette is None else mask_iou(silhouette, known),
    )


def mean_of(fits: Sequence[ImageFit]) -> dict[str, float]:
    """Average each figure over the images that have it; a figure that none has is left out."""
    result = {}
    for name in ('median_px', 'pck_5px', 'pck_area', 'iou'):
        values = [v for v in (getattr(fit, name) for fit in fits) if v is not None]
        if values:
            result[f'mean_{name}'] = float(np.mean(values))
    return result


SHOWN = ('iou', 'pck_5px', 'pck_area', 'median_px')


@dataclass(frozen=True)
class ImageFigures:
    """How well one animal in one image was explained where its fit began, and where it ended.

    `name` names its files, and `entry` its annotation, by file and number. `verdict` is the word that its fit was
    judged by, where it was, and `reason` the weightiest one if it is not good.
    """

    name: str
    fit: ImageFit
    start: ImageFit | None = None
    entry: str = ''
    verdict: str = ''
    reason: str = ''

    def row(self) -> dict[str, object]:
        """Return the image's line of a table."""
        line: dict[str, object] = {
            'picture': self.fit.label,
            'annotation': self.entry,
            'files': self.name,
            'n_keypoints': self.fit.n_keypoints,
        }
        for what, fit in (('fit', self.fit), ('start', self.start)):
            numbers = {} if fit is None else fit.numbers()
            line |= {f'{what}_{n}': numbers.get(n) for n in SHOWN}
        return line | {'verdict': self.verdict, 'reason': self.reason}


class _Averages(TypedDict):
    n_pictures: int
    fit: dict[str, float]


class Summary(_Averages, total=False):
    """How many images, and the averages of the fits' figures and, where these are known, of their starts'."""

    start: dict[str, float]


def summary(figures: Sequence[ImageFigures]) -> Summary:
    """Average the figures of the fits and of their starts."""
    result: Summary = {'n_pictures': len(figures), 'fit': mean_of([one.fit for one in figures])}
    starts = [one.start for one in figures if one.start is not None]
    if starts:
        result['start'] = mean_of(starts)
    return result


def write_figures(folder: Path, figures: Sequence[ImageFigures]) -> None:
    """Write `images.csv`, a table for spreadsheets, and `images.json`, which `read_figures` reads."""
    rows = [one.row() for one in figures]
    table = io.StringIO(newline='')
    writer = csv.DictWriter(table, fieldnames=list(rows[0]) if rows else ['picture'])
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / 'images.csv', table.getvalue())
    document = {**summary(figures), 'pictures': [asdict(one) for one in figures]}
    write_text(folder / 'images.json', json.dumps(document, indent=1))


def read_figures(folder: Path) -> list[ImageFigures]:
    """Read what `write_figures` wrote."""
    path, what = folder / 'images.json', 'the figures of fitted images'
    document = read_json(path, what, dict)
    with reading(path, what):
        return [
            ImageFigures(
                one['name'],
                ImageFit(**one['fit']),
                None if one['start'] is None else ImageFit(**one['start']),
                one.get('entry', ''),
                one.get('verdict', ''),
                one.get('reason', ''),
            )
            for one in document['pictures']
        ]
