"""The page of fitted images: overlays with their figures, the start beside the fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.drawing.fit_report import add_course, sentences
from smilfit.drawing.marks import FIT_MARKS, MARKS
from smilfit.drawing.plots import plot_bars
from smilfit.drawing.report import Report
from smilfit.evaluation import ImageFigures, summary

# More overlays than this make a page slow to open; the others lie beside it.
MAX_OVERLAYS = 60
SAID = {
    'mean_iou': ('IoU of silhouettes', 2),
    'mean_pck_5px': ('keypoints within 5 px of a 224 px crop (PCK)', 2),
    'mean_pck_area': ("keypoints within 0.15 of the root of the silhouette's area (PCK)", 2),
    'mean_median_px': ('median keypoint distance, px of a 224 px crop', 1),
}


def add_image_sections(
    report: Report,
    figures: Sequence[ImageFigures],
    overlays: Path,
    history: Sequence[Mapping[str, Any]] = (),
    notes: Mapping[str, Any] | None = None,
    video: Path | None = None,
) -> Report:
    """Add the fits of images to a page.

    Args:
        report: the page.
        figures: every fitted image.
        overlays: the folder of their overlays, one `<name>.jpg` each.
        history: the stages, from `FitResult.history`.
        notes: what was left out, from `FitResult.report`.
        video: the overlays as a video.
    """
    means = summary(figures)
    report.add_section(
        'How well the body explains the images',
        [f'{len(figures)} images were fitted.', *sentences(notes or {})],
    )
    report.add_numbers(
        [
            (f'{means["fit"][key]:.{digits}f}', what, _beside(means.get('start', {}).get(key), digits))
            for key, (what, digits) in SAID.items()
            if key in means['fit']
        ]
    )
    report.add_legend(MARKS if any(one.start is not None for one in figures) else FIT_MARKS)
    if video is not None:
        report.add_video(video, 'The fitted body over the sequence.')
    shown = _spread(figures)
    if len(shown) < len(figures):
        report.add_text(
            f'{len(shown)} overlays are shown, those of the worst fits first; all are in {overlays.name}/.'
        )
    report.add_images([overlays / f'{one.name}.jpg' for one in shown], [_caption(one) for one in shown])
    report.add_table([one.row() for one in figures], 'Every image: fit and start')
    scored = [one for one in figures if one.fit.iou is not None]
    if 1 < len(scored) <= MAX_OVERLAYS:
        series = {'fit': [one.fit.iou for one in scored]}
        if all(one.start is not None for one in scored):
            series['start'] = [one.start.iou for one in scored]
        names = [Path(one.fit.label).stem for one in scored]
        report.add_figure(plot_bars(names, series, 'IoU', 'Overlap of body and mask, by image'))
    add_course(report, history, notes)
    return report


def _spread(figures: Sequence[ImageFigures]) -> list[ImageFigures]:
    """Choose all images, or of many the worst half of what may be shown and an even sample of the others."""
    if len(figures) <= MAX_OVERLAYS:
        return list(figures)
    worst = sorted(figures, key=lambda one: _goodness(one))
    rest = worst[MAX_OVERLAYS // 2 :]
    places = np.linspace(0, len(rest) - 1, MAX_OVERLAYS - MAX_OVERLAYS // 2).round().astype(int)
    return worst[: MAX_OVERLAYS // 2] + [rest[i] for i in places]


def _goodness(one: ImageFigures) -> float:
    return one.fit.iou if one.fit.iou is not None else one.fit.pck_5px or 0.0


def _caption(one: ImageFigures) -> str:
    parts = [f'{one.fit.label}:']
    for what, name in (('IoU', 'iou'), ('PCK@5px', 'pck_5px')):
        value = getattr(one.fit, name)
        if value is not None:
            before = None if one.start is None else getattr(one.start, name)
            parts.append(f'{what} {value:.2f}' + ('' if before is None else f' (start {before:.2f})'))
    return ' '.join(parts)


def _beside(value: float | None, digits: int) -> str:
    return '' if value is None else f'at the start {value:.{digits}f}'
