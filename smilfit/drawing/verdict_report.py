"""What a report says of a fit's verdict: the word, why, and the numbers behind it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from smilfit.drawing.report import Report
from smilfit.evaluation.verdict import GOOD, NOT_FITTED, Verdict

# Frames that a page lists by themselves.
MAX_FRAMES = 40
# Thresholds from here on say that a measure alone never makes a fit unbelievable.
NEVER = 1e6


def add_verdict(
    report: Report,
    verdict: Verdict | None,
    cameras: Sequence[Mapping[str, Any]] = (),
    labels: Sequence[str] = (),
) -> Report:
    """Add a verdict to a page: its word, its reasons, the table of cameras, all numbers, and the frames not good.

    Args:
        report: the page.
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
                {
                    'camera': row['camera'],
                    'labels kept': _number(row['labels_kept']),
                    'fit (px)': _number(row['fit_px']),
                    'triangulation of the labels (px)': _number(row['triangulation_px']),
                    'fit without this camera (px)': _number(row['left_out_fit_px']),
                    'triangulation without it (px)': _number(row['left_out_triangulation_px']),
                }
                for row in cameras
            ],
            'Median px by camera; without this camera: a few frames fitted to the others alone, measured here',
        )
        _add_ellipses(report, cameras)
    report.add_table(
        [
            {
                'measure': m.name,
                'of': m.where,
                'value': _number(m.value),
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


def _add_ellipses(report: Report, cameras: Sequence[Mapping[str, Any]]) -> None:
    """Return how many labels of cameras that were left out lie in the fit's ellipses; nothing where it has none."""
    known = [row for row in cameras if float(row.get('left_out_inside', 'nan')) >= 0]
    if not known:
        return
    report.add_table(
        [
            {
                'camera left out': row['camera'],
                'fit (px)': _number(row['left_out_fit_px']),
                'mean pose (px)': _number(row['left_out_mean_pose_px']),
                'other labels (px)': _number(row['left_out_triangulation_px']),
                'labels inside': f'{float(row["left_out_inside"]):.1%}',
                'scale': _number(row['left_out_scale']),
                "fit's sd (px)": _number(row['left_out_sd_px']),
                'noise of labels (px)': _number(row['label_noise_px']),
            }
            for row in known
        ],
        'Labels of each camera in ellipses that should hold 90 % of them, by a fit to the others; scale: one number '
        'on all standard deviations, by the other cameras. Mean pose: that of the other cameras, put onto each frame',
    )


def _counted(verdict: Verdict) -> str:
    """Return how many frames have which word."""
    words = list(dict.fromkeys(verdict.frame_words))
    return ', '.join(f'{verdict.count(word)} {word}' for word in words)


def _number(value: Any) -> float | str:
    """Numbers that are none come as words from the file; what rounding leaves of zero is zero."""
    number = float(value)
    return round(number, 4) if abs(number) < float('inf') else '-'
