"""The page of a fit: its verdict, and how well the body explains what cameras saw, images show, or points are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from smilfit.drawing.marks import FIT_MARKS, MARKS
from smilfit.drawing.plots import COLOURS, History, new_axes, plot_bars, plot_fit_stages
from smilfit.drawing.report import PageImage, Report
from smilfit.evaluation import (
    FitBenchmark,
    ImageFigures,
    PointBenchmark,
    length_text,
    mask_rows,
    mask_sentences,
    strongest_baselines,
    summary,
    unit_suffix,
)
from smilfit.evaluation.verdict import GOOD, NOT_FITTED, Verdict
from smilfit.registrants.swaps import swap_sentences

# What a fit leaves in `FitResult.report`.
Notes = Mapping[str, Any]


def add_fit_sections(
    report: Report,
    benchmark: FitBenchmark,
    history: History = (),
    ignored: Notes | None = None,
    images: Mapping[str, PageImage] | None = None,
    video: str | Path | None = None,
    of: str = '',
) -> Report:
    """Add a fit's numbers and figures to a page.

    Args:
        benchmark: what `fit_benchmark` measured.
        history: the stages, from `FitResult.history`.
        ignored: what was left out, from `FitResult.report`.
        images: captions and overlays.
        video: an overlay video.
        of: the session, where a page has several.
    """
    text = [*fit_summary(benchmark), *mask_sentences(ignored or {}), *sentences(ignored or {})]
    report.add_section(f'{of}: the body on the images' if of else 'Fit: the body on the images', text)
    add_overlays(report, images, video, 'The fitted body over the recording.')
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


def add_overlays(
    report: Report, images: Mapping[str, PageImage] | None, video: str | Path | None, caption: str
) -> None:
    """Add images by their captions, and a video with its own, under the legend of a fit."""
    if images or video is not None:
        report.add_legend(FIT_MARKS)
    if images:
        report.add_images(list(images.values()), list(images))
    if video is not None:
        report.add_video(video, caption)


def add_course(report: Report, history: History, notes: Notes | None) -> None:
    """Add how the stages of a fit went, and what it tells beside (`FitResult.history` and `report`)."""
    if history:
        report.add_figure(
            plot_fit_stages(history), 'Each stage has weights of its own; compare within a stage.'
        )
    if notes:
        report.add_table(note_rows(notes), 'What was left out, and other notes')


def sentences(notes: Notes) -> list[str]:
    """Return what `FitResult.report` says in words of its own: sides exchanged, shape that no keypoint tells."""
    result = [*(one['sentence'] for one in notes.get('unmoved', ())), *swap_sentences(notes)]
    return [f'{text[0].upper()}{text[1:]}.' for text in result]


def note_rows(notes: Notes) -> list[dict[str, str]]:
    """Return a table of `FitResult.report`, without what `sentences` and `mask_sentences` say."""
    elsewhere = ('unmoved', 'masks', 'unswapped_keypoints')
    return [{'what': str(k), 'value': str(v)} for k, v in notes.items() if k not in elsewhere]


def fit_summary(benchmark: FitBenchmark) -> list[str]:
    """Report in plain sentences how good the fit is."""
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


def truth_rows(benchmark: FitBenchmark) -> list[dict[str, object]]:
    """Return the table of errors against known truth, each beside the strongest trivial answer."""
    strongest = strongest_baselines(benchmark.against_truth)
    return [
        {
            'against the known truth': name,
            'value': value,
            'beside': strongest[name].sentence if name in strongest else None,
        }
        for name, value in benchmark.against_truth.items()
    ]


def camera_rows(benchmark: FitBenchmark) -> list[dict[str, object]]:
    """Return the table of cameras."""
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


def _px(value: float | None) -> str:
    """One digit, two of what would be zero."""
    value = _number(value)
    return f'{value:.1f}' if value >= 0.1 else f'{value:.2f}'


def _number(value: float | None) -> float:
    return float('nan') if value is None else value


# More overlays than this make a page slow to open; the others lie beside it.
MAX_OVERLAYS = 60
IMAGE_FIGURES = {
    'mean_iou': ('IoU of silhouettes', 2),
    'mean_pck_5px': ('keypoints within 5 px of a 224 px crop (PCK)', 2),
    'mean_pck_area': ("keypoints within 0.15 of the root of the silhouette's area (PCK)", 2),
    'mean_median_px': ('median keypoint distance, px of a 224 px crop', 1),
}


def add_image_sections(
    report: Report,
    figures: Sequence[ImageFigures],
    overlays: Path,
    history: History = (),
    notes: Notes | None = None,
    video: Path | None = None,
) -> Report:
    """Add the fits of images to a page.

    Args:
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
            for key, (what, digits) in IMAGE_FIGURES.items()
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
        series = {'fit': [_number(one.fit.iou) for one in scored]}
        starts = [one.start for one in scored if one.start is not None]
        if len(starts) == len(scored):
            series['start'] = [_number(start.iou) for start in starts]
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


