"""The page of a fit: how well the body explains what the cameras saw."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smilfit.evaluation import (
    FitBenchmark,
    length_text,
    mask_rows,
    mask_sentences,
    strongest_baselines,
    unit_suffix,
)
from smilfit.registrants.unswap import swap_sentences
from smilfit.visualization.marks import FIT_MARKS
from smilfit.visualization.plots import plot_bars
from smilfit.visualization.report import Report
from smilfit.visualization.training_plots import plot_fit_stages


def add_fit_sections(
    report: Report,
    benchmark: FitBenchmark,
    history: Sequence[Mapping[str, Any]] = (),
    ignored: Mapping[str, Any] | None = None,
    images: Mapping[str, Any] | None = None,
    video: str | Path | None = None,
    of: str = '',
) -> Report:
    """Add a fit's numbers and figures to a page.

    Args:
        report: the page.
        benchmark: what `fit_benchmark` measured.
        history: the stages, from `FitResult.history`.
        ignored: what was left out, from `FitResult.report`.
        images: captions and overlays.
        video: an overlay video.
        of: the session, where a page has several.
    """
    text = [*fit_summary(benchmark), *mask_sentences(ignored or {}), *sentences(ignored or {})]
    report.add_section(f'{of}: the body on the images' if of else 'Fit: the body on the images', text)
    add_pictures(report, images, video, 'The fitted body over the recording.')
    report.add_table(
        camera_rows(benchmark),
        'Reprojection error by camera, px of the annotated images, lens included',
    )
    series = {'fit': [_number(row.median_fitted_px) for row in benchmark.cameras]}
    if any(row.common_triangulated_px is not None for row in benchmark.cameras):
        series['triangulated, no body'] = [_number(row.common_triangulated_px) for row in benchmark.cameras]
    if any(row.given_px is not None for row in benchmark.cameras):
        series['given 3D points'] = [_number(row.given_px) for row in benchmark.cameras]
    names = [row.camera for row in benchmark.cameras]
    report.add_figure(
        plot_bars(names, series, 'median distance (px)', 'Reprojection error by camera'),
        'How far the fitted keypoints land from the annotated ones, beside points triangulated from the same labels '
        'without a body, and the 3D points of the dataset. Triangulated points follow the labels, noise and all: a '
        'fit that comes near them follows the labels too, which does not say that its body is right.',
    )
    report.add_figure(
        plot_bars(
            benchmark.keypoint_names,
            {'fit': [_number(value) for value in benchmark.keypoint_median_px]},
            'median distance (px)',
            'Reprojection error by keypoint',
        ),
        'All cameras together.',
    )
    if overlaps := mask_rows(ignored or {}):
        report.add_table(
            overlaps,
            'IoU of the body and masks: of the fit to keypoints alone, of this one, and of the body as it stood at '
            'another time. Frames that were checked took no part in the shape',
        )
    if benchmark.against_truth:
        report.add_table(truth_rows(benchmark), f'Errors in space, {benchmark.unit or "unknown unit"}')
    add_course(report, history, ignored)
    return report


def add_pictures(
    report: Report, images: Mapping[str, Any] | None, video: str | Path | None, caption: str
) -> None:
    """Add images by their captions, and a video with its own, under the legend of a fit."""
    if images or video is not None:
        report.add_legend(FIT_MARKS)
    if images:
        report.add_images(list(images.values()), list(images))
    if video is not None:
        report.add_video(video, caption)


def add_course(report: Report, history: Sequence[Mapping[str, Any]], notes: Mapping[str, Any] | None) -> None:
    """Add how the stages of a fit went, and what it tells beside (`FitResult.history` and `report`)."""
    if history:
        report.add_figure(
            plot_fit_stages(history), 'Each stage has weights of its own; compare within a stage.'
        )
    if notes:
        report.add_table(note_rows(notes), 'What was left out, and other notes')


def sentences(notes: Mapping[str, Any]) -> list[str]:
    """Give what `FitResult.report` says in words of its own: sides exchanged, shape that no keypoint tells."""
    found = [*(one['sentence'] for one in notes.get('unmoved', ())), *swap_sentences(notes)]
    return [f'{text[0].upper()}{text[1:]}.' for text in found]


def note_rows(notes: Mapping[str, Any]) -> list[dict[str, str]]:
    """Give a table of `FitResult.report`, without what `sentences` and `mask_sentences` say."""
    said = ('unmoved', 'masks', 'unswapped_keypoints')
    return [{'what': str(k), 'value': str(v)} for k, v in notes.items() if k not in said]


def fit_summary(benchmark: FitBenchmark) -> list[str]:
    """Say in plain sentences how good the fit is."""
    text = [f'{benchmark.n_frames_finite} of {benchmark.n_frames} frames have a finite fit.']
    for row in benchmark.cameras:
        if row.median_fitted_px is None:
            text.append(f'Camera {row.camera} saw no keypoint.')
            continue
        sentence = f'Camera {row.camera}: half of the keypoints are within {_px(row.median_fitted_px)} px'
        if row.ratio is not None:
            sentence += (
                f'; on shared keypoints {row.ratio:.2f} times the {_px(row.common_triangulated_px)} px of points '
                'that are triangulated from the same labels without a body'
            )
        text.append(sentence + '.')
    for name, words in (
        (f'mpjpe_{unit_suffix(benchmark.unit)}', ''),
        (f'mpjpe_shared_{unit_suffix(benchmark.unit)}', ' for the keypoints that two cameras saw'),
    ):
        if name in benchmark.against_truth:
            value, best = (
                benchmark.against_truth[name],
                strongest_baselines(benchmark.against_truth).get(name),
            )
            beside = '' if best is None else f', {best.sentence_of_lengths(benchmark.unit)}'
            text.append(
                f'Against the known truth: {length_text(value, benchmark.unit)} on average{words}{beside}.'
            )
    return text


def truth_rows(benchmark: FitBenchmark) -> list[dict[str, Any]]:
    """Give the table of errors against known truth, each beside the strongest trivial answer."""
    strongest = strongest_baselines(benchmark.against_truth)
    return [
        {
            'against the known truth': name,
            'value': value,
            'beside': strongest[name].sentence if name in strongest else None,
        }
        for name, value in benchmark.against_truth.items()
    ]


def camera_rows(benchmark: FitBenchmark) -> list[dict[str, Any]]:
    """Give the table of cameras."""
    return [
        {
            'camera': row.camera,
            'keypoints': row.n_points,
            'fit, median (px)': row.median_fitted_px,
            'fit, 90 % are below (px)': row.p90_fitted_px,
            'shared with 3D points': row.n_common,
            'fit there, median (px)': row.common_fitted_px,
            'triangulated labels, no body, median (px)': row.common_triangulated_px,
            "dataset's 3D points, median (px)": row.given_px,
            'fit / triangulated': row.ratio,
        }
        for row in benchmark.cameras
    ]


def _px(value: float) -> str:
    """One digit, two of what would be zero."""
    return f'{value:.1f}' if value >= 0.1 else f'{value:.2f}'


def _number(value: float | None) -> float:
    return float('nan') if value is None else value