def add_point_sections(
    report: Report,
    benchmark: PointBenchmark,
    frames: Sequence[int],
    history: History = (),
    ignored: Notes | None = None,
    images: Mapping[str, PageImage] | None = None,
    video: str | Path | None = None,
) -> Report:
    """Add a fit's distances from its points to a page, with pictures of the body beside them.

    Args:
        benchmark: what `point_benchmark` measured.
        frames: numbers of the measured frames.
        history: the stages, from `FitResult.history`.
        ignored: what was left out, from `FitResult.report`.
        video: a turntable.
    """
    unit = benchmark.unit or 'world unit'
    report.add_section(
        'Fit: the body beside its points', [*point_summary(benchmark), *sentences(ignored or {})]
    )
    add_overlays(report, images, video, 'The fitted body and its points: from its side, and from all round.')
    report.add_table(point_rows(benchmark), f'Distance of the fitted keypoints from the given points, {unit}')
    report.add_figure(
        plot_bars(
            benchmark.names,
            {'fit': [benchmark.median(k) for k in range(len(benchmark.names))]},
            f'median distance ({unit})',
            'Distance by keypoint',
        ),
        'What one keypoint is off more than the others tells of its place in the joint lookup, or of its labels.',
    )
    report.add_figure(
        plot_over_time(benchmark, frames), 'Median and worst keypoint of each frame. Gaps were not fitted.'
    )
    add_course(report, history, ignored)
    return report


def point_summary(benchmark: PointBenchmark) -> list[str]:
    """Report in plain sentences how near the fit is to its points."""
    if not np.isfinite(benchmark.median()):
        return ['No frame has a fit beside a point.']
    half, most = (length_text(benchmark.percentile(p), benchmark.unit) for p in (50, 90))
    return [
        f'Half of the points lie within {half} of the fitted keypoints, 90 % within {most}; the animal is '
        f'{length_text(benchmark.size, benchmark.unit)} long.',
        'No camera was there to look through: pictures show the body from its own side, front and above.',
    ]


def point_rows(benchmark: PointBenchmark) -> list[dict[str, object]]:
    """Return the table of keypoints."""
    return [
        {
            'keypoint': name,
            'points': int(np.isfinite(benchmark.distances[:, k]).sum()),
            'median': benchmark.median(k),
            '90 % are below': benchmark.percentile(90, k),
            "median, share of the animal's size": benchmark.median(k) / benchmark.size,
        }
        for k, name in enumerate(benchmark.names)
    ]


def plot_over_time(benchmark: PointBenchmark, frames: Sequence[int]) -> Figure:
    """Plot each frame's median and its worst keypoint."""
    unit = benchmark.unit or 'world unit'
    figure, axes = new_axes('Distance over time', 'frame', f'distance ({unit})', 9.0, 3.4)
    worst = np.full(benchmark.n_frames, np.nan)
    some = np.isfinite(benchmark.distances).any(1)
    worst[some] = np.nanmax(benchmark.distances[some], 1)
    for values, colour, label in (
        (worst, COLOURS[1], 'worst keypoint'),
        (benchmark.by_frame(), COLOURS[0], 'median'),
    ):
        axes.plot(np.asarray(frames), values, color=colour, linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


# Frames that a page lists by themselves.
MAX_FRAMES = 40
# Thresholds from here on say that a measure alone never makes a fit unbelievable.
NEVER = 1e6
# Columns of the tables of cameras: numbers of `cameras.json`.
CAMERA_COLUMNS = {
    'labels kept': 'labels_kept',
    'fit (px)': 'fit_px',
    'triangulation of the labels (px)': 'triangulation_px',
    'fit without this camera (px)': 'left_out_fit_px',
    'triangulation without it (px)': 'left_out_triangulation_px',
}
ELLIPSE_COLUMNS = {
    'fit (px)': 'left_out_fit_px',
    'mean pose (px)': 'left_out_mean_pose_px',
    'other labels (px)': 'left_out_triangulation_px',
    'labels inside': 'left_out_inside',
    'scale': 'left_out_scale',
    "fit's sd (px)": 'left_out_sd_px',
    'noise of labels (px)': 'label_noise_px',
}


def add_verdict(
    report: Report,
    verdict: Verdict | None,
    cameras: Sequence[Mapping[str, str | float]] = (),
    labels: Sequence[str] = (),
) -> Report:
    """Add a verdict to a page: its word, its reasons, the table of cameras, all numbers, and the frames not good.

    Args:
        verdict: None where nothing was judged.
        cameras: a row a camera: px of the fit and of the labels' triangulation, also where the camera is left out.
        labels: names of the frames.
    """
    if verdict is None:
        return report.add_text('This fit was not judged: px alone do not tell whether it is believable.')
    report.add_numbers([(verdict.word, 'verdict on this fit', _counted(verdict))])
    report.add_text(*(f'{reason[:1].upper()}{reason[1:]}.' for reason in verdict.reasons))
    if cameras:
        report.add_table(
            [
                {'camera': row['camera']}
                | {text: _rounded(row[name]) for text, name in CAMERA_COLUMNS.items()}
                for row in cameras
            ],
            'Median px by camera; without this camera: a few frames fitted to the others alone, measured here',
        )
    known = [row for row in cameras if float(row.get('left_out_inside', 'nan')) >= 0]
    if known:
        report.add_table(
            [
                {'camera left out': row['camera']}
                | {text: _rounded(row[name]) for text, name in ELLIPSE_COLUMNS.items()}
                | {'labels inside': f'{float(row["left_out_inside"]):.1%}'}
                for row in known
            ],
            'Labels of each camera in ellipses that should hold 90 % of them, by a fit to the others; scale: one '
            'number on all standard deviations, by the other cameras. Mean pose: that of the other cameras, put onto '
            'each frame',
        )
    report.add_table(
        [
            {
                'measure': m.name,
                'of': m.where,
                'value': _rounded(m.value),
                'doubtful from': m.threshold_doubtful,
                'not believable from': None
                if m.threshold_not_believable >= NEVER
                else m.threshold_not_believable,
                'unit': m.unit,
                'word': m.word,
            }
            for m in verdict.measures
        ],
        'What the verdict rests on',
    )
    names = labels or [str(row) for row in range(len(verdict.frame_words))]
    # What all frames share is said once, above.
    common = {m.reason for m in verdict.measures}
    keypoints = verdict.frame_keypoints or ((),) * len(verdict.frame_words)
    bad = [
        {'frame': name, 'word': word, 'keypoints': ', '.join(own), 'reason': reason}
        for name, word, reason, own in zip(names, verdict.frame_words, verdict.frame_reasons, keypoints)
        if word not in (GOOD, NOT_FITTED) and reason not in common
    ]
    counts = Counter(name for own in keypoints for name in own)
    if counts:
        report.add_table(
            [{'keypoint': name, 'frames': count} for name, count in counts.most_common()],
            'Keypoints that two cameras or more see elsewhere than the fit has them',
        )
    if bad:
        more = f'; {len(bad) - MAX_FRAMES} more are in verdict.json' if len(bad) > MAX_FRAMES else ''
        report.add_table(bad[:MAX_FRAMES], f'Frames that are not good by themselves{more}')
    return report


def _counted(verdict: Verdict) -> str:
    """Return how many frames have which word."""
    words = list(dict.fromkeys(verdict.frame_words))
    return ', '.join(f'{verdict.count(word)} {word}' for word in words)


def _rounded(value: str | float) -> float | str:
    """Numbers that are none come as words from the file; what rounding leaves of zero is zero."""
    number = float(value)
    return round(number, 4) if abs(number) < float('inf') else '-'
